"""Parameters, multiplications and memory of a model from its configuration, without making it."""

import dataclasses
import functools

import glow_tf
from glow_tf.kernels.loops import PART_BYTES


@functools.lru_cache
def parameters(config: glow_tf.GlowConfig) -> int:
    """Returns the number of trainable parameters, which is linear in the depth."""
    one, two = (_count(dataclasses.replace(config, depth=depth)) for depth in (1, 2))
    return one + (config.depth - 1) * (two - one)


def _count(config):
    return sum(v.shape.num_elements() for v in glow_tf.Glow(config, seed=0).trainable_variables)


def multiplications(config: glow_tf.GlowConfig) -> int:
    """Returns the multiply-adds of the coupling networks' convolutions for one image, forward."""
    outputs = 1 if config.additive else 2
    total = 0
    for rows, columns, half in _levels(config):
        weights = 9 * half * config.width + config.width**2 + 9 * config.width * outputs * half
        total += config.depth * rows * columns * weights
    return total


def least_parameters(config: glow_tf.GlowConfig) -> int:
    """Returns how many parameters the coupling networks have at least, without making one."""
    return config.depth * sum(
        9 * half * config.width + config.width**2 + 9 * config.width * half for _, _, half in _levels(config)
    )


def largest_activations(config: glow_tf.GlowConfig) -> int:
    """Returns how many floats the largest hidden layers of one step are, for one image."""
    return max(rows * columns * 2 * config.width for rows, columns, _ in _levels(config))


def activations(config: glow_tf.GlowConfig) -> int:
    """Returns how many floats of one image are kept, if training keeps all that the gradient needs."""
    return config.depth * sum(_kept(config))


def _kept(config):
    """Returns how many floats of one image are kept of a step of each level, where a step is kept.

    Its input, the two hidden layers, and the scale of an affine coupling.
    """
    inputs = 2 if config.additive else 3
    return [rows * columns * (inputs * half + 2 * config.width) for rows, columns, half in _levels(config)]


def images_at_once(config: glow_tf.GlowConfig, images: int) -> int:
    """Returns for how many of so many images a step is computed at once, where its layers aren't kept."""
    if config.memory == "store":
        return images
    return min(images, max(1, PART_BYTES // (4 * largest_activations(config))))


def training_bytes(config: glow_tf.GlowConfig, images: int) -> int:
    """Returns an estimate of the memory of a training step that computes so many images at once.

    Weights, two moments, the average, gradients and their sum; what is kept of each level's last steps; three
    hidden layers of the largest level, of which a step's gradient is made; and the images six times, as
    inputs, outputs and gradients of a step. Without TensorFlow itself, and without what a GPU's convolutions
    set aside.
    """
    kept = 0
    for floats in _kept(config):
        step = 4 * images * floats
        n = config.depth if config.memory == "store" else min(config.depth, config.keep_bytes // step)
        kept += n * step
    layers = 6 * images_at_once(config, images) * largest_activations(config)
    return 24 * parameters(config) + kept + layers + 24 * images * config.n_dims


def micro_batch(config: glow_tf.GlowConfig, batch_size: int, memory: float) -> int:
    """Returns how many images of a batch to compute at once on a device with so many bytes of memory.

    The batch, or the largest power of 2 whose `training_bytes` are at most half of the memory; at least 1.
    """
    powers = [2**i for i in reversed(range(batch_size.bit_length()))]
    fitting = (n for n in (batch_size, *powers) if training_bytes(config, n) <= memory / 2)
    return next(fitting, 1)


def _levels(config):
    """Yields each level's height, width, and half of its channels."""
    for rows, columns, channels in config.level_shapes:
        yield rows, columns, channels // 2
