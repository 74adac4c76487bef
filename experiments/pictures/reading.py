"""A picture file as pixels of 8 bits: the same wherever a picture is read.

    upright        as its EXIF orientation says
    first frame    of an animation, first page of a TIFF
    on white       what is transparent, unless the model itself has transparency, its fourth channel
    high byte      of 16 bits; of 12 bits, the high 8
    RGB            of CMYK, YCbCr, LAB, HSV and palettes, without colour profiles; gray by ITU-R 601-2

Integers of 32 bits and floats are refused: nothing in the file says which of them is white.
"""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.cli import UsageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 25 * 10**6

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GRAY = ("1", "L")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
# Pillow's own mode for 32-bit integers is also how it reads these, whose pixels have 16 bits.
_16_BITS_AS_32 = ("PNG", "PPM")
# What Pillow multiplies the gray levels of a PNG of 2 and of 4 bits by.
_PNG_GRAY_STEP = {"L;2": 85, "L;4": 17}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # Tags of TIFF, and values of the second.
_WHITE_IS_ZERO, _YCBCR = 0, 6

# From twice as many pixels on than are taken here, Pillow warns before it is asked for one.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class BadPicture(ValueError):
    """A picture can't be used; the message says why: "it ..."."""


def load(file, n_channels: int | None = None, least: int = 1, formats=FORMATS):
    """Reads a picture.

    Args:
        file: path, or a binary file.
        n_channels: 1, 3 or 4, what the model has; as many as the picture itself has unless given.
        least: int, pixels that its smaller side must have.
        formats: those that are taken, of `FORMATS`.

    Returns:
        A picture of mode L, RGB or RGBA, and what was done to it: a list of clauses such as "its 16 bits
        became 8".

    Raises:
        BadPicture: if it can't be read, or has too few or too many pixels, said before one is decoded.
    """
    try:
        with Image.open(file, formats=formats) as picture:
            _require_size(picture.size, least)
            notes = _notes(picture, n_channels)
            _mend_ycbcr(picture)
            _match_transparent_colour(picture)
            ImageOps.exif_transpose(picture, in_place=True)
            return convert(picture, n_channels), notes
    except BadPicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPicture(_too_many_pixels()) from error
    except UnidentifiedImageError as error:
        raise BadPicture(_not_a_picture(formats)) from error
    except OSError as error:
        if error.errno is not None:  # The operating system's, not Pillow's.
            raise BadPicture(f"it can't be opened: {error.strerror}") from error
        raise BadPicture(f"{_not_a_picture(formats)} ({error})") from error
    # Pillow's readers raise what they run into in a broken file: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise BadPicture(f"{_not_a_picture(formats)} ({error or type(error).__name__})") from error


def convert(picture: Image.Image, n_channels: int | None = None, least: int = 1) -> Image.Image:
    """Returns a picture of any mode as L, RGB or RGBA; the arguments and errors are those of `load`."""
    _require_size(picture.size, least)
    if n_channels is not None and n_channels not in _MODES:
        raise BadPicture(f"pictures have 1, 3 or 4 channels, and the model has {n_channels}")
    picture = _eight_bits(picture)
    mode = _MODES.get(n_channels, picture.mode)
    if picture.mode == "RGBA" and mode != "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        picture = white
    return picture.convert(mode)


def decode(data: bytes, shape=None, whose: str = "the model's") -> np.ndarray:
    """Returns the image of a picture's bytes.

    Args:
        data: of the file.
        shape: (height, width, n_channels) that it must have; the channels are converted.
        whose: size that is, for the message.

    Returns:
        uint8 [height, width, n_channels].

    Raises:
        BadPicture: if it can't be read, or has another size.
    """
    return _image(io.BytesIO(data), shape, whose)


def read(path, shape=None, whose: str = "the model's") -> np.ndarray:
    """Reads a picture file; arguments and result as for `decode`, and a UsageError that names the file."""
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            raise BadPicture("it is a folder" if path.is_dir() else "there is no such file")
        return _image(path, shape, whose)
    except (OSError, ValueError) as error:  # OSError: of a folder that can't be entered.
        raise UsageError(f"Can't take the picture {path}: {error}.") from error


def _image(file, shape, whose):
    picture, _ = load(file, shape and shape[-1])
    if shape is not None and picture.size != (shape[1], shape[0]):
        raise BadPicture(
            f"it is {_pixels(picture.size)}; it must be {shape[1]} wide and {shape[0]} high, {whose} size"
        )
    image = np.asarray(picture)
    return image[..., None] if image.ndim == 2 else image


def _require_size(size, least):
    # Before a pixel is decoded: a small file can say that it is huge.
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadPicture(_too_many_pixels())
    if min(size) < least:
        raise BadPicture(f"it is {_pixels(size)}; it must be at least {least} by {least}")


def _pixels(size):
    width, height = size
    return f"{width} {'pixel' if width == 1 else 'pixels'} wide and {height} high"


def _too_many_pixels():
    return f"it has more than {MAX_PIXELS // 10**6} million pixels, the most that is taken"


def _not_a_picture(formats):
    return f"it isn't a picture that can be read; {', '.join(formats)} files are"


def _notes(picture, n_channels):
    notes = []
    if getattr(picture, "is_animated", False):
        notes.append("only the first frame is used")
    if picture.mode.startswith("I"):
        notes.append("its 16 bits became 8")
    if picture.mode == "CMYK":
        notes.append("its CMYK colours became RGB")
    if picture.has_transparency_data and n_channels in (1, 3):
        notes.append("what was transparent became white")
    return notes


def _eight_bits(picture):
    """Returns a picture as L, RGB, or, where it has transparency, RGBA."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _from_more_bits(picture)
    if picture.mode in _PREMULTIPLIED:
        picture = picture.convert(_PREMULTIPLIED[picture.mode])
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in _GRAY else "RGB")


def _from_more_bits(picture):
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in _16_BITS_AS_32):
        kind = "floats" if picture.mode == "F" else "32-bit integers"
        raise BadPicture(f"its pixels are {kind}; those of 8 or 16 bits can be read")
    bits, tags = 16, getattr(picture, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        bits = 12
    levels = np.asarray(picture).astype(np.int32)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 2**bits - 1 - levels
    gray = Image.fromarray((levels >> (bits - 8)).clip(0, 255).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if transparent is not None:
        gray.putalpha(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
        gray = gray.convert("RGBA")
    return gray


def _mend_ycbcr(picture):
    """Has the three bytes of a TIFF's YCbCr pixels read, which Pillow before 13 takes for four, of RGB."""
    tags = getattr(picture, "tag_v2", {})
    taken_for_rgb = all(tile.codec_name == "raw" and tile.args[0] == "RGBX" for tile in picture.tile)
    if tags.get(_PHOTOMETRIC) == _YCBCR and taken_for_rgb:
        picture.tile = [tile._replace(args=("YCbCr", *tile.args[1:])) for tile in picture.tile]
        picture._mode = "YCbCr"


def _match_transparent_colour(picture):
    """Brings the one colour of a PNG that is transparent to 8 bits, where Pillow does that to pixels only."""
    colour = picture.info.get("transparency")
    if picture.format != "PNG" or colour is None or picture.mode not in ("L", "RGB"):
        return
    bits = picture.tile[0].args
    if bits in _PNG_GRAY_STEP:
        picture.info["transparency"] = colour * _PNG_GRAY_STEP[bits]
    elif bits == "RGB;16B":
        picture.info["transparency"] = tuple(level >> 8 for level in colour)
