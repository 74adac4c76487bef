"""MNIST's own files, which Fashion-MNIST has too: images and labels in the format IDX, packed by gzip or not.

The format: LeCun, Cortes & Burges, The MNIST database of handwritten digits. Two zero bytes, the type (8 is
uint8), the number of axes, each axis' size as a big-endian int32, then the values.
"""

import gzip
import math
import pathlib
import zlib

import numpy as np

from experiments.cli import UsageError
from experiments.data.sources import Images

_NAMES = {"train": "train", "test": "t10k"}
_UINT8 = 8
_MOST_BYTES = 2**30


def find(folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """Returns the files of the images and of the labels of "train" or "test"; none if both aren't there."""
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        paths = [folder / f"{_NAMES[split]}-{kind}-ubyte{ending}" for ending in ("", ".gz")]
        found += [path for path in paths if path.is_file()][:1]
    return found if len(found) == 2 else []


def read(files: list[pathlib.Path], n_labels: int) -> Images:
    """Reads what `find` found, images [N, H, W, 1].

    Raises:
        UsageError: that names the file, if it is damaged, or has other labels than 0 to n_labels - 1.
    """
    images, labels = (_array(path, n_axes) for path, n_axes in zip(files, (3, 1), strict=True))
    if len(images) != len(labels):
        raise UsageError(f"{files[0]} has {len(images)} images, and {files[1]} {len(labels)} labels.")
    bad = np.flatnonzero(labels >= n_labels)
    if len(bad):
        raise UsageError(
            f"{files[1]} has the label {labels[bad[0]]}, and labels must be 0 to {n_labels - 1}."
        )
    return Images(images[..., None], labels.astype(np.int32))


def _array(path, n_axes):
    """Returns the values of a file, uint8 with so many axes."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            head = file.read(4 + 4 * n_axes)
            shape = [int(size) for size in np.frombuffer(head[4:], ">i4")] if len(head) % 4 == 0 else []
            if head[:4] != bytes([0, 0, _UINT8, n_axes]) or len(shape) != n_axes or min(shape) < 0:
                raise UsageError(f"{path} isn't a file in the format IDX of uint8 with {n_axes} axes.")
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise UsageError(f"{path} says that it has {size} values; at most {_MOST_BYTES} are read.")
            values = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is damaged: {error}.") from error
    if len(values) != size:
        more = "more" if len(values) > size else f"only {len(values)}"
        raise UsageError(f"{path} is damaged: it should have {size} values, and has {more}.")
    return np.frombuffer(values, np.uint8).reshape(shape)
