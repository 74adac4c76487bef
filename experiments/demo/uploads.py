"""Reads a picture that somebody uploads: bounded, and a bad one is told in a sentence."""

import pathlib

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
MAX_BYTES = 10 * 2**20
MAX_PIXELS = 25 * 10**6
_MODES = {1: "L", 3: "RGB"}


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
    try:
        with Image.open(path, formats=FORMATS) as picture:
            _require_size(picture.size, shape[0])
            notes = _notes(picture)
            picture = ImageOps.exif_transpose(_eight_bits(picture))
            return _resized(picture, shape), _sentence(picture.size, shape, notes)
    except Image.DecompressionBombError as error:
        raise BadUpload(_too_many_pixels()) from error
    # All that Pillow's readers raise on a broken file, such as SyntaxError for a broken PNG.
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise BadUpload(f"This isn't a picture that can be read; {', '.join(FORMATS)} files are.") from error


def _too_many_pixels():
    return f"The picture has more than {MAX_PIXELS // 10**6} million pixels, the most that is taken."


def _require_size(size, least):
    # Before a pixel is decoded: a small file can say that it is huge.
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadUpload(_too_many_pixels())
    if min(size) < least:
        unit = "pixel" if width == 1 else "pixels"
        raise BadUpload(
            f"The picture is {width} {unit} wide and {height} high; it must be at least {least} by {least}."
        )


def _notes(picture):
    notes = []
    if getattr(picture, "is_animated", False):
        notes.append("only the first frame is used")
    if picture.mode.startswith("I"):
        notes.append("its 16 bits became 8")
    if picture.mode == "CMYK":
        notes.append("its CMYK colours became RGB")
    if picture.has_transparency_data:
        notes.append("what was transparent became white")
    return notes


def _eight_bits(picture):
    """Returns a picture as RGB; 16 bits are scaled, which Pillow's own conversion would clip."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        picture = white
    return picture.convert("RGB")


def _resized(picture, shape):
    """Means over areas, then floor, as `experiments.datasets` makes smaller images."""
    height, width, channels = shape
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).convert(_MODES[channels])
    # Pillow rounds 8-bit means; those of floats can be floored.
    bands = [band.convert("F").resize((width, height), Image.Resampling.BOX) for band in square.split()]
    means = np.stack([np.asarray(band) for band in bands], -1)
    # Sums of floats can fall a rounding error short of the whole number that they are.
    return np.floor(means + 1e-3).clip(0, 255).astype(np.uint8)


def _sentence(size, shape, notes):
    width, height = size
    did = f"Your picture, {width} by {height}"
    did += ", cropped to its middle square" if width != height else ""
    did += f", resized to {shape[1]} by {shape[0]}" if min(size) != shape[0] else ""
    return did + "".join(f"; {note}" for note in notes) + "."
