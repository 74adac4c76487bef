"""Any folder of images: cropped in the middle to squares, and made smaller by area averaging."""

import pathlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.hyperparameters import UsageError
from experiments.sources import Files

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
_TEST_NAMES = ("test", "validation")
_TEST_EVERY = 10


def fit(image: Image.Image, size: int, smaller_side: int | None = None) -> np.ndarray:
    """Returns a picture as uint8 [size, size, 3]: its middle, averaged over areas.

    Args:
        image: of any mode and size.
        size: int, height and width.
        smaller_side: int; given, nothing is cropped, and this becomes the smaller side's length.

    Raises:
        ValueError: if the picture is smaller than that.
    """
    image = image.convert("RGB")
    least = smaller_side or size
    if min(image.size) < least:
        width, height = image.size
        raise ValueError(f"it is {height} x {width} pixels, and must be at least {least} x {least}")
    if smaller_side:
        scale = smaller_side / min(image.size)
        new = tuple(max(smaller_side, round(side * scale)) for side in image.size)
        return np.asarray(image.resize(new, Image.Resampling.BOX))
    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BOX))


def find(folder, split: str) -> list[pathlib.Path]:
    """Returns the images of a split under a folder, in the order of their names.

    These are the folder `train`, or `test` (or `validation`), where there are such; else every tenth
    image is for testing.

    Raises:
        UsageError: if there are none.
    """
    folder = pathlib.Path(folder)
    tests = [folder / name for name in _TEST_NAMES if (folder / name).is_dir()]
    parts = {"train": folder / "train"} | ({"test": tests[0]} if tests else {})
    divided = tests and parts["train"].is_dir()
    top = parts[split] if divided else folder
    found = sorted(p for p in top.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not divided:
        found = [p for i, p in enumerate(found) if (i % _TEST_EVERY == 0) == (split == "test")]
    if not found:
        raise UsageError(
            f"There are no images to {split} with in --data_dir {top}: files that end in "
            f"{', '.join(sorted(SUFFIXES))}."
        )
    return found


def open_image(path, size: int, smaller_side: int | None = None) -> np.ndarray:
    """Returns `fit` of a file; raises a UsageError that names the file if it can't be read."""
    try:
        with Image.open(path) as image:
            return fit(image, size, smaller_side)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise UsageError(
            f"Can't take the image {path}: {error}. Remove it, or leave bad images out with --skip_corrupt."
        ) from error


class ImageFolder(Files):
    """The images of files, all with label 0."""

    def __init__(self, paths, size: int):
        """Makes the source of images [size, size, 3]."""
        super().__init__((size, size, 3))
        self._paths = list(paths)

    def __len__(self):
        """Returns how many images there are."""
        return len(self._paths)

    def read(self, i: int, random):
        """Reads an image, as `Files.read`."""
        return open_image(self._paths[i], self.shape[0]), 0

    def drop(self, bad):
        """Leaves files out, as `Files.drop`."""
        bad = set(bad)
        self._paths = [path for i, path in enumerate(self._paths) if i not in bad]
