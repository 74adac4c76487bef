"""Datasets that come with scikit-learn: handwritten digits, and patches of two photographs."""

import numpy as np

from experiments.data.sources import Images

MOST_PATCH_SIZE = 160  # A quarter of the photographs' width.
_N_PATCHES = {"train": 10000, "test": 1000}


def digits(split: str) -> Images:
    """Returns the digits, [N, 8, 8, 1]: 1437 to train and, of other writers, 360 to test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # 17 grey levels, 0 to 16, in steps of 16; the last 360 images, of other writers, are held out.
    images = np.minimum(data.images * 16, 255).astype(np.uint8)[..., None]
    part = slice(None, -360) if split == "train" else slice(-360, None)
    return Images(images[part], data.target[part].astype(np.int32))


def patches(split: str, size: int) -> Images:
    """Returns random crops of two photographs, [N, size, size, 3], always the same ones.

    Args:
        split: "train", crops of the left three quarters, or "test", crops of the right quarter.
        size: int, height and width; at most `MOST_PATCH_SIZE`.
    """
    from sklearn.datasets import load_sample_images

    photographs = np.stack(load_sample_images().images)  # [2, 427, 640, 3]
    middle = photographs.shape[2] * 3 // 4
    part = photographs[:, :, :middle] if split == "train" else photographs[:, :, middle:]
    # [2, rows, columns, 3, size, size]
    windows = np.lib.stride_tricks.sliding_window_view(part, (size, size), axis=(1, 2))
    n = _N_PATCHES[split]
    where = np.random.default_rng(0).integers(0, windows.shape[:3], (n, 3))
    images = np.ascontiguousarray(windows[tuple(where.T)].transpose(0, 2, 3, 1))
    return Images(images, np.zeros(n, np.int32))
