"""What the examples on images share: scikit-learn's 8x8 digits, how a Glow is trained, a grid of pictures."""

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tf_keras
from sklearn.datasets import load_digits

import glow_tf


def load():
    """Returns training and test images, uint8 [N, 8, 8, 1], and their labels, int32 [N].

    The test images are the last 360, of other writers.
    """
    data = load_digits()
    images = np.minimum(data.images * 16, 255).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int32)
    return images[:-360], labels[:-360], images[-360:], labels[-360:]


def train(images, labels=None, pairs=None, encoder=None, *, steps=700, batch_size=64, seed=0, **changes):
    """Trains a Glow on 8x8 images.

    Args:
        images: uint8 [N, 8, 8, 1].
        labels: int [N], for a Glow conditioned on them.
        pairs: callable, for a Glow conditioned on a context: of images and a NumPy generator it makes what is
            learned, uint8 [B, 8, 8, 1], and the context, float [B, ...].
        encoder: tf_keras.Model, trained with the Glow: what it makes of the contexts is the Glow's.
        steps: int, of the optimizer.
        batch_size: int.
        seed: int.
        **changes: of the `GlowConfig` below.

    Returns:
        The trained `glow_tf.Glow`.
    """
    config = dict(image_size=8, n_channels=1, n_levels=2, depth=6, width=48, n_bits_x=4)
    encode = encoder or tf.identity
    first, shape = images[:256], ()
    if pairs:
        first, context = pairs(first, np.random.default_rng(seed))
        shape = tuple(encode(context).shape[1:])
    config |= dict(ycond=labels is not None, context_shape=shape) | changes
    model = glow_tf.Glow(glow_tf.GlowConfig(**config), seed=seed)
    model.initialize(first)
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_steps=20, warmup_target=2e-3)
    optimizer = tf_keras.optimizers.Adam(rate, global_clipnorm=50.0)
    variables = [*model.trainable_variables, *(encoder.trainable_variables if encoder else [])]

    @tf.function
    def step(x, y, c):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.losses(x, y, context=None if c is None else encode(c))["loss"])
        optimizer.minimize(loss, variables, tape=tape)
        return loss

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = rng.integers(0, len(images), batch_size)
        x, c = pairs(images[chosen], rng) if pairs else (images[chosen], None)
        y = None if labels is None else tf.constant(labels[chosen])
        step(tf.constant(x), y, None if c is None else tf.constant(c))
    return model


def draw(path, rows, size, range_of_pixels):
    """Writes a grid of grey pictures, a row for each name.

    Args:
        path: of the PNG.
        rows: list of (name, images [N, height, width, 1]), one N for all.
        size: pair of floats, of the figure, in inches.
        range_of_pixels: pair of floats, what is black and what is white.
    """
    figure, axes = plt.subplots(len(rows), len(rows[0][1]), figsize=size, layout="constrained")
    black, white = range_of_pixels
    for row, (name, images) in zip(axes, rows, strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image[..., 0], cmap="gray", vmin=black, vmax=white)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=110)
    plt.close(figure)
