"""What `experiments.benchmark` measures: this Glow, its peers, and the convolutions alone.

Each module's `build(spec)` returns a `Built`. A spec is a dict: task ("train", "log_prob", "sample",
"encode" or "decode"), depth, width, batch; cores, that its process may run on, and threads, that each
operation may have; for `glow` and `convolutions` shares of the batch; for `glow` memory and dtype
too; for `glow` and `normflows` the images' size, 32 unless given. All have three levels.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

LEVELS, SIZE, CHANNELS = 3, 32, 3


@dataclasses.dataclass
class Built:
    """Something to measure."""

    step: Callable[[], object]  # Makes one step, and returns when it is done.
    n_parameters: int
    version: str


def images(batch: int, size: int = SIZE) -> np.ndarray:
    """Returns random images, uint8 [batch, size, size, 3], the same each time."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, CHANNELS), np.uint8)


def dequantized(batch: int, size: int = SIZE) -> np.ndarray:
    """Returns the same images as floats, dequantised, in [-0.5, 0.5)."""
    x = images(batch, size)
    noise = np.random.default_rng(1).random(x.shape, np.float32)
    return ((x + noise) / 256 - 0.5).astype(np.float32)


def level_shapes(size: int = SIZE) -> list[tuple[int, int]]:
    """Returns (height, channels) of each level, after its squeeze."""
    return [(size >> (level + 1), CHANNELS << (level + 2)) for level in range(LEVELS)]
