"""A server of one exported model, with the protocols of TensorFlow Serving.

Where `tensorflow_model_server` is on PATH it is the real one; otherwise a stand-in on loopback: gRPC's
PredictionService by the generated stubs, and the REST API's predict, both over the C++ runtime's session.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tests.support.cpp_saved_model import CppError, CppSavedModel

MODEL = "glow"


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):  # noqa: N802, D102
        name = request.model_spec.signature_name or "serving_default"
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            outputs = self._model.run(name, inputs)
        except CppError as error:
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[error.code], error.message)
        except KeyError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802, D102
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.metadata["signature_def"].Pack(_signature_map(self._model))
        return response


def _signature_map(model):
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.signatures.items():
        signatures.signature_def[name].CopyFrom(definition)
    return signatures


def _rest_handler(model):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            assert self.path == f"/v1/models/{MODEL}/metadata", self.path
            signatures = json_format.MessageToDict(_signature_map(model), preserving_proto_field_name=True)
            self._answer(200, {"metadata": {"signature_def": signatures}})

        def do_POST(self):  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = 200, None
            try:
                assert self.path == f"/v1/models/{MODEL}:predict", self.path
                answer = {"outputs": self._predict(body)}
            except CppError as error:
                status, answer = 400, {"error": error.message}
            self._answer(status, answer)

        def _answer(self, status, answer):
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(data)

        def _predict(self, body):
            name = body.get("signature_name", "serving_default")
            definition = model.signatures[name]
            inputs = {
                key: np.array(
                    _without_base64(value), tf.as_dtype(definition.inputs[key].dtype).as_numpy_dtype
                )
                for key, value in body["inputs"].items()
            }
            outputs = {key: _as_json(key, value) for key, value in model.run(name, inputs).items()}
            return next(iter(outputs.values())) if len(outputs) == 1 else outputs

        def log_message(self, *arguments):
            pass

    return Handler


def _without_base64(value):
    if isinstance(value, list):
        return [_without_base64(v) for v in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _as_json(name, array):
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in array]
    return array.tolist()


@contextlib.contextmanager
def stand_in(directory: pathlib.Path):
    """Serves the last version in a directory; yields the addresses of gRPC and of REST."""
    version = max(int(path.name) for path in directory.iterdir() if path.name.isdecimal())
    model = CppSavedModel(directory / str(version))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _rest_handler(model))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{port}", f"http://127.0.0.1:{rest.server_port}"
    rest.shutdown()
    rest.server_close()
    server.stop(None).wait()


@contextlib.contextmanager
def tensorflow_model_server(directory: pathlib.Path):
    """The same by TensorFlow Serving itself."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    command = ["tensorflow_model_server", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    command += [f"--model_name={MODEL}", f"--model_base_path={directory.resolve()}"]
    process = subprocess.Popen(command)
    try:
        _wait(process, f"http://127.0.0.1:{ports[1]}/v1/models/{MODEL}")
        yield f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    finally:
        process.terminate()
        process.wait()


def _wait(process, url):
    for _ in range(120):
        assert process.poll() is None, "tensorflow_model_server stopped"
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url) as answer:
            if b'"AVAILABLE"' in answer.read():
                return
        time.sleep(0.5)
    raise AssertionError(f"{url} did not become available in a minute")
