"""What a run is conditioned on by `--context`, a function of an image and its label.

    label      the label, one-hot
    lowres:K   the image, K times smaller: super-resolution

It goes into every coupling and every prior (`GlowConfig(context_shape=)`). Of a picture it has the pixels as
the flow has those of an image, but of 8 bits whatever `n_bits_x` is, and without noise: pixel / 256 - 0.5.
"""

import dataclasses

import tensorflow as tf

from experiments.cli import UsageError
from experiments.pictures import block_means

LABEL, LOW_RESOLUTION = "label", "lowres"


@dataclasses.dataclass(frozen=True)
class Label:
    """The label, a vector.

    Attributes:
        n_y: int, how many labels there are.
    """

    n_y: int

    @property
    def shape(self) -> tuple[int]:
        """Of one context."""
        return (self.n_y,)

    def __call__(self, images, labels) -> tf.Tensor:
        """Returns the contexts of B images, float32 [B, n_y]; of labels int [B] alone."""
        del images
        return tf.one_hot(labels, self.n_y)


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """The image made smaller, as `pictures.sizes` makes it.

    Attributes:
        size: int, height and width.
        n_channels: int.
    """

    size: int
    n_channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one context."""
        return self.size, self.size, self.n_channels

    def __call__(self, images, labels) -> tf.Tensor:
        """Returns the contexts of B images, float32 [B, size, size, n_channels]; of uint8 images alone."""
        del labels
        return of_pixels(self.shrunk(images))

    def shrunk(self, images) -> tf.Tensor:
        """Returns images uint8 [B, H, W, C] made smaller, uint8 [B, size, size, C]."""
        return block_means(tf.cast(images, tf.float32), self.size)


Context = Label | LowResolution


def of_pixels(pixels) -> tf.Tensor:
    """Returns pictures uint8 [..., H, W, C] as contexts, float32 in [-0.5, 0.5)."""
    return tf.cast(pixels, tf.float32) / 256.0 - 0.5


def of_run(hyperparameters) -> Context | None:
    """Returns what a run is conditioned on, None without `--context`.

    Args:
        hyperparameters: context, image_size, n_channels and n_y are read.

    Raises:
        UsageError: for another value of `--context`.
    """
    h = hyperparameters
    kind, colon, factor = h.context.partition(":")
    if not h.context:
        return None
    if h.context == LABEL:
        return Label(h.n_y)
    if kind != LOW_RESOLUTION or not colon:
        raise UsageError(f"--context must be {LABEL}, {LOW_RESOLUTION}:K or empty, got {h.context!r}.")
    factors = [2**i for i in range(1, h.image_size.bit_length()) if h.image_size % 2**i == 0]
    if factor not in map(str, factors):
        raise UsageError(
            f"--context {LOW_RESOLUTION}:K is of images K times smaller; of {h.image_size}x{h.image_size} K "
            f"must be one of {', '.join(map(str, factors))}, got {h.context!r}."
        )
    return LowResolution(h.image_size // int(factor), h.n_channels)
