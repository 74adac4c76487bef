"""The pictures that a run with `--context lowres:K` makes larger: of test images, or the user's own."""

import pathlib

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import pictures, settings
from experiments.cli import UsageError
from experiments.data import contexts, image_folder, images_flag

_N = 10  # Unless given.


def define():
    """--context_images."""
    flags.DEFINE_list(
        "context_images",
        [],
        "For a run with --context lowres:K, the pictures to make larger: files of the small size, folders of "
        f"them, or numbers in the test set, whose images are made smaller. The first {_N} test images unless "
        "given.",
    )


def load(
    hyperparameters: settings.Hyperparameters, context: contexts.LowResolution
) -> tuple[tf.Tensor, list[int | None]]:
    """Returns the contexts that --context_images names, float32 [N, h, w, C], and N labels.

    Args:
        hyperparameters: resolved, which say what the test set is.
        context: the run's.

    Returns:
        The label of a picture file is None.

    Raises:
        UsageError: if one can't be read.
    """
    given = flags.FLAGS.context_images
    test = None
    if not given or any(name.isdecimal() for name in given):
        test = images_flag.test_set(hyperparameters)
    names = [path for name in given for path in _files(name)]
    names = names or [str(number) for number in range(min(_N, len(test[0])))]
    found = [_one(name, test, context) for name in names]
    return contexts.of_pixels(np.stack([pixels for pixels, _ in found])), [label for _, label in found]


def _files(name):
    """Returns the pictures of a folder, sorted; else the name itself."""
    folder = pathlib.Path(name)
    if name.isdecimal() or not folder.is_dir():
        return [name]
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in image_folder.SUFFIXES)
    if not paths:
        raise UsageError(f"--context_images: there are no pictures in the folder {folder}.")
    return list(map(str, paths))


def _one(name, test, context):
    if not name.isdecimal():
        return pictures.read(name, context.shape, "the context's"), None
    images, labels = test
    number = images_flag.number(name, len(images), "context_images")
    return context.shrunk(images[number : number + 1])[0], int(labels[number])
