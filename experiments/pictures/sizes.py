"""Pictures made smaller, all by the original's rule: means over areas, rounded down.

    pixel = floor(mean of what it covers)

The original does that to a batch, over blocks of whole pixels (`block_means`). Where the side of a picture
isn't a multiple (`square`, `shrunk`), pixels at the edge of an area count by the share that lies inside.
"""

import itertools

import numpy as np
import tensorflow as tf
from PIL import Image


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
    levels = np.atleast_3d(np.asarray(picture))
    if picture.size == size:
        return levels
    width, height = size
    sums = _sums(_sums(levels, height).swapaxes(0, 1), width).swapaxes(0, 1)
    return (sums // (picture.width * picture.height)).astype(np.uint8)


def _sums(levels, n):
    """Returns sums over n equal parts of the first axis, times n, in integers: [n, ...]."""
    levels = np.ascontiguousarray(levels)
    whole, rest = np.divmod(len(levels) * np.arange(n + 1), n)  # Where each part starts: whole + rest / n.
    # Far faster than np.add.reduceat.
    parts = [levels[first:last].sum(0, dtype=np.int64) for first, last in itertools.pairwise(whole)]
    sums = n * np.stack(parts)
    before = rest[:, None, None] * levels[whole % len(levels)]  # What of its first pixel is the last part's.
    return sums - before[:-1] + before[1:]
