"""Whether a model and a batch fit into the machine's memory, said before the time is spent."""

import os

import tensorflow as tf

from experiments import settings
from experiments.cli import UsageError
from experiments.settings import parameter_count


def require_memory(
    hyperparameters: settings.Hyperparameters, images: int = 0, batch: int = 0, n_init: int = 0
) -> None:
    """Raises a UsageError if a model and its images surely don't fit into the memory.

    On a GPU, whose memory is its own, TensorFlow says so itself.

    Args:
        hyperparameters: of the model.
        images: int, how many are computed at once.
        batch: int, how many are read at once.
        n_init: int, how many the data-dependent initialisation sees.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    config = settings.glow_config(hyperparameters)
    # Weights, two moments, the average; and of the images one step's activations.
    weights = 4 * parameter_count.least_parameters(config)
    layers = max(n_init, parameter_count.images_at_once(config, images))
    needed = 4 * (weights + layers * parameter_count.largest_activations(config))
    needed += batch * config.n_dims * 5  # uint8 and the noise.
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UsageError(
            f"This needs at least {needed / 2**30:.3g} GiB of memory, and the machine has "
            f"{there / 2**30:.3g}: --depth {config.depth}, --width {config.width}, images of "
            f"{'x'.join(map(str, config.image_shape))}"
            + (f", {images} at once. Make --micro_batch, a batch or the model smaller." if images else ".")
        )
