"""Attribute directions in latent space (section 6.3 of the paper): made, saved, read, applied."""

import dataclasses
import json
import os
import pathlib

import numpy as np

from experiments.cli import UsageError
from experiments.data import npz

_SAME = ("fingerprint", "data")  # What directions are a function of, of what they were made of.


@dataclasses.dataclass(frozen=True)
class Directions:
    """Mean latent of the images with an attribute minus the mean of those without.

    Attributes:
        names: str [A], of the attributes.
        vectors: float32 [A, M], the directions.
        counts: int64 [A, 2], how many images had the attribute, and how many didn't.
        made_of: dict, as JSON takes it; None if it isn't known. `fingerprint` is that of the model
            (`glow_tf.serving.fingerprint`), `data` says which images; the rest is for people.
    """

    names: np.ndarray
    vectors: np.ndarray
    counts: np.ndarray
    made_of: dict | None = None

    def save(self, path) -> None:
        """Writes an npz file, whole or not at all; raises a UsageError if it can't be written."""
        path = pathlib.Path(path)
        arrays = dataclasses.asdict(self) | {"made_of": np.array(json.dumps(self.made_of))}
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            try:
                with new.open("wb") as file:  # np.savez would add a suffix.
                    np.savez(file, **arrays)
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"Can't write the directions to {path}: {error}") from error

    def is_of(self, made_of: dict) -> bool:
        """Whether they are what would be made of this."""
        mine = self.made_of or {}
        return all(key in mine and mine[key] == made_of[key] for key in _SAME)

    def require_dimensions(self, n_dims: int, path) -> None:
        """Raises a UsageError that names the file if they aren't of a model of `n_dims` dimensions."""
        if self.vectors.shape[1] != n_dims:
            raise UsageError(
                f"The directions in {path} are of another model: they have {self.vectors.shape[1]} "
                f"dimensions, this one has {n_dims}. Give another --directions."
            )

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
        return dataclasses.replace(
            self, names=self.names[index], vectors=self.vectors[index], counts=self.counts[index]
        )


def load(path) -> Directions:
    """Reads what `Directions.save` wrote; raises a UsageError if the file isn't that."""
    arrays = npz.read(path, ("names", "vectors", "counts"), optional=("made_of",))
    names, vectors, counts = (arrays[key] for key in ("names", "vectors", "counts"))
    shapes = f"got {list(names.shape)}, {list(vectors.shape)}, {list(counts.shape)}"
    problem = None
    if names.ndim != 1 or not len(names) or names.dtype.kind != "U":
        problem = f"names must be strings [A], got {names.dtype} {list(names.shape)}"
    elif len(set(names.tolist())) != len(names):
        problem = "each of the names must be there once"
    elif vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.size:
        problem = f"vectors must be float32 [A, M], got {vectors.dtype} {list(vectors.shape)}"
    elif counts.dtype.kind not in "iu":
        problem = f"counts must be integers, got {counts.dtype}"
    elif len(vectors) != len(names) or counts.shape != (len(names), 2):
        problem = f"names, vectors and counts must be [A], [A, M] and [A, 2], {shapes}"
    elif not np.isfinite(vectors).all():
        problem = "vectors must be finite"
    elif (counts < 1).any():
        problem = f"counts must be positive, got {counts.min()}"
    if problem:
        raise UsageError(f"{path} holds no directions: {problem}.")
    return Directions(names, vectors, counts, _made_of(arrays.get("made_of")))


def _made_of(text):
    """Returns the dict that `save` wrote; None for what isn't one."""
    try:
        made_of = json.loads(str(text))
    except (ValueError, RecursionError):
        return None
    return made_of if isinstance(made_of, dict) else None


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


def kept_or_made(path, made_of: dict, encode, batches, names) -> Directions:
    """Returns the directions in a file if they were made of the same; else makes them, and writes the file.

    Args:
        path: of the file, which may be missing.
        made_of: what they are to be made of, as `Directions` has it.
        encode: as of `compute`.
        batches: as of `compute`.
        names: as of `compute`.

    Raises:
        UsageError: as `load`, `compute` and `Directions.save`; and if the file doesn't say what its
            directions were made of: they may be the user's own.
    """
    if pathlib.Path(path).exists():
        known = load(path)
        if known.made_of is None:
            raise UsageError(
                f"{path} doesn't say which weights and data its directions were made of. Remove it, or give "
                "another --directions, and they are made anew."
            )
        if known.is_of(made_of):
            return known
        other = "weights" if known.made_of.get("fingerprint") != made_of["fingerprint"] else "data"
        print(f"The directions in {path} are of other {other}: they are made anew.")
    made = dataclasses.replace(compute(encode, batches, names), made_of=made_of)
    made.save(path)
    print(f"Wrote {len(made.names)} directions of {made.counts[0].sum()} images to {path}.")
    return made


def rows(images, directions: Directions, alphas) -> dict[str, np.ndarray]:
    """Returns the inputs of the signature `manipulate`, a row for each image and direction, images first.

    Args:
        images: uint8 [N, H, W, C].
        directions: A of them.
        alphas: floats, how far along a direction.

    Raises:
        UsageError: if an alpha is beyond float32.
    """
    with np.errstate(over="ignore"):
        alphas32 = np.asarray(alphas, np.float32)
    if not np.isfinite(alphas32).all():
        raise UsageError(f"--alphas must be finite in float32, got {max(alphas, key=abs)}.")
    n, n_directions = len(images), len(directions.names)
    return dict(
        images=np.repeat(images, n_directions, 0),
        direction=np.tile(directions.vectors, (n, 1)),
        alphas=np.tile(alphas32, (n * n_directions, 1)),
    )
