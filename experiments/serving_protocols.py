"""TensorFlow Serving's two protocols, gRPC and REST: signature and arrays in, arrays out."""

import abc
import base64
import http.client
import json
import urllib.error
import urllib.request

import numpy as np
from google.protobuf import json_format

from experiments.hyperparameters import UsageError


class ServerError(Exception):
    """The server can't be reached, or refused the request; the message is the server's own."""


class Server(abc.ABC):
    """A model on a server."""

    def __init__(self, address: str, model: str, timeout: float):
        """Makes it; nothing is sent.

        Args:
            address: of the server.
            model: its name there; the server chooses the version, the newest.
            timeout: seconds to wait for an answer.
        """
        self._address = address
        self._model = model
        self._timeout = timeout

    @abc.abstractmethod
    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: dict of arrays; of bytes where they are strings.

        Raises:
            ServerError: if there is no answer, or it is an error.
        """

    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int] | None:
        """Returns (height, width, n_channels) of the model's images; None if the server doesn't tell.

        Raises:
            ServerError: if there is no answer.
        """


class GrpcServer(Server):
    """The gRPC API, by tensorflow-serving-api's stubs."""

    def predict(self, signature, inputs):
        """See `Server.predict`."""
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        # gRPC's own limit, 4 MB, is 21 images of 256x256x3.
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                response = stub.Predict(request, self._timeout)
            except grpc.RpcError as error:
                raise ServerError(f"{self._address}: {error.code().name}: {error.details()}") from error
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def image_shape(self):
        """See `Server.image_shape`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2, prediction_service_pb2_grpc

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        with grpc.insecure_channel(self._address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                response = stub.GetModelMetadata(request, self._timeout)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                    return None
                raise ServerError(f"{self._address}: {error.code().name}: {error.details()}") from error
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return _image_shape(json_format.MessageToDict(signatures, preserving_proto_field_name=True))


class RestServer(Server):
    """The REST API, in its columnar form."""

    def predict(self, signature, inputs):
        """See `Server.predict`."""
        columns = {name: [_to_json(row) for row in value] for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        url = f"{self._address.rstrip('/')}/v1/models/{self._model}:predict"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=self._timeout) as answer:
                outputs = json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            raise ServerError(f"{url}: {error.code}: {error.read().decode()}") from error
        except (OSError, ValueError, KeyError) as error:  # No answer, no JSON, no outputs.
            raise ServerError(f"{url}: {error!r}") from error
        # A single output comes without its name.
        only = {"sample_encoded": "image_bytes"}.get(signature, "images")
        outputs = outputs if isinstance(outputs, dict) else {only: outputs}
        return {name: _from_json(value) for name, value in outputs.items()}

    def image_shape(self):
        """See `Server.image_shape`."""
        url = f"{self._address.rstrip('/')}/v1/models/{self._model}/metadata"
        try:
            with urllib.request.urlopen(url, timeout=self._timeout) as answer:
                metadata = json.load(answer)
        except urllib.error.HTTPError:
            return None  # Another kind of server; what is wrong with the model, `predict` tells.
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerError(f"{url}: {error!r}") from error
        try:
            return _image_shape(metadata["metadata"]["signature_def"])
        except (KeyError, TypeError):
            return None


def _image_shape(signatures: dict):
    """Returns the shape of the images that the signature bits_per_dim takes, of a SignatureDefMap as JSON."""
    try:
        images = signatures["signature_def"]["bits_per_dim"]["inputs"]["images"]
        _, *shape = (int(dim["size"]) for dim in images["tensor_shape"]["dim"])
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(shape) if len(shape) == 3 and min(shape) > 0 else None


def _to_json(row):
    return {"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row.tolist()


def _from_json(values):
    if values and isinstance(values[0], dict):
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    array = np.array(values)
    # Images are the only integers that are returned.
    return array.astype(np.uint8 if array.dtype.kind == "i" else np.float32)


def connect(address: str, model: str, timeout: float) -> Server:
    """Returns the model on a server, by REST for an address http://... or https://..., else by gRPC.

    Raises:
        UsageError: for gRPC, if tensorflow-serving-api isn't installed.
    """
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
