"""What every way to ask a model has in common: a signature and arrays in, arrays out."""

import abc

import numpy as np

from experiments.served.outputs import BadAnswer, Output, shortened

MOST_BYTES = 2**30  # Of an answer.


class ServerError(Exception):
    """The server can't be reached, refused the request, or gave an answer that isn't one; it says which."""


class Server(abc.ABC):
    """What answers the signatures of one export."""

    @abc.abstractmethod
    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: dict[str, Output]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: dict of arrays; of bytes where they are strings.
            outputs: what is wanted of its answer, and must be in it; all of them, if there is only one.

        Raises:
            ServerError: if there is no answer, or it is an error, or not `outputs`.
        """

    def image_shape(self) -> tuple[int, int, int] | None:
        """Returns (height, width, n_channels) of the model's images; None if the server doesn't tell.

        Raises:
            ServerError: if there is no answer.
        """
        shape = self.input_shape("images")
        return shape if shape and len(shape) == 3 else None

    @abc.abstractmethod
    def input_shape(self, name: str) -> tuple[int, ...] | None:
        """Returns the shape of a row of an input of bits_per_dim; None if the server doesn't tell.

        Args:
            name: of the input.

        Raises:
            ServerError: if there is no answer.
        """


class RemoteServer(Server):
    """One on another machine, or in another process."""

    def __init__(self, address: str, model: str, timeout: float):
        """Nothing is sent yet.

        Args:
            address: of the server.
            model: its name there; the server chooses the version, the newest.
            timeout: seconds to wait for an answer.
        """
        self._address = address
        self._model = model
        self._timeout = timeout


def require_name(name, answer):
    """Returns what an answer has of a name; raises a BadAnswer if it hasn't."""
    if isinstance(answer, (str, bytes, list)) or not hasattr(answer, "__contains__"):
        raise BadAnswer(f"it must have {name}, and is of type {type(answer).__name__}")
    if name not in answer:
        there = shortened(", ".join(map(str, answer)), 200)
        raise BadAnswer(f"it must have {name}, and has {there or 'nothing'}")
    return answer[name]


def input_shape_of(signatures: dict, name: str):
    """Returns what `Server.input_shape` does, of a SignatureDefMap as JSON."""
    try:
        spec = signatures["signature_def"]["bits_per_dim"]["inputs"][name]
        _, *shape = (int(dim["size"]) for dim in spec["tensor_shape"]["dim"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return tuple(shape) if shape and min(shape) > 0 else None
