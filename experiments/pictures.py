"""Images as pictures: files, grids, animations."""

import io
import pathlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.hyperparameters import UsageError

MIN_SIZE = 32  # Smaller images are enlarged, pixel by pixel, to be seen.
SUFFIXES = (".png", ".gif")
FRAME_MILLISECONDS = 200

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


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
    """
    if pathlib.Path(path).suffix == ".gif":
        save_frames([grid(images[column::columns], 1) for column in range(columns)], path)
    else:
        save_grid(images, columns, path)


def save_frames(frames, path) -> None:
    """Writes pictures, uint8 [H, W, 3] each, as a GIF that shows them in turn."""
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0)


def save_one(image, path) -> None:
    """Writes one image, uint8 [H, W, C], as it is."""
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def require_name(path) -> None:
    """Raises a UsageError if `save` can't write to `path`."""
    path = pathlib.Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--out must end in {' or '.join(SUFFIXES)}, got {str(path)!r}.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}.")


def read(path, shape=None) -> np.ndarray:
    """Reads a picture file.

    Args:
        path: of the file.
        shape: (height, width, n_channels) that it must have; the channels are converted.

    Returns:
        uint8 [height, width, n_channels].

    Raises:
        UsageError: if it can't be read, or has another size.
    """
    try:
        return decode(pathlib.Path(path).read_bytes(), shape)
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"Can't read a picture from {path}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def decode(data: bytes, shape=None) -> np.ndarray:
    """Returns the image of a picture's bytes; arguments and result as for `read`."""
    with Image.open(io.BytesIO(data)) as picture:
        if shape is not None:
            height, width, channels = shape
            if picture.size != (width, height):
                raise ValueError(
                    f"A picture must be {width} pixels wide and {height} high, got "
                    f"{picture.width} and {picture.height}."
                )
            picture = picture.convert(_MODES[channels])
        elif picture.mode not in _MODES.values():
            picture = picture.convert("RGB")
        image = np.asarray(picture)
    return image[..., None] if image.ndim == 2 else image
