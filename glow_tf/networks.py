"""The coupling network (section 3.3 of the paper; appendix B for the widths)."""

import numpy as np
import tensorflow as tf

from glow_tf import context as contexts
from glow_tf.layers import LOGSCALE_FACTOR, actnorm_statistics, conv3x3, conv_zeros
from glow_tf.shapes import as_batch, image_size, n_channels_of, require_event, require_shapes, told_shape


def network_initial_values(
    in_channels, out_channels, width, rng: np.random.Generator, context_shape=()
) -> dict:
    """Returns new parameters of a coupling network, float32 arrays by name.

    The kernels of the first two convolutions are N(0, 0.05); everything else is zero. With a context, (C,) or
    (h, w, C) at the size of the images, that includes its weight, `l_1_context_W`.
    """
    normal = lambda *shape: rng.normal(0.0, 0.05, shape).astype(np.float32)
    zeros = lambda *shape: np.zeros(shape, np.float32)
    return {
        "l_1_W": normal(3, 3, in_channels + 1, width),
        "l_1_b": zeros(width),
        "l_1_logs": zeros(width),
        "l_2_W": normal(1, 1, width, width),
        "l_2_b": zeros(width),
        "l_2_logs": zeros(width),
        "l_last_W": zeros(3, 3, width + 1, out_channels),
        "l_last_b": zeros(out_channels),
        "l_last_logs": zeros(out_channels),
        **{f"l_1_{key}": value for key, value in contexts.weight(context_shape, width).items()},
    }


