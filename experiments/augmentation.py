"""The original's data augmentation (`--dal`), one affine warp an image."""

import math

import tensorflow as tf


def augment(images, level: int, problem: str, seed, first: int = 0, total: int | None = None) -> tf.Tensor:
    """Warps a batch of images as the original does, with bilinear interpolation and edges repeated.

    Level 1 shifts by up to 10% of height and width. Level 2 (not for MNIST, where it is level 1) also
    flips left to right, rotates by up to 15 degrees, shears by up to 0.02 degrees and zooms by up to 10%.

    Args:
        images: uint8 [B, H, W, C].
        level: int, 0, 1 or 2.
        problem: str, the dataset.
        seed: int [2], stateless.
        first: int, the number of the first image in a whole batch of which these are a part.
        total: int, the size of the whole batch; B unless given. A part is warped as in the whole.

    Returns:
        float32 [B, H, W, C], in 0 to 255, not rounded.
    """
    images = tf.cast(images, tf.float32)
    if level == 0:
        return images
    n = tf.shape(images)[0]
    height, width = images.shape[1:3]
    seeds = tf.unstack(tf.random.split(seed, 6))
    total = n if total is None else total

    def uniform(i, low, high, *shape):
        return tf.random.stateless_uniform([total, *shape], seeds[i], low, high)[first : first + n]

    shift = uniform(0, -0.1, 0.1, 2) * tf.constant([width, height], tf.float32)
    linear = tf.eye(2, batch_shape=[n])
    if level == 2 and problem != "mnist":
        degrees = math.pi / 180
        angle = uniform(1, -15 * degrees, 15 * degrees)
        shear = uniform(2, -0.02 * degrees, 0.02 * degrees)
        rotation = _matrix(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
        shearing = _matrix(tf.ones([n]), -tf.sin(shear), tf.zeros([n]), tf.cos(shear))
        zoom = tf.linalg.diag(uniform(3, 0.9, 1.1, 2))
        linear = rotation @ shearing @ zoom
        shift = tf.linalg.matvec(rotation, shift)
        mirror = uniform(4, 0.0, 1.0) < 0.5
        images = tf.where(mirror[:, None, None, None], images[:, :, ::-1], images)
    # From output to input pixels (x, y), about the centre.
    centre = tf.constant([(width - 1) / 2, (height - 1) / 2], tf.float32)
    offset = centre + shift - tf.linalg.matvec(linear, centre[None])
    rows = tf.concat([linear, offset[:, :, None]], -1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.concat([tf.reshape(rows, [-1, 6]), tf.zeros([n, 2])], -1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _matrix(a, b, c, d):
    return tf.stack([tf.stack([a, b], -1), tf.stack([c, d], -1)], -2)
