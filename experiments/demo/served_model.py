"""The model that the page plays with, known by its signatures alone: in this process, or on a server."""

import time

import numpy as np
import tensorflow as tf

from experiments.hyperparameters import UsageError
from experiments.serving_protocols import ServerError

# A call can't be stopped half-way, so the time limit is looked at between calls of this many images.
IMAGES_A_CALL = 16


class InProcess:
    """A SavedModel in this process, with the interface of `serving_protocols.Server`."""

    def __init__(self, path, time_limit: float):
        """Loads it; raises a UsageError if there is none.

        Args:
            path: of a version's folder.
            time_limit: float, seconds that one request may take.
        """
        try:
            self._model = tf.saved_model.load(str(path))
        except (OSError, tf.errors.OpError) as error:
            raise UsageError(f"Can't load a SavedModel from {path}: {error}") from error
        self._time_limit = time_limit

    def predict(self, signature, inputs):
        """See `serving_protocols.Server.predict`."""
        function = self._model.signatures[signature]
        deadline = time.monotonic() + self._time_limit
        n = len(next(iter(inputs.values())))
        answers = []
        # A row depends on its own inputs alone, so the parts are what the whole would be.
        for start in range(0, n, IMAGES_A_CALL):
            if time.monotonic() > deadline:
                raise ServerError(f"This took longer than {self._time_limit:g} seconds; ask for less.")
            part = {key: tf.constant(value[start : start + IMAGES_A_CALL]) for key, value in inputs.items()}
            try:
                answers.append({key: value.numpy() for key, value in function(**part).items()})
            except tf.errors.InvalidArgumentError as error:
                raise ServerError(error.message) from error
        return {key: np.concatenate([answer[key] for answer in answers]) for key in answers[0]}


class ServedModel:
    """What the page asks of a model.

    Attributes:
        image_shape: (height, width, n_channels).
        n_y: int, the number of labels; 0 where the model isn't conditioned on them.
        level_shapes: list of (h, w, c), of the latents; the level that is split off first comes first.
    """

    def __init__(self, server, hps: dict):
        """Asks once for the latents of a black image, which tells the levels.

        Args:
            server: with `predict`, see `serving_protocols.Server`.
            hps: resolved hyperparameters of the model; image_size, n_channels, ycond and n_y are read.

        Raises:
            UsageError: if there is no answer, or these aren't the model's hyperparameters.
        """
        self._server = server
        self.image_shape = (hps["image_size"], hps["image_size"], hps["n_channels"])
        self.n_y = hps["n_y"] if hps["ycond"] else 0
        black = np.zeros((1, *self.image_shape), np.uint8)
        try:
            answer = self._predict("encode", np.zeros(1, np.int32), images=black)
        except ServerError as error:
            raise UsageError(
                f"The model doesn't take images of problem {hps['problem']!r}, {list(self.image_shape)}, "
                f"with {self.n_y or 'no'} labels: {error}"
            ) from error
        n_levels = sum(name.startswith("level_") for name in answer)
        self.level_shapes = [answer[f"level_{i}"].shape[1:] for i in range(n_levels)]

    def sample(self, seeds, temperature: float, labels=None) -> np.ndarray:
        """Returns samples, uint8 [B, H, W, C]."""
        temperatures = np.full(len(seeds), temperature, np.float32)
        return self._predict("sample", labels, seed=np.int64(seeds), temperature=temperatures)["images"]

    def interpolate(self, first, second, points) -> np.ndarray:
        """Returns images uint8 [P, H, W, C] on the line between two; `points` are from 0 to 1."""
        n = len(points)
        # A row a point, not one row of points, so that a long line is many short calls.
        inputs = dict(first=np.stack([first] * n), second=np.stack([second] * n))
        return self._predict("interpolate", None, **inputs, points=_column(points))["images"][:, 0]

    def manipulate(self, image, direction, alphas) -> np.ndarray:
        """Returns images uint8 [A, H, W, C], `alphas` times a direction [M] from the image."""
        n = len(alphas)
        inputs = dict(images=np.stack([image] * n), direction=np.tile(np.float32(direction), (n, 1)))
        return self._predict("manipulate", None, **inputs, alphas=_column(alphas))["images"][:, 0]

    def bits_per_dim(self, images, labels=None) -> np.ndarray:
        """Returns bits per dimension, float32 [B]."""
        return self._predict("bits_per_dim", labels, images=images)["bits_per_dim"]

    def encode(self, images, labels=None) -> list[np.ndarray]:
        """Returns the latents by level, float32 [B, h, w, c] each, given the labels."""
        answer = self._predict("encode", labels, images=images)
        return [answer[f"level_{i}"] for i in range(len(self.level_shapes))]

    def encode_without_label(self, images) -> np.ndarray:
        """Returns the latents, float32 [B, M], in which `manipulate` adds its direction."""
        # Any label does: what depends on it is taken out again.
        answer = self._predict("encode", np.zeros(len(images), np.int32), images=images)
        return answer.get("latents_without_label", answer["latents"])

    def decode(self, levels, labels=None) -> np.ndarray:
        """Returns the images, uint8 [B, H, W, C], of what `encode` returns."""
        flat = np.concatenate([level.reshape(len(level), -1) for level in levels], 1)
        return self._predict("decode", labels, latents=np.float32(flat))["images"]

    def likeliest_label(self, image) -> int | None:
        """Returns the label that gives an image the fewest bits; None where there are no labels."""
        if not self.n_y:
            return None
        labels = np.arange(self.n_y)
        return int(self.bits_per_dim(np.stack([image] * self.n_y), labels).argmin())

    def _predict(self, signature, labels, **inputs):
        if self.n_y and labels is not None:
            inputs["labels"] = np.asarray(labels, np.int32)
        return self._server.predict(signature, inputs)


def _column(values):
    return np.float32(values)[:, None]
