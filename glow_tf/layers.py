"""The arithmetic that bijectors, networks and kernels share.

- The 3x3 convolutions of the original see, besides their input, one channel that is 1 on the zero padding
  and 0 inside, so their kernels are [3, 3, in + 1, out]. What that channel contributes is the same for every
  example: `border_map` computes it once.
- The statistics of data-dependent initialisation (section 3.1 of the paper).
- Determinants and inverses of 1x1 convolutions, in float64.
"""

import numpy as np
import tensorflow as tf

from glow_tf.shapes import told_shape

LOGSCALE_FACTOR = 3.0  # The original learns `logs` and scales by exp(3 logs).

_EPSILON = 1e-6  # The original's, which a deviation of 0 is taken for.


def border_indicator(height, width, dtype) -> tf.Tensor:
    """Returns [1, height + 2, width + 2, 1], 1 on the outermost pixels and 0 inside."""
    inside = tf.zeros([1, height, width, 1], dtype)
    return tf.pad(inside, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1)


def border_patches(height, width, dtype) -> tf.Tensor:
    """What each position of an image sees of the border indicator in a 3x3 convolution, and of a bias.

    Args:
        height: int or scalar tensor, of the image.
        width: the same.
        dtype: of the result.

    Returns:
        [height * width, 10]: the patches of 3x3 pixels, and 1.
    """
    indicator = border_indicator(height, width, tf.float32)
    patches = tf.image.extract_patches(indicator, [1, 3, 3, 1], [1] * 4, [1] * 4, "VALID")
    patches = tf.pad(tf.reshape(patches, [-1, 9]), [[0, 0], [0, 1]], constant_values=1)
    return tf.cast(patches, dtype)


def border_map(kernel, height, width) -> tf.Tensor:
    """What the border channel adds to a 3x3 convolution.

    Args:
        kernel: float [3, 3, 1, out], the slice of the kernel for the border channel.
        height: int or scalar tensor, of the image.
        width: the same.

    Returns:
        float [1, height, width, out].
    """
    return tf.nn.conv2d(border_indicator(height, width, kernel.dtype), kernel, 1, "VALID")


def conv3x3(x, kernel) -> tf.Tensor:
    """3x3 convolution, zero-padded by one, with the border channel.

    Args:
        x: float [B, H, W, in].
        kernel: float [3, 3, in + 1, out].

    Returns:
        float [B, H, W, out].
    """
    shape = tf.shape(x)
    inside, border = tf.split(kernel, [kernel.shape[2] - 1, 1], 2)
    return tf.nn.conv2d(x, inside, 1, "SAME") + border_map(border, shape[1], shape[2])


def conv_zeros(x, kernel, b, logs) -> tf.Tensor:
    """The zero-initialised convolution: (conv3x3(x) + b) * exp(3 logs).

    Args:
        x: float [B, H, W, in].
        kernel: float [3, 3, in + 1, out].
        b: float [out].
        logs: float [out].

    Returns:
        float [B, H, W, out].
    """
    return (conv3x3(x, kernel) + b) * tf.exp(LOGSCALE_FACTOR * logs)


def deinterleave(h) -> list[tf.Tensor]:
    """Returns the even and the odd channels of h [..., C], as `h[..., 0::2]` and `h[..., 1::2]` do.

    By a transposition, which is faster than strided slices, as is its gradient.
    """
    half = h.shape[-1] // 2
    parts = tf.unstack(tf.transpose(tf.reshape(h, [-1, half, 2]), [2, 0, 1]))
    shape = tf.concat([tf.shape(h)[:-1], [half]], 0)
    parts = [tf.reshape(part, shape) for part in parts]
    return [told_shape(part, [*h.shape[:-1], half]) for part in parts]


def actnorm_statistics(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the `b` and `logs` that give each channel of `x` zero mean and unit variance.

    ```
    b    = -mean(x)
    logs = log(1 / (sqrt(mean((x + b)^2)) + 1e-6)) / 3
    ```

    Args:
        x: float [..., C]. All axes but the last are averaged over.

    Returns:
        `b` and `logs`, each [C], in the dtype of `x`.
    """
    axes = tf.range(tf.rank(x) - 1)
    b = -tf.reduce_mean(x, axes)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(x + b), axes))
    return b, -tf.math.log(deviation + _EPSILON) / LOGSCALE_FACTOR


def without_scale(b, logs) -> dict[str, np.ndarray]:
    """Returns which values no scale gives unit variance, by what is wrong with them.

    Args:
        b: float [..., C], what `actnorm_statistics` returned.
        logs: the same.

    Returns:
        A dict from words, such as "don't differ", to bool [..., C].
    """
    b, logs = np.asarray(b, np.float64), np.asarray(logs, np.float64)
    return {
        "aren't finite": ~(np.isfinite(b) & np.isfinite(logs)),
        "don't differ": np.exp(-LOGSCALE_FACTOR * logs) < 2.001 * _EPSILON,
    }


def initialization_fault(values: dict) -> str | None:
    """Returns what is wrong with the first actnorm of stacked steps, in the flow's order, that has no scale.

    Args:
        values: from `<actnorm>_b` and `<actnorm>_logs` to what data-dependent initialisation computed, float
            [depth, C]; other keys are passed over.

    Returns:
        A clause that names the actnorm, its step and channels; None if each has a scale.
    """
    actnorms = [key.removesuffix("_b") for key in values if key.endswith("_b")]
    wrong = {
        (name, what): where
        for name in actnorms
        if f"{name}_logs" in values
        for what, where in without_scale(values[f"{name}_b"], values[f"{name}_logs"]).items()
    }
    steps = {case: where.any(-1).argmax() for case, where in wrong.items() if where.any()}
    if not steps:
        return None
    name, what = min(steps, key=steps.get)
    step, where = steps[name, what], wrong[name, what][steps[name, what]]
    return (
        f"the values that {name} of step {step} normalises {what} in {where.sum()} of {where.size} channels "
        f"(the first is {where.argmax()})"
    )


@tf.custom_gradient
def log_abs_det(w: tf.Tensor):
    """Returns log|det w| of [..., C, C] in the dtype of `w`, computed in float64.

    By the QR decomposition, as XLA compiles no `tf.linalg.slogdet`; the gradient is the inverse, not QR's.
    """
    r = tf.linalg.qr(tf.cast(w, tf.float64)).r
    value = tf.reduce_sum(tf.math.log(tf.abs(tf.linalg.diag_part(r))), -1)

    def gradient(upstream):
        return upstream[..., None, None] * tf.linalg.matrix_transpose(inverse_matrix(w))

    return tf.cast(value, w.dtype), gradient


def inverse_matrix(w: tf.Tensor) -> tf.Tensor:
    """Returns the inverse of [..., C, C] in the dtype of `w`, computed in float64.

    Raises:
        ValueError: if a matrix is singular, or has values that aren't numbers, where that is seen at once; in
            a tf.function TensorFlow raises its own error.
    """
    wrong = (
        "The matrix of a 1x1 convolution can't be inverted: it is singular, or has values that aren't finite."
    )
    try:
        inverse = tf.cast(tf.linalg.inv(tf.cast(w, tf.float64)), w.dtype)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(wrong) from error
    # Of an infinite value the inverse may be finite.
    if tf.executing_eagerly() and not tf.reduce_all(tf.math.is_finite(inverse) & tf.math.is_finite(w)):
        raise ValueError(wrong)
    return inverse
