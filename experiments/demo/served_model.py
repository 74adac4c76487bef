"""The model that the page plays with, known by its signatures alone."""

import numpy as np

from experiments import settings
from experiments.cli import UsageError
from experiments.served import Output, ServerError


class ServedModel:
    """What the page asks of a model.

    Attributes:
        image_shape: (height, width, n_channels).
        n_y: int, the number of labels; 0 where the model isn't conditioned on them.
        level_shapes: list of (h, w, c), of the latents; the level that is split off first comes first.
    """

    def __init__(self, server, hyperparameters: settings.Hyperparameters):
        """Asks once for the latents of a black image: whether this is the model.

        Args:
            server: with `predict`, see `experiments.served.Server`.
            hyperparameters: of the model.

        Raises:
            UsageError: if there is no answer, or these aren't the model's hyperparameters.
        """
        self._server = server
        config = settings.glow_config(hyperparameters)
        self.image_shape = config.image_shape
        self.n_y = config.n_y if config.ycond else 0
        self.level_shapes = config.eps_shapes
        black = np.zeros((1, *self.image_shape), np.uint8)
        try:
            self.encode(black, np.zeros(1, np.int32))
        except ServerError as error:
            raise UsageError(
                f"The model doesn't take images of problem {hyperparameters.problem!r}, "
                f"{list(self.image_shape)}, with {self.n_y or 'no'} labels, into {len(self.level_shapes)} "
                f"levels: {error}"
            ) from error

    def sample(self, seeds, temperature: float, labels=None) -> np.ndarray:
        """Returns samples, uint8 [B, H, W, C]."""
        temperatures = np.full(len(seeds), temperature, np.float32)
        return self._images("sample", labels, seed=np.int64(seeds), temperature=temperatures)

    def interpolate(self, first, second, points) -> np.ndarray:
        """Returns images uint8 [P, H, W, C] on the line between two; `points` are from 0 to 1."""
        n = len(points)
        # A row per point, not one row of points, so that a long line is many short calls.
        inputs = dict(first=np.stack([first] * n), second=np.stack([second] * n))
        return self._images("interpolate", None, 1, **inputs, points=_column(points))[:, 0]

    def manipulate(self, image, direction, alphas) -> np.ndarray:
        """Returns images uint8 [A, H, W, C], `alphas` times a direction [M] from the image."""
        n = len(alphas)
        inputs = dict(images=np.stack([image] * n), direction=np.tile(np.float32(direction), (n, 1)))
        return self._images("manipulate", None, 1, **inputs, alphas=_column(alphas))[:, 0]

    def bits_per_dim(self, images, labels=None) -> np.ndarray:
        """Returns bits per dimension, float32 [B]."""
        outputs = dict(bits_per_dim=Output("float32", (len(images),)))
        return self._predict("bits_per_dim", labels, outputs, images=images)["bits_per_dim"]

    def encode(self, images, labels=None) -> list[np.ndarray]:
        """Returns the latents by level, float32 [B, h, w, c] each, given the labels."""
        outputs = {
            f"level_{i}": Output("float32", (len(images), *shape))
            for i, shape in enumerate(self.level_shapes)
        }
        return list(self._predict("encode", labels, outputs, images=images).values())

    def encode_without_label(self, images) -> np.ndarray:
        """Returns the latents, float32 [B, M], in which `manipulate` adds its direction."""
        # Any label does: what depends on it is taken out again.
        name = "latents_without_label" if self.n_y else "latents"
        outputs = {name: Output("float32", (len(images), images[0].size))}
        return self._predict("encode", np.zeros(len(images), np.int32), outputs, images=images)[name]

    def decode(self, levels, labels=None) -> np.ndarray:
        """Returns the images, uint8 [B, H, W, C], of what `encode` returns."""
        flat = np.concatenate([level.reshape(len(level), -1) for level in levels], 1)
        return self._images("decode", labels, latents=np.float32(flat))

    def likeliest_label(self, image) -> int | None:
        """Returns the label that gives an image the fewest bits; None where there are no labels."""
        if not self.n_y:
            return None
        labels = np.arange(self.n_y)
        return int(self.bits_per_dim(np.stack([image] * self.n_y), labels).argmin())

    def _images(self, signature, labels, *lines, **inputs):
        n = len(next(iter(inputs.values())))
        outputs = dict(images=Output("uint8", (n, *lines, *self.image_shape)))
        return self._predict(signature, labels, outputs, **inputs)["images"]

    def _predict(self, signature, labels, outputs, **inputs):
        if self.n_y and labels is not None:
            inputs["labels"] = np.asarray(labels, np.int32)
        return self._server.predict(signature, inputs, outputs)


def _column(values):
    return np.float32(values)[:, None]
