"""Affine and additive coupling, Table 1 (third row) of Kingma & Dhariwal (2018)."""

import tensorflow as tf

from glow_tf.bijectors._one_pass import OnePassBijector, batch_zeros
from glow_tf.bijectors._parameters import common_dtype
from glow_tf.bijectors._parts import takes_context
from glow_tf.context import as_tensor, with_context
from glow_tf.inputs import shown
from glow_tf.shapes import require_event


def log_sigmoid(u):
    """Returns the log of the original's scale, log sigmoid(u + 2)."""
    return tf.math.log_sigmoid(u + 2.0)


# A Glow's couplings: the log of the scale, a function of the network's odd channels; None shifts only. The
# place of a word is its number in hps.json.
LOG_SCALES = {"additive": None, "affine": log_sigmoid}
COUPLINGS = tuple(LOG_SCALES)


class AffineCoupling(OnePassBijector):
    """The first half of the channels decides how the second half is shifted and scaled.

    ```
    x1, x2 = halves of the last axis; h = network(x1)
    affine:   shift = h[..., 0::2], scale = sigmoid(h[..., 1::2] + 2)
    additive: shift = h,            scale = 1
    forward: y1 = x1, y2 = (x2 + shift) * scale
    inverse: x1 = y1, x2 = y2 / scale - shift
    log|det dy/dx| = sum(log scale)
    ```

    For C channels x1 has C // 2 of them, and the network returns 2 (C - C // 2) channels (affine) or
    C - C // 2 (additive), for each position or broadcast over them; their number must be known when a graph
    is made.

    Events are vectors [C] or have spatial axes before C. A network that mixes positions says so with
    an attribute `event_ndims` (3 for one over images, as `CouplingNetwork`'s); without it every
    position is taken to be transformed by itself, and events are as large as the caller's
    `event_ndims` says.

    `forward(x, context=c)`, and so the others, hands a context to the network, `network(x1, context=c)`. What
    it is, a tensor or a dict of them, is the network's business; one that says by an attribute
    `context_ndims` how many axes it has (1, a vector; 3, an image; as `CouplingNetwork`) gets x1 with the
    batch axes of both.

    A `Glow` never runs this: `kernels.glow_step` computes a whole step at once. This is its definition.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    network = lambda x1: tf.concat([x1, x1**2], -1)  # Any function of the first half.
    coupling = glow_tf.bijectors.AffineCoupling(network)
    coupling.forward_log_det_jacobian(tf.ones([5, 4]))  # [5]
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, section 3.3.
    Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP, 2017.
    """

    def __init__(
        self,
        network,
        additive=False,
        *,
        log_scale=log_sigmoid,
        dtype=None,
        validate_args=False,
        name="affine_coupling",
    ) -> None:
        """Takes the network.

        Args:
            network: callable, float [..., C // 2] -> the channels named above. Variables of a
                tf.Module are found; those of a Keras 3 layer are not. With a parameter `context`, it may be
                given one.
            additive: whether the second half is only shifted.
            log_scale: callable, of h[..., 1::2] to the log of the scale, for another scale than the paper's.
            dtype: of inputs and outputs; the network's `dtype`, or else float32, unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            TypeError: if `network` can't be called; nor `log_scale`, unless it is `additive`.
        """
        parameters = dict(locals())
        if not callable(network):
            raise TypeError(f"network must be callable, got {network!r}.")
        if not (additive or callable(log_scale)):
            raise TypeError(f"log_scale must be callable, got {log_scale!r}.")
        with tf.name_scope(name):
            self._network = network
            self._additive = bool(additive)
            self._log_scale = log_scale
            super().__init__(
                forward_min_event_ndims=getattr(network, "event_ndims", 1),
                dtype=tf.as_dtype(dtype or common_dtype([network])),
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def network(self):
        """The callable that maps the first half of the channels to shift and scale."""
        return self._network

    @property
    def additive(self) -> bool:
        """Whether the second half is only shifted."""
        return self._additive

    @property
    def context_ndims(self) -> int | None:
        """The axes of a context, as the network says, or 1 if it doesn't; None if it takes none."""
        if hasattr(self._network, "context_ndims"):
            return self._network.context_ndims
        return 1 if takes_context(self._network) else None

    def _checked_context(self, context):
        if hasattr(self._network, "context_ndims") or not takes_context(self._network):
            return super()._checked_context(context)
        if isinstance(context, dict):
            return {key: as_tensor(value, self.dtype) for key, value in context.items()}
        return as_tensor(context, self.dtype)

    @property
    def has_constant_log_det(self) -> bool:
        """Whether the log-det is the same for all inputs: that of an additive coupling."""
        return self._additive

    def _shift_and_log_scale(self, x1, n_rest, context):
        h = self._network(x1) if context is None else self._network(x1, context=context)
        h = self._as_tensor(h, x1.dtype)
        wanted = n_rest if self._additive else 2 * n_rest
        if h.shape.rank == 0 or h.shape[-1] not in (None, wanted):
            raise ValueError(
                f"The coupling network must return {wanted} channels for {x1.shape[-1]} + {n_rest} "
                f"{'additive' if self._additive else 'affine'} ones, got shape {h.shape}."
            )
        h = self._at_each_position(h, x1, wanted)
        if self._additive:
            return h, None
        return h[..., 0::2], self._log_scale(h[..., 1::2])

    @staticmethod
    def _as_tensor(h, dtype):
        try:
            tensor = as_tensor(h, dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(f"The coupling network must return a tensor, got {shown(h)}.") from error
        if tensor.dtype != dtype:
            raise ValueError(
                f"The coupling network must return {dtype.name}, as its input is, got {tensor.dtype.name}."
            )
        return tensor

    @staticmethod
    def _at_each_position(h, x1, n_channels):
        """Broadcasts the network's output over the axes of its input: the log-det counts each position."""
        static = [*x1.shape[:-1], n_channels]
        if h.shape == static and None not in static:
            return h
        shape = tf.TensorShape(static)
        if h.shape.rank is not None and (
            h.shape.rank > shape.rank
            or any(n not in (1, None, m) and m is not None for n, m in zip(h.shape[::-1], shape[::-1]))  # noqa: B905
        ):
            raise ValueError(
                f"The coupling network must return what broadcasts to the shape {shape}, got {h.shape}."
            )
        return tf.broadcast_to(h, tf.concat([tf.shape(x1)[:-1], [n_channels]], 0))

    def _halves(self, x, context):
        require_event(self.name, x, self.forward_min_event_ndims)
        if context is not None and hasattr(self._network, "context_ndims"):
            x, context = with_context(x, self.forward_min_event_ndims, context, self.context_ndims)
        n = x.shape[-1]
        if n is None:
            raise ValueError(
                f"AffineCoupling must know the number of channels when its graph is made, got shape "
                f"{x.shape}: tf.ensure_shape tells it."
            )
        if n < 2:
            raise ValueError(f"AffineCoupling needs at least 2 channels in the last axis, got {n}.")
        return x[..., : n // 2], x[..., n // 2 :], context

    def _log_det(self, x, log_scale):
        if self._additive:
            return self._constant_log_det(x)
        return tf.reduce_sum(log_scale, list(range(-self.forward_min_event_ndims, 0)))

    def _constant_log_det(self, x, context=None):
        del context
        return batch_zeros(x, self.forward_min_event_ndims)

    def _forward_and_log_det(self, x, context=None):
        x1, x2, context = self._halves(x, context)
        shift, log_scale = self._shift_and_log_scale(x1, x2.shape[-1], context)
        y2 = x2 + shift if self._additive else (x2 + shift) * tf.exp(log_scale)
        return tf.concat([x1, y2], -1), self._log_det(x, log_scale)

    def _inverse_and_log_det(self, y, context=None):
        y1, y2, context = self._halves(y, context)
        shift, log_scale = self._shift_and_log_scale(y1, y2.shape[-1], context)
        x2 = y2 - shift if self._additive else y2 * tf.exp(-log_scale) - shift
        return tf.concat([y1, x2], -1), self._log_det(y, log_scale)
