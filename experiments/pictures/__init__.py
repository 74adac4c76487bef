"""The one way from a picture file to pixels, and back to files and grids."""

from experiments.pictures.grids import grid, require_name, save, save_blocks, save_frames, save_grid, save_one
from experiments.pictures.reading import FORMATS, MAX_PIXELS, BadPicture, convert, decode, load, read
from experiments.pictures.sizes import block_means, shrunk, square

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "BadPicture",
    "block_means",
    "convert",
    "decode",
    "grid",
    "load",
    "read",
    "require_name",
    "save",
    "save_blocks",
    "save_frames",
    "save_grid",
    "save_one",
    "shrunk",
    "square",
]
