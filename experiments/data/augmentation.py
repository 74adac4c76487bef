"""The original's data augmentation (`--dal`): keras' affine warp of each image, by parameters that are drawn.

A pixel of the result, at (row, column) p, is the image at

    q = c + R S H Z (p - c)

    R = [[cos t, -sin t], [sin t, cos t]], t the angle      S(v) = v + shift, in pixels
    H = [[1, -sin s], [0, cos s]], s the shear              Z = diag(zoom of rows, zoom of columns)

with bilinear interpolation and the pixels of the border repeated. The centre is keras-preprocessing 1.0.1's
c = (height / 2 + 0.5, width / 2 + 0.5), a pixel beyond the middle, ((height - 1) / 2, (width - 1) / 2).
"""

import math
from typing import NamedTuple

import tensorflow as tf

_DEGREE = math.pi / 180


class Warp(NamedTuple):
    """The parameters of a batch's warps, each float32 [B] but `mirror`.

    Attributes:
        angle: degrees.
        shift_rows: pixels.
        shift_columns: pixels.
        shear: degrees.
        zoom_rows: 1 changes nothing; below 1 things grow.
        zoom_columns: likewise.
        mirror: bool [B], whether left and right are exchanged, after all else.
    """

    angle: tf.Tensor
    shift_rows: tf.Tensor
    shift_columns: tf.Tensor
    shear: tf.Tensor
    zoom_rows: tf.Tensor
    zoom_columns: tf.Tensor
    mirror: tf.Tensor


def draw(level: int, n: int, height: int, width: int, seed) -> Warp:
    """Draws warps as the original does.

    Level 1 shifts by up to 10% of height and width. Level 2 also flips left to right, rotates by up to 15
    degrees, shears by up to 0.02 degrees and zooms by up to 10%.

    Args:
        level: int, 1 or 2.
        n: int, how many.
        height: int, of the images.
        width: int.
        seed: int [2], stateless.
    """
    seeds = tf.unstack(tf.random.split(seed, 6))
    uniform = lambda i, low, high, *shape: tf.random.stateless_uniform([n, *shape], seeds[i], low, high)
    columns, rows = tf.unstack(uniform(0, -0.1, 0.1, 2), axis=1)
    warp = Warp(
        angle=tf.zeros([n]),
        shift_rows=rows * height,
        shift_columns=columns * width,
        shear=tf.zeros([n]),
        zoom_rows=tf.ones([n]),
        zoom_columns=tf.ones([n]),
        mirror=tf.zeros([n], tf.bool),
    )
    if level == 1:
        return warp
    columns, rows = tf.unstack(uniform(3, 0.9, 1.1, 2), axis=1)
    return warp._replace(
        angle=uniform(1, -15.0, 15.0),
        shear=uniform(2, -0.02, 0.02),
        zoom_rows=rows,
        zoom_columns=columns,
        mirror=uniform(4, 0.0, 1.0) < 0.5,
    )


def apply(images, warp: Warp) -> tf.Tensor:
    """Warps images.

    Args:
        images: uint8 or float32 [B, H, W, C].
        warp: of B images.

    Returns:
        float32 [B, H, W, C], not rounded.
    """
    height, width = images.shape[1:3]
    angle, shear = warp.angle * _DEGREE, warp.shear * _DEGREE
    cos, sin = tf.cos(angle), tf.sin(angle)
    # R H Z, and R applied to the shift.
    row_row = cos * warp.zoom_rows
    row_column = -tf.sin(angle + shear) * warp.zoom_columns
    column_row = sin * warp.zoom_rows
    column_column = tf.cos(angle + shear) * warp.zoom_columns
    rows = cos * warp.shift_rows - sin * warp.shift_columns
    columns = sin * warp.shift_rows + cos * warp.shift_columns
    row, column = height / 2 + 0.5, width / 2 + 0.5
    rows += row - row_row * row - row_column * column
    columns += column - column_row * row - column_column * column
    nothing = tf.zeros_like(rows)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        # TensorFlow counts (column, row); the last two would be of a perspective.
        transforms=tf.stack(
            [column_column, column_row, columns, row_column, row_row, rows, nothing, nothing], -1
        ),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.where(warp.mirror[:, None, None, None], warped[:, :, ::-1], warped)


def augment(images, level: int, seed, numbers=None, total: int | None = None) -> tf.Tensor:
    """Warps a batch of images by drawn parameters.

    Args:
        images: uint8 [B, H, W, C].
        level: int, 0 (nothing), 1 or 2, as in `draw`.
        seed: int [2], stateless.
        numbers: int [B], the images' numbers in a whole batch of which these are a part. They are warped as
            in the whole.
        total: int, the size of the whole batch, where they are a part of one.

    Returns:
        float32 [B, H, W, C], in 0 to 255, not rounded.
    """
    if level == 0:
        return tf.cast(images, tf.float32)
    height, width = images.shape[1:3]
    if numbers is None:
        return apply(images, draw(level, tf.shape(images)[0], height, width, seed))
    warp = draw(level, total, height, width, seed)
    return apply(images, Warp(*(tf.gather(parameter, numbers) for parameter in warp)))
