"""What a server's answer must be: nothing that comes from elsewhere is converted on trust."""

import base64
import dataclasses

import numpy as np


class BadAnswer(ValueError):
    """An answer isn't what was asked for; the message says what it must be, and what came."""


@dataclasses.dataclass(frozen=True)
class Output:
    """What one output of a signature must be.

    Attributes:
        dtype: "uint8", "float32" or "string", which is bytes.
        shape: ints.
    """

    dtype: str
    shape: tuple[int, ...]

    def __str__(self):
        """For example "uint8 [2, 8, 8, 1]"."""
        return f"{self.dtype} {list(self.shape)}"

    def of_json(self, name: str, value) -> np.ndarray:
        """Returns the array of a JSON value: lists in lists, with {"b64": text} for bytes.

        Args:
            name: of the output, for the message.
            value: what `json.loads` returned.

        Raises:
            BadAnswer: if it has another shape, or values that the dtype hasn't.
        """
        try:
            array = np.array(value, object)
        except ValueError as error:  # Lists of several lengths or depths.
            raise BadAnswer(f"{name} must be {self}, got lists of several lengths") from error
        self._require_shape(name, array.shape)
        if self.dtype == "string":
            texts = [_bytes(name, entry) for entry in array.flat]
            return np.array(texts, object).reshape(self.shape)
        # A bool is an int to Python, and a cut or ragged list an entry to NumPy.
        allowed = {int} if self.dtype == "uint8" else {int, float}
        if wrong := {type(entry) for entry in array.flat} - allowed:
            kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
            raise BadAnswer(f"{name} must be {self}, got entries of type {kinds}")
        if self.dtype == "uint8":
            self._require_bytes(name, array.ravel())
            return array.astype(np.uint8)
        try:
            with np.errstate(over="ignore"):
                return self.of_array(name, array.astype(np.float64).astype(np.float32))
        except OverflowError as error:  # An integer beyond any float.
            raise BadAnswer(f"{name} must be finite") from error

    def of_proto(self, name: str, proto) -> np.ndarray:
        """Returns the array of a TensorProto, with `of_json`'s arguments and errors."""
        import tensorflow as tf

        if proto.dtype != tf.as_dtype(self.dtype).as_datatype_enum:
            raise BadAnswer(f"{name} must be {self}, got dtype {proto.dtype} of TensorFlow's DataType")
        # Before an entry is read: a small message can say that it is huge.
        self._require_shape(name, tuple(dim.size for dim in proto.tensor_shape.dim))
        if self.dtype == "uint8":
            self._require_bytes(name, proto.int_val)
        try:
            array = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise BadAnswer(f"{name} must be {self}, got what isn't that many entries") from error
        return self.of_array(name, array)

    def of_array(self, name: str, array) -> np.ndarray:
        """Returns an array, after a look at all but the values of bytes; errors are `of_json`'s."""
        array = np.asarray(array)
        self._require_shape(name, array.shape)
        if self.dtype == "string":
            if not all(isinstance(entry, bytes) for entry in array.flat):
                raise BadAnswer(f"{name} must be {self}, got entries that aren't bytes")
        elif array.dtype != self.dtype:
            raise BadAnswer(f"{name} must be {self}, got {array.dtype}")
        elif not np.isfinite(array).all():
            raise BadAnswer(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
        return array

    def _require_shape(self, name, shape):
        if tuple(shape) != tuple(self.shape):
            raise BadAnswer(f"{name} must be {self}, got shape {list(shape)}")

    def _require_bytes(self, name, values):
        for value in (min(values, default=0), max(values, default=0)):
            if not 0 <= value <= 255:
                raise BadAnswer(f"{name} must be from 0 to 255, got {shortened(str(value), 40)}")


def shortened(text: str, most: int = 2000) -> str:
    """Returns text of a stranger's in one line that can be printed, cut to `most` characters."""
    text = " ".join(text[: 4 * most].split())
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return text if len(text) <= most else f"{text[:most]}..."


def _bytes(name, entry):
    try:
        if not isinstance(entry, dict) or entry.keys() != {"b64"} or not isinstance(entry["b64"], str):
            raise ValueError(f"it is of type {type(entry).__name__}")
        return base64.b64decode(entry["b64"], validate=True)
    except ValueError as error:
        raise BadAnswer(f'{name} must be bytes, {{"b64": TEXT}} each: {error}') from error
