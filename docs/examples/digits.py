"""What the examples on images share: scikit-learn's 8x8 digits, and a training loop for a Glow."""

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


def train(images, labels=None, *, steps=700, batch_size=64, seed=0, **changes):
    """Trains a Glow on 8x8 images.

    Args:
        images: uint8 [N, 8, 8, 1].
        labels: int [N], for a Glow conditioned on them.
        steps: int, of the optimizer.
        batch_size: int.
        seed: int.
        **changes: of the `GlowConfig` below.

    Returns:
        The trained `glow_tf.Glow`.
    """
    config = dict(image_size=8, n_channels=1, n_levels=2, depth=6, width=48, n_bits_x=4)
    config |= dict(ycond=labels is not None) | changes
    model = glow_tf.Glow(glow_tf.GlowConfig(**config), seed=seed)
    model.initialize(images[:256])
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_steps=20, warmup_target=2e-3)
    optimizer = tf_keras.optimizers.Adam(rate, global_clipnorm=50.0)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.losses(x, y)["loss"])
        optimizer.minimize(loss, model.trainable_variables, tape=tape)
        return loss

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = rng.integers(0, len(images), batch_size)
        step(tf.constant(images[chosen]), None if labels is None else tf.constant(labels[chosen]))
    return model
