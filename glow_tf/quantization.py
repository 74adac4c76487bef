"""Images as integers and as floats, and bits per dimension (appendix A of Theis et al. 2016).

Images are uint8, 0 to 255, whatever `n_bits` is: it keeps the top bits, 2^n_bits values per dimension. The
model's density is over dequantised images,
x' = floor(x / 2^(8 - n_bits)) / 2^n_bits - 0.5 + u with u uniform on [0, 2^-n_bits).
"""

import math

import tensorflow as tf

from glow_tf.inputs import require_int


def require_n_bits(n_bits) -> int:
    """Returns `n_bits`; raises a ValueError if it isn't an integer from 1 to 8."""
    return require_int("n_bits_x", n_bits, 1, 8)


def preprocess(images, n_bits: int, dtype=tf.float32) -> tf.Tensor:
    """Maps uint8 images to the lower edges of their bins, in [-0.5, 0.5).

    Args:
        images: uint8, any shape, 0 to 255.
        n_bits: int, 1 to 8: how many of the top bits are kept.
        dtype: of the result.

    Returns:
        float, the shape of `images`.

    Raises:
        TypeError: if the images aren't uint8.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8:
        raise TypeError(f"Images must be uint8 (0 to 255), got {images.dtype.name} of shape {images.shape}.")
    n_bits = require_n_bits(n_bits)
    # Exact, and so the same in every runtime; a division of uint8 isn't in all of them.
    bins = tf.floor(tf.cast(images, dtype) * 2.0 ** (n_bits - 8))
    return bins * 2.0**-n_bits - 0.5


def dequantization_noise(shape, n_bits: int, seed, dtype=tf.float32) -> tf.Tensor:
    """Returns u, uniform on [0, 2^-n_bits), of a shape, from a stateless seed (int [2])."""
    return tf.random.stateless_uniform(shape, seed, 0.0, 2.0**-n_bits, dtype)


def postprocess(x, n_bits: int) -> tf.Tensor:
    """Maps floats back to uint8 images: clip(floor((x + 0.5) 2^n_bits) * 2^(8 - n_bits), 0, 255).

    Args:
        x: float, any shape, in the model's scale.
        n_bits: int, 1 to 8.

    Returns:
        uint8, the shape of `x`. A NaN becomes 0.
    """
    n_bits = require_n_bits(n_bits)
    x = tf.floor((x + 0.5) * 2.0**n_bits) * 2.0 ** (8 - n_bits)
    x = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
    return tf.cast(tf.clip_by_value(x, 0.0, 255.0), tf.uint8)


def bits_per_dim(log_prob, n_dims: int, n_bits: int) -> tf.Tensor:
    """Bits per dimension of images from the log-density of their dequantised versions.

    ```
    bits = -(log p(x') - M log(2^n_bits)) / (M ln 2)
    ```

    Args:
        log_prob: float [...], log p(x') in nats.
        n_dims: int, M = H W C.
        n_bits: int, 1 to 8.

    Returns:
        float [...].
    """
    nats = n_dims * n_bits * math.log(2.0) - log_prob
    return nats / (n_dims * math.log(2.0))
