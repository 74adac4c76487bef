"""Requests that TensorFlow Serving replays when it loads a model, so that no user waits for the first."""

import importlib.util
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from glow_tf.serving.signatures import Signatures

FILE = "assets.extra/tf_serving_warmup_requests"
PACKAGE = "tensorflow_serving"


def example(signatures: Signatures, name: str) -> dict[str, np.ndarray]:
    """Returns a valid request of one row for a signature, arrays by input; the any-length axes have 2."""
    arrays = {}
    for key, spec in signatures.inputs(name).items():
        shape = [1 if axis == 0 else size or 2 for axis, size in enumerate(spec.shape.as_list())]
        if key == "image_bytes":
            picture = np.zeros(signatures.image_shape, np.uint8)
            arrays[key] = np.array([tf.io.encode_png(picture).numpy()], object)
        else:
            arrays[key] = np.zeros(shape, spec.dtype.as_numpy_dtype)
    return arrays


def write(signatures: Signatures, directory: pathlib.Path, model_name: str) -> None:
    """Writes one request per signature into a SavedModel's directory.

    Warns, and writes nothing, where the package tensorflow-serving-api isn't installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        warnings.warn(
            f"No warm-up requests ({FILE}) were written: they need `pip install tensorflow-serving-api`. "
            "The model is served without them too.",
            stacklevel=3,
        )
        return
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = directory / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name in signatures.names:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = name
            for key, value in example(signatures, name).items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
