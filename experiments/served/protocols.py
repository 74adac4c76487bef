"""TensorFlow Serving's two protocols, gRPC and REST: signature and arrays in, arrays out."""

import abc
import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
from google.protobuf import json_format

from experiments.cli import UsageError
from experiments.served.outputs import BadAnswer, Output, shortened

MOST_BYTES = 2**30  # Of an answer.
_MOST_SECONDS = 86400
_CHUNK = 2**20


class ServerError(Exception):
    """The server can't be reached, refused the request, or gave an answer that isn't one; it says which."""


class Server(abc.ABC):
    """A model on a server."""

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

    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int] | None:
        """Returns (height, width, n_channels) of the model's images; None if the server doesn't tell.

        Raises:
            ServerError: if there is no answer.
        """


class GrpcServer(Server):
    """The gRPC API, by tensorflow-serving-api's stubs."""

    def predict(self, signature, inputs, outputs):
        """See `Server.predict`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self._call("Predict", request).outputs
        try:
            for name in outputs:
                _require_name(name, answer)
            return {name: output.of_proto(name, answer[name]) for name, output in outputs.items()}
        except BadAnswer as error:
            raise ServerError(f"{self._address}: the answer to {signature} is wrong: {error}.") from error

    def image_shape(self):
        """See `Server.image_shape`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        try:
            response = self._call("GetModelMetadata", request)
        except ServerError as error:
            if error.__cause__.code() == grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return _image_shape(json_format.MessageToDict(signatures, preserving_proto_field_name=True))

    def _call(self, method, request):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        # gRPC's own limit, 4 MB, is 21 images of 256x256x3.
        options = [("grpc.max_receive_message_length", MOST_BYTES), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                return getattr(stub, method)(request, self._timeout)
            except grpc.RpcError as error:
                details = shortened(error.details() or "")
                raise ServerError(f"{self._address}: {error.code().name}: {details}") from error


class RestServer(Server):
    """The REST API, in its columnar form."""

    def predict(self, signature, inputs, outputs):
        """See `Server.predict`."""
        columns = {name: [_to_json(row) for row in value] for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        url = f"{self._url()}:predict"
        answer = _json(url, _fetch(url, body, self._timeout))
        try:
            answer = _require_name("outputs", answer)
            # A single output comes without its name.
            if not isinstance(answer, dict) and len(outputs) == 1:
                answer = dict.fromkeys(outputs, answer)
            return {
                name: output.of_json(name, _require_name(name, answer)) for name, output in outputs.items()
            }
        except BadAnswer as error:
            raise ServerError(f"{url}: the answer to {signature} is wrong: {error}.") from error

    def image_shape(self):
        """See `Server.image_shape`."""
        url = f"{self._url()}/metadata"
        try:
            metadata = _json(url, _fetch(url, None, self._timeout))
        except ServerError as error:
            if isinstance(error.__cause__, urllib.error.HTTPError):
                return None  # Not TensorFlow Serving; what is wrong with the model, `predict` tells.
            raise
        try:
            return _image_shape(metadata["metadata"]["signature_def"])
        except (KeyError, TypeError):
            return None

    def _url(self):
        return f"{self._address.rstrip('/')}/v1/models/{urllib.parse.quote(self._model, safe='')}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Pictures go where the user said, and nowhere else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Returns None: a redirection is an error."""
        del req, fp, code, msg, headers, newurl


def _fetch(url, body, timeout) -> bytes:
    """Returns the body of an answer; raises a ServerError if there is none, or it is an error."""
    deadline = time.monotonic() + timeout
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        try:
            with opener.open(urllib.request.Request(url, body), timeout=timeout) as answer:
                return _read(answer, deadline)
        except urllib.error.HTTPError as error:
            with error:
                said = _error_text(_read(error, deadline))
            if 300 <= error.code < 400:
                said = f"it redirects to {error.headers.get('Location')!r}; give that address if you trust it"
            raise ServerError(f"{url}: {error.code}: {shortened(said)}") from error
    # No connection, no HTTP, no address that one can connect to.
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise ServerError(f"{shortened(url)}: {shortened(str(error)) or type(error).__name__}") from error


def _read(answer, deadline):
    """Returns all of a body that is whole, neither too large nor too slow."""
    length = answer.length  # As it says; None if it ends when it ends.
    parts, size = [], 0
    while length is None or size < length:
        # What has come, not a whole chunk: byte by byte it could take for ever.
        part = answer.read1(_CHUNK if length is None else min(_CHUNK, length - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise OSError(f"the answer is larger than {MOST_BYTES} bytes, the most that is taken")
        if time.monotonic() > deadline:
            raise OSError("the answer took too long")
    if length is not None and size < length:
        raise OSError(f"the answer is cut: {length - size} of its {length} bytes are missing")
    return b"".join(parts)


def _json(url, data):
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        said = shortened(data[:1000].decode(errors="replace"), 100)
        raise ServerError(f"{url}: the answer isn't JSON ({shortened(str(error))}): {said!r}") from error


def _error_text(data):
    """Returns what an error says: TensorFlow Serving's are {"error": TEXT}."""
    text = data.decode(errors="replace")
    try:
        said = json.loads(text)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return text
    return said if isinstance(said, str) else text


def _require_name(name, answer):
    """Returns what an answer has of a name; raises a BadAnswer if it hasn't."""
    if isinstance(answer, (str, bytes, list)) or not hasattr(answer, "__contains__"):
        raise BadAnswer(f"it must have {name}, and is of type {type(answer).__name__}")
    if name not in answer:
        there = shortened(", ".join(map(str, answer)), 200)
        raise BadAnswer(f"it must have {name}, and has {there or 'nothing'}")
    return answer[name]


def _image_shape(signatures: dict):
    """Returns the shape of the images that the signature bits_per_dim takes, of a SignatureDefMap as JSON."""
    try:
        images = signatures["signature_def"]["bits_per_dim"]["inputs"]["images"]
        _, *shape = (int(dim["size"]) for dim in images["tensor_shape"]["dim"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return tuple(shape) if len(shape) == 3 and min(shape) > 0 else None


def _to_json(row):
    return {"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row.tolist()


def connect(address: str, model: str, timeout: float) -> Server:
    """Returns the model on a server, by REST for an address http://... or https://..., else by gRPC.

    Raises:
        UsageError: for a timeout that is none; for gRPC, if tensorflow-serving-api isn't installed.
    """
    if not 0 < timeout <= _MOST_SECONDS:  # As a NaN isn't, either.
        raise UsageError(f"Seconds to wait must be more than 0, at most {_MOST_SECONDS}, got {timeout}.")
    if address.startswith(("http://", "https://")):
        return RestServer(address, model, timeout)
    try:
        import tensorflow_serving.apis.predict_pb2  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--server {address} is gRPC, which needs `pip install tensorflow-serving-api`. The REST API, "
            "http://host:port, doesn't."
        ) from error
    return GrpcServer(address, model, timeout)
