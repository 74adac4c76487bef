"""Pictures made smaller, all by the original's rule: means over areas, rounded down.

    pixel = floor(mean of what it covers)

The original does that to a batch, over blocks of whole pixels (`block_means`). A picture whose side isn't a
multiple counts the pixels at the edge of an area by the share that lies inside (`square`, `shrunk`).
"""

import numpy as np
import tensorflow as tf
from PIL import Image

# Sums of floats can fall a rounding error short of the whole number that they are.
_ROUNDING = 1e-4


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Returns the middle of a picture, uint8 [size, size, C]; it must be at least as large."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return _area_means(picture.crop((left, top, left + side, top + side)), (size, size))


def shrunk(picture: Image.Image, smaller_side: int) -> np.ndarray:
    """Returns the whole picture, uint8 [H, W, C], with this smaller side; its own must be at least that."""
    scale = smaller_side / min(picture.size)
    return _area_means(picture, tuple(max(smaller_side, round(side * scale)) for side in picture.size))


def block_means(images: tf.Tensor, size: int) -> tf.Tensor:
    """Returns a batch, float [N, k size, k size, C], as uint8 [N, size, size, C]: means over k x k blocks."""
    _, full, _, channels = images.shape
    factor = full // size
    if factor > 1:
        images = tf.reshape(images, [-1, size, factor, size, factor, channels])
        images = tf.reduce_mean(images, [2, 4])
    return tf.cast(tf.clip_by_value(tf.floor(images), 0.0, 255.0), tf.uint8)


def _area_means(picture, size):
    if picture.size == size:
        image = np.asarray(picture)
        return image[..., None] if image.ndim == 2 else image
    # Pillow rounds means of 8 bits, after each axis; those of floats can be rounded down.
    bands = [band.convert("F").resize(size, Image.Resampling.BOX) for band in picture.split()]
    means = np.stack([np.asarray(band) for band in bands], -1)
    return np.floor(means + _ROUNDING).clip(0, 255).astype(np.uint8)
