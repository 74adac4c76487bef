"""Deep, trained flows: the gradients of every memory mode, and what rebuilding loses."""

import numpy as np
import pytest
import tensorflow as tf

from experiments.data import problems
from experiments.settings import resolve
from glow_tf import Glow, GlowConfig, optimizers

CONFIG = dict(image_size=8, n_channels=1, n_levels=2, depth=32, width=32, n_bits_x=4)


def gradients(model, images, noise):
    """Returns the gradients of the mean loss, in a function, as in training."""

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.losses(images, noise=noise)["loss"])
        return tape.gradient(loss, model.trainable_variables)

    return run()


@pytest.mark.slow
def test_deep_trained_flow():
    data = problems.load(resolve({}), "train")
    noise = np.random.default_rng(0).random(data.images.shape, np.float32) / 16
    models = {
        memory: Glow(
            GlowConfig(**CONFIG, memory=memory, keep_bytes=0), seed=0
        )  # "reverse" rebuilds every step.
        for memory in ("store", "recompute", "reverse")
    }
    trained = models["store"]
    trained.initialize(data.images, noise=noise)
    optimizer = optimizers.Adamax(0.001)

    @tf.function
    def step(images, noise):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(trained.losses(images, noise=noise)["loss"])
        variables = trained.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    batch = lambda k: slice(k % 22 * 64, k % 22 * 64 + 64)
    losses = [float(step(data.images[batch(k)], noise[batch(k)])) for k in range(200)]
    assert np.mean(losses[-20:]) < losses[0] - 1, "it has learnt something"
    for model in models.values():
        for variable, value in zip(model.variables, trained.variables, strict=True):
            variable.assign(value)

    images, noise = data.images[:64], noise[:64]
    expected = gradients(trained, images, noise)
    for mode in ("recompute", "reverse"):
        for ours, reference in zip(gradients(models[mode], images, noise), expected, strict=True):
            error = np.linalg.norm(ours - reference) / max(np.linalg.norm(reference), 1e-6)
            assert error < 1e-3, (mode, reference.shape, error)
    x = trained.dequantize(images, noise)
    restored = trained.decode_float([tf.identity(e) for e in trained.encode(images, noise=noise)])
    assert np.abs(restored - x).max() < 1e-4
