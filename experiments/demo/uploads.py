"""Reads a picture that somebody uploads: bounded, and a bad one is answered by a sentence."""

import pathlib

import numpy as np

from experiments import pictures

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
MAX_BYTES = 10 * 2**20


class BadUpload(Exception):
    """The picture can't be used; the message is a sentence for the person who uploaded it."""


def read(path, shape) -> tuple[np.ndarray, str]:
    """Reads a picture, crops its middle square and resizes that as the training images are.

    Args:
        path: of the file.
        shape: (height, width, n_channels) of the model.

    Returns:
        uint8 [height, width, n_channels], and a sentence on what was done to the picture.

    Raises:
        BadUpload: if it can't be used.
    """
    path = pathlib.Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise BadUpload(f"The file is larger than {MAX_BYTES // 2**20} MB, the most that is taken.")
    size, _, n_channels = shape
    try:
        picture, notes = pictures.load(path, n_channels, least=size, formats=FORMATS)
    except pictures.BadPicture as error:
        raise BadUpload(f"The picture can't be used: {error}.") from error
    return pictures.square(picture, size), _sentence(picture.size, size, notes)


def _sentence(picture_size, size, notes):
    width, height = picture_size
    did = f"Your picture, {width} by {height}"
    did += ", cropped to its middle square" if width != height else ""
    did += f", resized to {size} by {size}" if min(picture_size) != size else ""
    return did + "".join(f"; {note}" for note in notes) + "."
