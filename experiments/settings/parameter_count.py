"""Parameters, multiplications and memory of a model from its configuration, without making it."""

import dataclasses
import functools

import glow_tf


@functools.lru_cache
def parameters(config: glow_tf.GlowConfig) -> int:
    """Returns the number of trainable parameters, which is linear in the depth."""
    one, two = (_count(dataclasses.replace(config, depth=depth)) for depth in (1, 2))
    return one + (config.depth - 1) * (two - one)


def _count(config):
    return sum(v.shape.num_elements() for v in glow_tf.Glow(config, seed=0).trainable_variables)


def multiplications(config: glow_tf.GlowConfig) -> int:
    """Returns the multiply-adds of the coupling networks' convolutions for one image, forward."""
    outputs = 1 if config.flow_coupling == "additive" else 2
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
    """Returns how many floats one image's stored activations are, if training keeps all of them.

    Of each step: its input, and the two hidden layers before and after their activation normalisation.
    """
    return sum(
        config.depth * rows * columns * (2 * half + 4 * config.width)
        for rows, columns, half in _levels(config)
    )


def _levels(config):
    """Yields each level's height, width, and half of its channels."""
    for rows, columns, channels in config.level_shapes:
        yield rows, columns, channels // 2
