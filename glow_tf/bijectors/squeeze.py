"""Squeeze: trades image size for channels (section 3 of the paper; Dinh et al. 2017, section 3.6)."""

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.shapes import require_event

tfb = tfp.bijectors


class Squeeze(tfb.AutoCompositeTensorBijector):
    """[..., H, W, C] -> [..., H / 2, W / 2, 4 C]; every 2x2 block becomes one position.

    ```
    forward: y[i, j, 4 c + 2 a + b] = x[2 i + a, 2 j + b, c]
    inverse: the reverse
    log|det dy/dx| = 0
    ```

    The order of the channels is the original's, not that of `tf.nn.space_to_depth`.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    glow_tf.bijectors.Squeeze().forward(tf.ones([2, 8, 8, 3])).shape  # [2, 4, 4, 12]
    ```
    """

    def __init__(self, *, dtype=None, validate_args: bool = False, name: str = "squeeze") -> None:
        """There is nothing to learn.

        Args:
            dtype: of inputs and outputs; any unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.
        """
        parameters = dict(locals())
        super().__init__(
            forward_min_event_ndims=3,
            is_constant_jacobian=True,
            dtype=None if dtype is None else tf.as_dtype(dtype),
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def _is_permutation(self):
        return True

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _experimental_compute_density_correction(self, x, tangent_space, backward_compat=False, **kwargs):
        del backward_compat
        return tangent_space.transform_dimension_preserving(x, self, **kwargs)

    def _forward(self, x):
        require_event(self.name, x, 3)
        self._forward_event_shape(x.shape[-3:])  # Raises for odd sizes.
        batch, (h, w, c) = _split_shape(x)
        x = tf.reshape(x, tf.concat([batch, [h // 2, 2, w // 2, 2, c]], 0))
        x = _transpose_last(x, [0, 2, 4, 1, 3])
        x = tf.reshape(x, tf.concat([batch, [h // 2, w // 2, 4 * c]], 0))
        return x

    def _inverse(self, y):
        require_event(self.name, y, 3)
        self._inverse_event_shape(y.shape[-3:])  # Raises for channels that aren't a multiple of 4.
        batch, (h, w, c) = _split_shape(y)
        y = tf.reshape(y, tf.concat([batch, [h, w, c // 4, 2, 2]], 0))
        y = _transpose_last(y, [0, 3, 1, 4, 2])
        return tf.reshape(y, tf.concat([batch, [2 * h, 2 * w, c // 4]], 0))

    def _forward_log_det_jacobian(self, x):
        return tf.zeros([], x.dtype)

    def _forward_event_shape(self, shape):
        if shape.rank is None:
            return shape
        *batch, h, w, c = shape.as_list()
        for name, size in (("height", h), ("width", w)):
            if size is not None and size % 2:
                raise ValueError(f"Squeeze needs an even height and width, got {name} {size}.")
        half = lambda n: None if n is None else n // 2
        return tf.TensorShape([*batch, half(h), half(w), None if c is None else 4 * c])

    def _inverse_event_shape(self, shape):
        if shape.rank is None:
            return shape
        *batch, h, w, c = shape.as_list()
        if c is not None and c % 4:
            raise ValueError(f"Unsqueezing needs a multiple of 4 channels, got {c}.")
        double = lambda n: None if n is None else 2 * n
        return tf.TensorShape([*batch, double(h), double(w), None if c is None else c // 4])

    def _forward_event_shape_tensor(self, shape):
        return tf.concat([shape[:-3], shape[-3:-1] // 2, shape[-1:] * 4], 0)

    def _inverse_event_shape_tensor(self, shape):
        return tf.concat([shape[:-3], shape[-3:-1] * 2, shape[-1:] // 4], 0)


def _split_shape(x):
    """Returns the batch shape and [H, W, C], static where known."""
    dynamic = tf.shape(x)
    static = [dynamic[i] if x.shape[i] is None else x.shape[i] for i in (-3, -2, -1)]
    return dynamic[:-3], static


def _transpose_last(x, order):
    if x.shape.rank is None:
        n = tf.rank(x) - len(order)
        return tf.transpose(x, tf.concat([tf.range(n), n + order], 0))
    n = x.shape.rank - len(order)
    return tf.transpose(x, list(range(n)) + [n + i for i in order])
