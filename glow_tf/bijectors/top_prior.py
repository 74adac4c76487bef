"""The learned Gaussian of the last latent, the original's top prior."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import context as contexts
from glow_tf.bijectors._one_pass import OnePassBijector
from glow_tf.bijectors._parameters import as_parameter
from glow_tf.inputs import require_int
from glow_tf.layers import LOGSCALE_FACTOR, conv_zeros
from glow_tf.shapes import as_batch, require_event, require_shapes


class TopPrior(OnePassBijector):
    """Standardises the last latent by a learned mean and scale, which may depend on a label and a context.

    ```
    h = 0
    learntop: h += conv_zeros(an all-zero image of 2 C channels)
    labels:   h += (onehot(y) W + b) * exp(3 logs), the same at each position
    context:  h += its linear term, `forward(z, context=c)`; see `glow_tf.context`
    mean, logs = first and second half of the channels of h
    forward: eps = (z - mean) * exp(-logs)
    inverse: z = mean + eps * exp(logs)
    log|det| = -sum(logs)
    ```

    Float [..., H, W, C] both ways, an affine map. The labels' shape is the bijector's batch shape.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    values = glow_tf.bijectors.TopPrior.initial_values(4, learntop=True, n_y=10)
    top = glow_tf.bijectors.TopPrior(4, values, y=[3, 7])
    top.inverse(tf.random.normal([2, 2, 2, 4]))  # The last latents of the labels 3 and 7.
    ```
    """

    def __init__(
        self, n_channels, parameters=None, y=None, *, dtype="float32", validate_args=False, name="top_prior"
    ) -> None:
        """Takes the parameters, which `initial_values` names.

        Args:
            n_channels: int, C.
            parameters: dict of tensors or tf.Variables; without `p_W` the prior isn't learned, without
                `y_emb_W` it doesn't depend on labels, without `context_W` not on a context. None: standard
                normal.
            y: int labels, any shape, if the prior depends on labels.
            dtype: of inputs and outputs.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: if the prior depends on labels and there are none, or they are out of range; or for
                parameters of other shapes.
            TypeError: if labels aren't integers.
        """
        arguments = dict(locals())
        parameters = {k: as_parameter(v, dtype) for k, v in (parameters or {}).items()}
        if "y_emb_W" in parameters and y is None:
            raise ValueError(f"{name} depends on labels (y_emb_W is given): y is missing.")
        n = 2 * require_int("n_channels", n_channels, 1)
        shapes = {"p_W": [3, 3, n + 1, n], "y_emb_W": [None, n]}
        shapes |= {f"{part}_{key}": [n] for part in ("p", "y_emb") for key in ("b", "logs")}
        parts = [part for part in ("p", "y_emb") if f"{part}_W" in parameters]
        wanted = {key: shape for key, shape in shapes.items() if key.rpartition("_")[0] in parts}
        if "context_W" in parameters:
            wanted["context_W"] = contexts.wanted_shape(parameters["context_W"], n)
        require_shapes("TopPrior", parameters, **wanted)
        self._n_channels = n // 2
        self._weights = parameters
        self._y = None
        if "y_emb_W" in parameters:
            self._y = self._labels(y, parameters["y_emb_W"].shape[0])
        arguments.update(y=self._y)
        super().__init__(
            forward_min_event_ndims=3,
            is_constant_jacobian=True,
            dtype=tf.as_dtype(dtype),
            validate_args=validate_args,
            parameters=arguments,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"y": tfp.util.ParameterProperties(is_preferred=False)}

    @staticmethod
    def _labels(y, n_y):
        y = tf.convert_to_tensor(y)
        if not y.dtype.is_integer:
            raise TypeError(f"Labels must be integers, got {y.dtype.name}.")
        value = tf.get_static_value(y)
        wrong = [] if value is None or n_y is None else value[(value < 0) | (value >= n_y)]
        if len(wrong):
            raise ValueError(f"Labels must be from 0 to {n_y - 1}, got {wrong[0]}.")
        return y

    @staticmethod
    def initial_values(n_channels, learntop, n_y=None, context_shape=()) -> dict:
        """Returns new parameters, zero arrays by name.

        Those of the labels only if `n_y` is given; `context_W` only with a context, (C,), or (h, w, C) at the
        size of the latent.
        """
        n = 2 * n_channels
        zeros = lambda *shape: np.zeros(shape, np.float32)
        values = contexts.weight(context_shape, n)
        if learntop:
            values |= {"p_W": zeros(3, 3, n + 1, n), "p_b": zeros(n), "p_logs": zeros(n)}
        if n_y is not None:
            values |= {"y_emb_W": zeros(n_y, n), "y_emb_b": zeros(n), "y_emb_logs": zeros(n)}
        return values

    @property
    def context_ndims(self) -> int | None:
        """The axes of a context: 1, a vector [..., C]; 3, an image [..., h, w, C]; None: it takes none."""
        return contexts.ndims_of(self._weights.get("context_W"))

    def _mean_and_logs(self, z, context):
        context = contexts.checked(self.name, context, self.dtype, self.context_ndims)
        height, width = tf.shape(z)[-3], tf.shape(z)[-2]
        w = {k: tf.convert_to_tensor(v) for k, v in self._weights.items()}
        h = tf.zeros([height, width, 2 * self._n_channels], self.dtype)
        if "p_W" in w:
            h = conv_zeros(h[None], w["p_W"], w["p_b"], w["p_logs"])[0]
        if "y_emb_W" in w:
            # A product, not a gather: its gradient is dense, as the fused optimizers want it.
            one_hot = tf.one_hot(tf.cast(self._y, tf.int64), w["y_emb_W"].shape[0], dtype=self.dtype)
            label = tf.tensordot(one_hot, w["y_emb_W"], 1) + w["y_emb_b"]
            h += (label * tf.exp(LOGSCALE_FACTOR * w["y_emb_logs"]))[..., None, None, :]
        if context is not None:
            size = z.shape[-3] or height, z.shape[-2] or width
            term = contexts.linear_term(as_batch(context, self.context_ndims), w["context_W"], *size)
            batch = tf.shape(context)[: -self.context_ndims]
            h += tf.reshape(term, tf.concat([batch, tf.shape(term)[1:]], 0))
        return tf.split(h, 2, -1)

    def _log_det(self, x, logs):
        log_det = -tf.reduce_sum(logs, [-3, -2, -1])
        return tf.broadcast_to(log_det, tf.broadcast_dynamic_shape(tf.shape(x)[:-3], tf.shape(log_det)))

    def _forward_and_log_det(self, x, context=None):
        require_event(self.name, x, 3, self._n_channels)
        mean, logs = self._mean_and_logs(x, context)
        return (x - mean) * tf.exp(-logs), self._log_det(x, logs)

    def _inverse_and_log_det(self, y, context=None):
        require_event(self.name, y, 3, self._n_channels)
        mean, logs = self._mean_and_logs(y, context)
        return mean + y * tf.exp(logs), self._log_det(y, logs)
