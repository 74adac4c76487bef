"""A model that is in this process."""

import os
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf

from experiments.cli import UsageError
from experiments.served.outputs import BadAnswer
from experiments.served.server import Server, ServerError, require_name

# A call can't be stopped half-way, so the time limit is looked at between calls of this many images.
IMAGES_PER_CALL = 16


class InProcess(Server):
    """A SavedModel in this process, called like a function."""

    def __init__(self, path, time_limit: float):
        """Loads it; raises a UsageError if there is none.

        Args:
            path: of a version's folder.
            time_limit: float, seconds that one request may take.
        """
        try:
            # By another name: TensorFlow takes [, ] and \ in a path for a pattern when it reads variables.
            with tempfile.TemporaryDirectory() as folder:
                link = pathlib.Path(folder) / "model"
                os.symlink(pathlib.Path(path).resolve(), link)
                self._model = tf.saved_model.load(str(link))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UsageError(f"Can't load a SavedModel from {path}: {error}") from error
        self._time_limit = time_limit

    def predict(self, signature, inputs, outputs):
        """See `Server.predict`."""
        if signature not in self._model.signatures:
            raise ServerError(f"The export has no signature {signature}.")
        function = self._model.signatures[signature]
        deadline = time.monotonic() + self._time_limit
        n = len(next(iter(inputs.values())))
        answers = []
        # A row depends on its own inputs alone, so the parts are what the whole would be.
        for start in range(0, n, IMAGES_PER_CALL):
            if time.monotonic() > deadline:
                raise ServerError(f"This took longer than {self._time_limit:g} seconds; ask for less.")
            part = {key: tf.constant(value[start : start + IMAGES_PER_CALL]) for key, value in inputs.items()}
            try:
                answers.append(function(**part))
            except tf.errors.InvalidArgumentError as error:
                raise ServerError(error.message) from error
            except TypeError as error:
                raise ServerError(f"The export's {signature} isn't this package's: {error}") from error
        try:
            return {
                key: output.of_array(key, np.concatenate([require_name(key, answer) for answer in answers]))
                for key, output in outputs.items()
            }
        except (BadAnswer, ValueError) as error:
            raise ServerError(f"The export's answer to {signature} is wrong: {error}.") from error

    def input_shape(self, name):
        """See `Server.input_shape`."""
        try:
            _, inputs = self._model.signatures["bits_per_dim"].structured_input_signature
            return tuple(inputs[name].shape[1:])
        except (KeyError, ValueError):  # ValueError: of a shape that isn't known.
            return None
