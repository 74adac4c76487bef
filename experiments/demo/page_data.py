"""What the page shows of a data set: test images, their bits per dimension, attribute directions."""

import dataclasses
import math

import numpy as np

from experiments import settings
from experiments.cli import UsageError
from experiments.data import batches, labelled_images, problems, sources
from experiments.demo.served_model import ServedModel
from experiments.served import directions

_BATCH = 100


@dataclasses.dataclass(frozen=True)
class PageData:
    """The data that the page is made of.

    Attributes:
        images: uint8 [N, H, W, C], of the test set.
        labels: int [N].
        bits: float32 [N], bits per dimension of each.
        directions: `Directions`, in the latents without a label.
    """

    images: np.ndarray
    labels: np.ndarray
    bits: np.ndarray
    directions: directions.Directions

    @property
    def classes(self) -> bool:
        """Whether the attributes are classes: each image had exactly one."""
        counts = self.directions.counts
        return len(counts) > 1 and bool(counts[:, 0].sum() == counts[0].sum())

    def class_offsets(self) -> np.ndarray:
        """Returns the mean latent of each class minus the mean of all, float32 [A, M].

        A direction is with - without, and the mean of all is p with + (1 - p) without for the share p of
        the class: so with - all = (1 - p) direction.
        """
        counts = self.directions.counts
        return self.directions.vectors * np.float32(counts[:, 1:] / counts.sum(1, keepdims=True))


def load(
    model: ServedModel,
    hyperparameters: settings.Hyperparameters,
    n_images: int,
    directions_file: str | None,
    fingerprint: str | None,
) -> PageData:
    """Reads the data set and asks the model for what the page needs of it.

    Args:
        model: to be asked.
        hyperparameters: resolved, which say what the data set is.
        n_images: int, how many of the test set, and of the training set, at most.
        directions_file: what experiments.manipulate saved; None computes class directions instead.
        fingerprint: of the model (`glow_tf.serving.fingerprint`); None where nothing tells it.

    Raises:
        UsageError: if the data set or the file can't be read, or the file is of another model.
    """
    images, labels = _split(hyperparameters, "test", n_images)
    bits = [model.bits_per_dim(x, y) for x, y in _batches(images, labels)]
    if directions_file:
        known = directions.load(directions_file)
        known.require_dimensions(math.prod(model.image_shape), directions_file)
        made_of = (known.made_of or {}).get("fingerprint")
        if fingerprint and made_of != fingerprint:
            whose = "other weights than the model's" if made_of else "weights that they don't name"
            raise UsageError(
                f"The directions in {directions_file} are of {whose}. Give others, or none: then those of "
                "the classes are made."
            )
    else:
        labelled = _batches(*_split(hyperparameters, "train", n_images))
        attributes = ((x, np.eye(hyperparameters.n_y)[y]) for x, y in labelled)
        known = directions.compute(
            model.encode_without_label, attributes, labelled_images.class_names(hyperparameters)
        )
    return PageData(images, labels, np.concatenate(bits), known)


def _split(hyperparameters, name, n):
    data = problems.load(hyperparameters, name)
    enough = batches.test(data, hyperparameters, _BATCH).take(math.ceil(n / _BATCH))
    with sources.failures(data):
        images, labels, _ = ([np.asarray(part) for part in column] for column in zip(*enough, strict=True))
    return np.concatenate(images)[:n], np.concatenate(labels)[:n]


def _batches(images, labels):
    return [(images[i : i + _BATCH], labels[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
