"""The images that a command works on: of the test set, or the user's own."""

import numpy as np
from absl import flags

from experiments import pictures, settings
from experiments.cli import UsageError
from experiments.data import batches, problems, sources


def define(default: list[str]):
    """--images, and what it is unless given."""
    flags.DEFINE_list(
        "images", default, "Images: numbers in the test set, or picture files of the model's size."
    )


def load(hyperparameters: settings.Hyperparameters, image_shape, at_least: int) -> np.ndarray:
    """Returns the images that --images names, uint8 [N, H, W, C].

    Args:
        hyperparameters: resolved, which say what the test set is.
        image_shape: (height, width, n_channels) of the model.
        at_least: int, how many there must be.

    Raises:
        UsageError: if they are too few, or one can't be read.
    """
    names = flags.FLAGS.images
    if len(names) < at_least:
        raise UsageError(f"--images must name at least {at_least}, got {len(names)}.")
    test = None
    if any(name.isdecimal() for name in names):
        test, _ = test_set(hyperparameters)
    return np.stack([_one(name, test, image_shape) for name in names])


def test_set(hyperparameters: settings.Hyperparameters) -> tuple[np.ndarray, np.ndarray]:
    """Returns the test images, uint8 [N, H, W, C], and their labels, int32 [N].

    Raises:
        UsageError: if they can't be read.
    """
    data = problems.load(hyperparameters, "test")
    with sources.failures(data):
        read = batches.test(data, hyperparameters, hyperparameters.n_batch_test)
        parts = [(images.numpy(), labels.numpy()) for images, labels, _ in read]
    images, labels = map(np.concatenate, zip(*parts, strict=True))
    return images, labels


def _one(name, test, image_shape):
    if not name.isdecimal():
        return pictures.read(name, image_shape)
    return test[number(name, len(test), "images")]


def number(name: str, n: int, flag: str) -> int:
    """Returns the number of a test image, of n; raises a UsageError that names the flag if there is none."""
    if len(name) > 18 or int(name) >= n:  # Of very many digits Python makes no number.
        raise UsageError(f"--{flag}: there are {n} test images, from 0 to {n - 1}, got {name}.")
    return int(name)
