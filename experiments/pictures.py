"""Images as pictures."""

import numpy as np
from PIL import Image

MIN_SIZE = 32  # Smaller images are enlarged, pixel by pixel, to be seen.


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
