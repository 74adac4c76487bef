"""Files that somebody may upload by mistake, or by malice."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def _saved(picture, kind, **arguments) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, kind, **arguments)
        return file.getvalue()


def noise(*shape) -> np.ndarray:
    """Returns random pixels, uint8."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def text() -> bytes:
    """A text that was renamed .png."""
    return b"Dear diary, today I renamed a text.\n" * 20


def one_pixel() -> bytes:
    """A picture of one pixel."""
    return _saved(Image.new("RGB", (1, 1), "red"), "PNG")


def sixteen_bits() -> bytes:
    """A grey picture of 16 bits: its pixels are those of `noise(40, 40)`, times 257."""
    return _saved(Image.fromarray(noise(40, 40).astype(np.uint16) * 257), "PNG")


def cmyk() -> bytes:
    """A JPEG of a printer's four colours."""
    return _saved(Image.fromarray(noise(40, 40, 3)).convert("CMYK"), "JPEG")


def animated() -> bytes:
    """A GIF of two frames, a black one first."""
    black, white = (Image.new("L", (40, 40), colour) for colour in ("black", "white"))
    return _saved(black, "GIF", save_all=True, append_images=[white])


def broken() -> bytes:
    """The first half of a PNG."""
    data = _saved(Image.fromarray(noise(40, 40, 3)), "PNG")
    return data[: len(data) // 2]


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few kB that says it is `side` by `side`: 2.5 billion pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(side + 1) * 100, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def fifty_megabytes() -> bytes:
    """A picture with 50 MB of what no reader looks at behind it."""
    return sixteen_bits() + bytes(50 * 10**6)


# What is said of each: what the sentence must contain, and whether the picture is refused.
CASES = {
    "text": (text, "isn't a picture that can be read", True),
    "broken": (broken, "isn't a picture that can be read", True),
    "one_pixel": (one_pixel, "1 pixel wide and 1 high; it must be at least 8 by 8", True),
    "bomb": (bomb, "more than 25 million pixels", True),
    "medium_bomb": (lambda: bomb(6000), "more than 25 million pixels", True),
    "sixteen_bits": (sixteen_bits, "its 16 bits became 8", False),
    "cmyk": (cmyk, "its CMYK colours became RGB", False),
    "animated": (animated, "only the first frame is used", False),
}
