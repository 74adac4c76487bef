"""Whether a model and a batch fit into the machine's memory, said before the time is spent."""

import os

import tensorflow as tf

from experiments.cli import UsageError
from experiments.settings import hyperparameters, parameter_count


def require_memory(hps: dict, images: int = 0) -> None:
    """Raises a UsageError if a model, and so many images at once, surely don't fit into the memory.

    On a GPU, whose memory is its own, TensorFlow says so itself.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    config = hyperparameters.glow_config(hps)
    # Weights, two moments, the average; and of the images one step's activations.
    weights = 4 * parameter_count.least_parameters(config)
    needed = 4 * (weights + images * parameter_count.largest_activations(config))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UsageError(
            f"This needs at least {needed / 2**30:.3g} GiB of memory, and the machine has "
            f"{there / 2**30:.3g}: --depth {hps['depth']}, --width {hps['width']}, images of "
            f"{hps['image_size']}x{hps['image_size']}x{hps['n_channels']}"
            + (f", {images} at once. Make a batch or the model smaller." if images else ".")
        )
