"""Attribute directions in latent space (section 6.3 of the paper): made, saved, read, applied."""

import dataclasses
import pathlib
import zipfile

import numpy as np

from experiments.hyperparameters import UsageError

_ARRAYS = ("names", "vectors", "counts")


@dataclasses.dataclass(frozen=True)
class Directions:
    """Mean latent of the images with an attribute minus the mean of those without.

    Attributes:
        names: str [A], of the attributes.
        vectors: float32 [A, M], the directions.
        counts: int64 [A, 2], how many images had the attribute, and how many didn't.
    """

    names: np.ndarray
    vectors: np.ndarray
    counts: np.ndarray

    def save(self, path) -> None:
        """Writes an npz file."""
        with pathlib.Path(path).open("wb") as file:  # np.savez would add a suffix.
            np.savez(file, **dataclasses.asdict(self))

    def chosen(self, names) -> "Directions":
        """Returns those with the given names, in their order; all where none are given.

        Raises:
            UsageError: for an unknown name.
        """
        known = list(self.names)
        for name in names:
            if name not in known:
                raise UsageError(f"There is no attribute {name!r}; there are: {', '.join(known)}.")
        index = [known.index(name) for name in names or known]
        return Directions(self.names[index], self.vectors[index], self.counts[index])


def load(path) -> Directions:
    """Reads what `Directions.save` wrote; raises a UsageError if the file isn't that."""
    try:
        with np.load(path) as arrays:
            return Directions(*(arrays[name] for name in _ARRAYS))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"Can't read directions from {path}: {error}") from error


def compute(encode, batches, names) -> Directions:
    """Computes directions in one pass over the data; memory doesn't grow with its size.

    Args:
        encode: callable, images uint8 [B, H, W, C] -> flat latents float [B, M].
        batches: iterable of (images, attributes); attributes are 0 or 1, [B, A].
        names: str [A].

    Raises:
        UsageError: if no image has an attribute, or every image.
    """
    with_it, everything = 0.0, 0.0
    counts, n = np.zeros(len(names), np.int64), 0
    for images, attributes in batches:
        latents = np.asarray(encode(images), np.float64)
        attributes = np.asarray(attributes, np.float64)
        with_it += attributes.T @ latents
        everything += latents.sum(0)
        counts += attributes.sum(0).astype(np.int64)
        n += len(latents)
    for name, count in zip(names, counts, strict=True):
        if count in (0, n):
            raise UsageError(
                f"Attribute {name!r}: {count} of {n} images have it; a direction needs images with it and "
                "images without."
            )
    vectors = with_it / counts[:, None] - (everything - with_it) / (n - counts)[:, None]
    return Directions(np.array(names), vectors.astype(np.float32), np.stack([counts, n - counts], 1))


def rows(images, directions: Directions, alphas) -> dict[str, np.ndarray]:
    """Returns the inputs of the signature `manipulate`, a row for each image and direction, images first.

    Args:
        images: uint8 [N, H, W, C].
        directions: A of them.
        alphas: floats, how far along a direction.
    """
    n, n_directions = len(images), len(directions.names)
    return dict(
        images=np.repeat(images, n_directions, 0),
        direction=np.tile(directions.vectors, (n, 1)),
        alphas=np.tile(np.asarray(alphas, np.float32), (n * n_directions, 1)),
    )
