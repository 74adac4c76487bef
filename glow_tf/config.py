"""What defines a Glow, and what follows from it."""

import dataclasses
import functools
import math

import tensorflow as tf

from glow_tf import context, inputs, quantization
from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS
from glow_tf.kernels.loops import MEMORY

DTYPES = ("float32", "float64", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlowConfig:
    """What defines a Glow; names are the original's, defaults its CIFAR-10 model's.

    Example:
    ```python
    import glow_tf

    config = glow_tf.GlowConfig(image_size=(32, 64), n_levels=3, ycond=True, n_y=40)
    config.eps_shapes  # Of the latents: [(16, 32, 6), (8, 16, 12), (4, 8, 48)]
    ```

    Attributes:
        image_size: int, height and width, or a pair (height, width); 2^n_levels divides both.
        n_channels: int, of the images.
        n_levels: int, L in the paper.
        depth: int, steps of flow per level, K in the paper.
        width: int, channels of the coupling networks' hidden layers.
        flow_permutation: "reverse", "shuffle" or "invconv".
        flow_coupling: "additive" or "affine".
        learntop: whether the top prior is learned.
        ycond: whether the top prior depends on a label.
        n_y: int, the number of labels.
        context_shape: of what all couplings and priors depend on besides: () for nothing, (C,) a vector, or
            (h, w, C) an image, of the images' size times or divided by a power of two. Larger than a level's
            images it is squeezed there, smaller it is repeated; see `glow_tf.context`.
        n_bits_x: int, 1 to 8, bits per dimension. Images are 0 to 255 all the same: the top bits are kept.
        memory: "store", "recompute" or "reverse": what training keeps, see `bijectors.Scan`.
        keep_bytes: int, how much "reverse" keeps of each level's last steps, which then aren't rebuilt:
            as many steps as there is room for.
        dtype: "float32", "float64", or "mixed_bfloat16", where only the coupling networks'
            convolutions are bfloat16: faster, and bits per dimension within 0.002; but decoding what was
            encoded is off by up to 4.6e-3 (a bin of 8 bits is 3.9e-3), not by 1e-6, for the networks round.

    Raises:
        ValueError: for a value that isn't allowed, a TypeError too if its type isn't; the message names it
            and what is.
    """

    image_size: int | tuple[int, int] = 32
    n_channels: int = 3
    n_levels: int = 3
    depth: int = 32
    width: int = 512
    flow_permutation: str = "invconv"
    flow_coupling: str = "affine"
    learntop: bool = True
    ycond: bool = False
    n_y: int = 10
    context_shape: tuple[int, ...] = ()
    n_bits_x: int = 8
    memory: str = "reverse"
    keep_bytes: int = 2**26
    dtype: str = "float32"

    def __post_init__(self):
        """Checks every value."""
        # The class is frozen; NumPy's numbers become Python's, as in JSON.
        set_value = functools.partial(object.__setattr__, self)
        for name in ("n_channels", "n_levels", "depth", "width", "n_y"):
            set_value(name, inputs.require_int(name, getattr(self, name), 1))
        set_value("keep_bytes", inputs.require_int("keep_bytes", self.keep_bytes, 0))
        set_value("n_bits_x", quantization.require_n_bits(self.n_bits_x))
        for name in ("learntop", "ycond"):
            set_value(name, inputs.require_bool(name, getattr(self, name)))
        if isinstance(self.dtype, tf.DType):
            set_value("dtype", self.dtype.name)
        inputs.require_word("flow_permutation", self.flow_permutation, PERMUTATIONS)
        inputs.require_word("flow_coupling", self.flow_coupling, COUPLINGS)
        inputs.require_word("memory", self.memory, MEMORY)
        inputs.require_word("dtype", self.dtype, DTYPES)
        image_size = _as_tuple(self.image_size)
        pair = isinstance(image_size, (tuple, list))
        if pair and len(image_size) != 2:
            raise ValueError(f"image_size must be an integer, or a pair (height, width), got {image_size!r}.")
        sizes = [inputs.require_int("image_size", size, 1) for size in (image_size if pair else [image_size])]
        if any((size & -size).bit_length() <= self.n_levels for size in sizes):
            # The divisor of any n_levels may have millions of digits.
            divisor = f" = {2**self.n_levels}" if self.n_levels < 64 else ""
            raise ValueError(
                f"image_size {inputs.shown(image_size)} must be a positive multiple of 2^n_levels{divisor}, "
                f"as each level halves it; n_levels is {inputs.shown(self.n_levels)}."
            )
        set_value("image_size", tuple(sizes) if pair else sizes[0])
        set_value("context_shape", self._checked_context_shape())

    def _checked_context_shape(self) -> tuple[int, ...]:
        shape = _as_tuple(self.context_shape)
        if not isinstance(shape, (tuple, list)) or len(shape) not in (0, 1, 3):
            raise ValueError(
                "context_shape must be () for no context, (C,) for a vector, or (height, width, C) for an "
                f"image, got {inputs.shown(shape)}."
            )
        shape = tuple(inputs.require_int("each entry of context_shape", size, 1) for size in shape)
        if len(shape) == 3 and not self._fits_levels(shape):
            height, width, _ = self.image_shape
            raise ValueError(
                f"context_shape {shape} must have the size of the images, {height}x{width}, or that size "
                f"halved or doubled several times, got {shape[0]}x{shape[1]}."
            )
        return shape

    def _fits_levels(self, shape) -> bool:
        """Whether a context's size is a power of two times the images', either way and alike in both axes."""
        (height, width, _), (h, w, _) = self.image_shape, shape
        ratio = max(height, h) / min(height, h)
        return h * width == w * height and math.log2(ratio).is_integer()

    @property
    def context_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the context in the levels' steps: (C,), (height, width, C'), or () without one."""
        return [context.at_level(self.context_shape, *shape[:2]) for shape in self.level_shapes]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, n_channels)."""
        size = self.image_size
        height, width = size if isinstance(size, tuple) else (size, size)
        return int(height), int(width), self.n_channels

    @property
    def n_dims(self) -> int:
        """M = height * width * n_channels."""
        return math.prod(self.image_shape)

    @property
    def level_shapes(self) -> list[tuple[int, int, int]]:
        """The shapes of the images in the levels' steps, (height, width, channels), the first level first."""
        height, width, channels = self.image_shape
        return [(height >> i, width >> i, channels << i + 1) for i in range(1, self.n_levels + 1)]

    @property
    def eps_shapes(self) -> list[tuple[int, int, int]]:
        """The shapes of the latents, the level that is split off first comes first."""
        *split, last = self.level_shapes
        return [*((height, width, channels // 2) for height, width, channels in split), last]

    @property
    def additive(self) -> bool:
        """Whether the coupling is additive."""
        return self.flow_coupling == "additive"

    @property
    def variable_dtype(self) -> str:
        """The dtype of the variables, and of all that isn't a coupling network's convolution."""
        return "float64" if self.dtype == "float64" else "float32"

    @property
    def compute_dtype(self) -> str:
        """The dtype of the coupling networks' convolutions."""
        return "bfloat16" if self.dtype == "mixed_bfloat16" else self.dtype


def _as_tuple(shape):
    """Returns a tf.TensorShape, as tensors have it, as a tuple; anything else as it is."""
    return tuple(shape) if isinstance(shape, tf.TensorShape) and shape.rank is not None else shape
