"""Images with attributes, of which directions in latent space are made."""

import hashlib
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from experiments import settings
from experiments.cli import UsageError
from experiments.data import batches, npz, problems, sources


def class_names(hyperparameters: settings.Hyperparameters) -> list[str]:
    """Returns the names of the labels: those of a folder's classes, else their numbers."""
    return list(hyperparameters.classes or map(str, range(hyperparameters.n_y)))


def load(
    hyperparameters: settings.Hyperparameters, image_shape, file: str | None = None, download: bool = False
) -> tuple[Iterable, list[str]]:
    """Returns an iterable of (images uint8 [B, H, W, C], attributes 0 or 1 [B, A]), and the A names.

    Args:
        hyperparameters: resolved. Their training set, each label an attribute, is opened when the first
            batch is asked for.
        image_shape: (H, W, C) of the model.
        file: an npz with images uint8 [N, H, W, C], attributes [N, A] of 0 and 1, and names [A], instead.
        download: whether TFDS may download the dataset.

    Raises:
        UsageError: if they can't be read.
    """
    if file:
        return _of_file(file, image_shape, hyperparameters.n_batch_test)
    return _of_dataset(hyperparameters, download), class_names(hyperparameters)


def _of_dataset(hyperparameters, download):
    data = problems.load(hyperparameters, "train", download)
    with sources.failures(data):
        # Each image once, not augmented.
        for images, labels, _ in batches.test(data, hyperparameters, hyperparameters.n_batch_test):
            yield images, labels.numpy()[:, None] == np.arange(hyperparameters.n_y)


def _of_file(file, image_shape, batch_size):
    arrays = npz.read(file, ("images", "attributes", "names"))
    images, attributes, names = arrays["images"], arrays["attributes"], arrays["names"]
    if images.dtype != np.uint8 or images.shape[1:] != image_shape or not len(images):
        raise UsageError(
            f"--data {file}: images must be uint8 [N, {', '.join(map(str, image_shape))}], got "
            f"{images.dtype} {list(images.shape)}."
        )
    if names.ndim != 1 or names.dtype.kind not in "UiuS" or len(set(names.tolist())) != len(names):
        raise UsageError(
            f"--data {file}: names must be strings [A], each once, got {names.dtype} {list(names.shape)}."
        )
    try:
        names = names.astype(str)
    except UnicodeDecodeError as error:
        raise UsageError(f"--data {file}: names must be strings, got bytes that aren't ASCII.") from error
    if attributes.dtype.kind not in "biufUS":  # NumPy compares no structure, and drops what is imaginary.
        raise UsageError(f"--data {file}: attributes must be 0 or 1, got {attributes.dtype}.")
    if attributes.shape != (len(images), len(names)) or not attributes.size:
        raise UsageError(
            f"--data {file}: attributes must be [{len(images)}, {len(names)}], as many as images and names; "
            f"got {list(attributes.shape)}."
        )
    wrong = attributes[~np.isin(attributes, (0, 1))]
    if wrong.size:
        raise UsageError(f"--data {file}: attributes must be 0 or 1, got {wrong[0].item()!r}.")
    parts = range(0, len(images), batch_size)
    labelled = ((images[i : i + batch_size], attributes[i : i + batch_size]) for i in parts)
    return labelled, names.tolist()


def identity(hyperparameters: settings.Hyperparameters, file: str | None = None) -> dict:
    """Returns which images `load` reads, for JSON, without a look at the pixels of those that are many."""
    if file:
        with pathlib.Path(file).open("rb") as content:
            return dict(sha256=hashlib.file_digest(content, "sha256").hexdigest())
    data = {key: getattr(hyperparameters, key) for key in ("problem", "category", "data_dir", "image_size")}
    if hyperparameters.data_dir:
        listing = hashlib.sha256()
        for folder, folders, files in os.walk(hyperparameters.data_dir):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                about = os.stat(path) if os.path.exists(path) else None
                listing.update(repr((path, about and (about.st_size, about.st_mtime_ns))).encode())
        data["files"] = listing.hexdigest()
    return data
