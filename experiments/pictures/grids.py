"""Images as picture files: one, a grid, an animation."""

import contextlib
import pathlib

import numpy as np
from PIL import Image

from experiments.cli import UsageError

MIN_SIZE = 32  # Smaller images are enlarged, pixel by pixel, to be seen.
SUFFIXES = (".png", ".gif")
FRAME_MILLISECONDS = 200


def grid(images, columns: int) -> np.ndarray:
    """Arranges images row by row.

    Args:
        images: uint8 [N, H, W, C], C 1 or 3.
        columns: int; N must be a multiple.

    Returns:
        uint8 [rows * H', columns * W', 3], with a border between small, enlarged images.
    """
    images = np.asarray(images)
    n, height, width, channels = images.shape
    if channels not in (1, 3):
        raise ValueError(f"Pictures need 1 or 3 channels, got {channels}.")
    if channels == 1:
        images = np.repeat(images, 3, axis=-1)
    scale = -(-MIN_SIZE // height)
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    if scale > 1:
        images = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=96)
    n, height, width, _ = images.shape
    rows = images.reshape(n // columns, columns, height, width, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)


def save_grid(images, columns: int, path) -> None:
    """Writes `grid(images, columns)` as a picture; the suffix of `path` says which kind."""
    Image.fromarray(grid(images, columns)).save(path)


def save(images, columns: int, path) -> None:
    """Writes images as a grid (.png), or its columns one after the other (.gif).

    Args:
        images: uint8 [N, H, W, C], row by row.
        columns: int; N must be a multiple.
        path: of the picture.

    Raises:
        UsageError: if it can't be written.
    """
    _save([images[column::columns] for column in range(columns)], 1, images, columns, path)


def save_blocks(blocks, columns: int, path) -> None:
    """Writes grids one below the other (.png), or one after the other (.gif).

    Args:
        blocks: list of images, uint8 [N, H, W, C] each.
        columns: int; N must be a multiple.
        path: of the picture.

    Raises:
        UsageError: if it can't be written.
    """
    _save(blocks, columns, np.concatenate(blocks), columns, path)


def _save(frames, columns_of_a_frame, images, columns, path):
    """Writes `images` as one grid, or `frames` of them in turn, as the suffix says."""
    with _refusals_said(path):
        if pathlib.Path(path).suffix.lower() == ".gif":
            save_frames([grid(frame, columns_of_a_frame) for frame in frames], path)
        else:
            save_grid(images, columns, path)


def save_frames(frames, path) -> None:
    """Writes pictures, uint8 [H, W, 3] each, as a GIF that shows them in turn."""
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0)


def save_one(image, path) -> None:
    """Writes one image, uint8 [H, W, C], as it is; raises a UsageError if it can't."""
    with _refusals_said(path):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def require_name(path) -> None:
    """Raises a UsageError if `save` can't write to `path`."""
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out must end in {' or '.join(SUFFIXES)}, got {str(path)!r}.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}.")
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder; it must name a file to write.")


@contextlib.contextmanager
def _refusals_said(path):
    try:
        yield
    except OSError as error:
        raise UsageError(f"Can't write {path}: {error.strerror or error}.") from error