class CouplingNetwork(tf.Module):
    """conv 3x3 -> actnorm -> relu -> conv 1x1 -> actnorm -> relu -> conv 3x3 "zeros".

    Maps float [..., H, W, in_channels] to [..., H, W, out_channels]. At initialisation the output is zero.

    With a context, the first layer is actnorm(conv 3x3 (x) + its linear term), which starts at zero: see
    `glow_tf.context`.

    Example:
    ```python
    import tensorflow as tf

    from glow_tf.bijectors import AffineCoupling
    from glow_tf.networks import CouplingNetwork

    coupling = AffineCoupling(CouplingNetwork(2, 4, width=16))
    coupling.forward(tf.ones([5, 8, 8, 4]))  # Scaled by sigmoid(2): a new network returns 0.
    ```
    """

    event_ndims = 3  # It mixes positions: AffineCoupling must see whole images.

    def __init__(
        self,
        in_channels=None,
        out_channels=None,
        width=512,
        *,
        parameters=None,
        context_shape=(),
        compute_dtype=None,
        dtype="float32",
        seed=None,
        name="coupling_network",
    ) -> None:
        """The parameters are new variables unless they are given.

        Args:
            in_channels: int. Not needed where `parameters` are given, nor are the next two.
            out_channels: int.
            width: int, channels of the two hidden layers.
            parameters: dict of tensors, tf.Variables or DeferredTensors, with the keys of
                `network_initial_values`.
            context_shape: of the context that the network depends on: () for none, (C,) a vector, (h, w, C)
                an image, at the size of the network's images. With `parameters`, `l_1_context_W` says it.
            compute_dtype: of the convolutions, for example "bfloat16"; the parameters' unless given.
            dtype: of the variables.
            seed: int, for the kernels; a new one at each call unless given.
            name: of the module.

        Raises:
            ValueError: for parameters of shapes that don't belong together.
        """
        super().__init__(name=name)
        if parameters is None:
            rng = np.random.default_rng(seed)
            values = network_initial_values(in_channels, out_channels, width, rng, context_shape)
            parameters = {k: tf.Variable(v, dtype=dtype, name=k) for k, v in values.items()}
        self.weights = dict(parameters)
        self._require_shapes()
        self.dtype = tf.as_dtype(self.weights["l_1_W"].dtype)
        self.compute_dtype = tf.as_dtype(compute_dtype or self.dtype)

    def _require_shapes(self):
        size = lambda key: n_channels_of(self.weights[key]) if key in self.weights else None
        width, out = size("l_1_W"), size("l_last_W")
        vectors = {f"{layer}_{key}": [width] for layer in ("l_1", "l_2") for key in ("b", "logs")}
        vectors |= {"l_last_b": [out], "l_last_logs": [out]}
        kernels = {"l_1_W": [3, 3, None, width], "l_2_W": [1, 1, width, width]}
        kernels |= {"l_last_W": [3, 3, width and width + 1, out]}
        if "l_1_context_W" in self.weights:
            kernels["l_1_context_W"] = contexts.wanted_shape(self.weights["l_1_context_W"], width)
        require_shapes("the coupling network", self.weights, **kernels, **vectors)

    @property
    def in_channels(self):
        """The number of the input's channels."""
        return self.weights["l_1_W"].shape[2] - 1

    @property
    def context_ndims(self) -> int | None:
        """The axes of a context: 1, a vector [..., C]; 3, an image [..., h, w, C]; None: it takes none."""
        return contexts.ndims_of(self.weights.get("l_1_context_W"))

    def __call__(self, x, context=None):
        """Returns the network's output, float [..., H, W, out_channels].

        Args:
            x: float [..., H, W, in_channels].
            context: float [..., C] or [..., h, w, C], if the network depends on one. Batch axes broadcast.

        Raises:
            ValueError: if `x` has less than three axes, or other than `in_channels` channels; if the context
                is missing, isn't wanted, or doesn't fit.
        """
        require_event(self.name, x, 3, self.in_channels)
        x, context = contexts.prepared(self.name, x, 3, context, self.context_ndims, x.dtype)
        weights = {k: tf.cast(v, self.compute_dtype) for k, v in self.weights.items()}
        h = tf.cast(as_batch(x, 3, self.in_channels), self.compute_dtype)
        context = None if context is None else tf.cast(context, self.compute_dtype)
        for layer in ("l_1", "l_2"):
            h = _convolution(layer, weights, h, context)
            h = tf.nn.relu(_actnorm(h, weights[f"{layer}_b"], weights[f"{layer}_logs"]))
        h = conv_zeros(h, weights["l_last_W"], weights["l_last_b"], weights["l_last_logs"])
        h = tf.cast(h, x.dtype)
        h = tf.reshape(h, tf.concat([tf.shape(x)[:-1], tf.shape(h)[-1:]], 0))
        return (
            h if x.shape.rank is None else told_shape(h, [*x.shape[:-1], self.weights["l_last_W"].shape[-1]])
        )

    def data_dependent_values(self, x, context=None) -> dict:
        """Returns the values of `b` and `logs` that data-dependent initialisation gives both actnorms.

        Args:
            x: float [B, H, W, in_channels], the network's input for the initialisation batch.
            context: as the network takes it.

        Returns:
            dict with the keys l_1_b, l_1_logs, l_2_b, l_2_logs.
        """
        require_event(self.name, x, 4, self.in_channels)
        h, context = contexts.prepared(self.name, x, 3, context, self.context_ndims, x.dtype)
        weights, values = {k: tf.convert_to_tensor(v) for k, v in self.weights.items()}, {}
        for layer in ("l_1", "l_2"):
            h = _convolution(layer, weights, h, context)
            b, logs = actnorm_statistics(h)
            values |= {f"{layer}_b": b, f"{layer}_logs": logs}
            h = tf.nn.relu(_actnorm(h, b, logs))
        return values


def _convolution(layer, weights, h, context):
    """Returns what a hidden layer computes before its actnorm."""
    if layer == "l_2":
        return tf.nn.conv2d(h, weights["l_2_W"], 1, "SAME")
    x, h = h, conv3x3(h, weights["l_1_W"])
    if context is None:
        return h
    return h + contexts.linear_term(context, weights["l_1_context_W"], *image_size(x))


def _actnorm(x, b, logs):
    return (x + b) * tf.exp(LOGSCALE_FACTOR * logs)
