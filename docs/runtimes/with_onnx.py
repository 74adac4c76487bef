"""ONNX Runtime: `pip install onnxruntime==1.32.0 tf2onnx==1.17.0 tensorflow==2.21.0`."""

import onnxruntime
import tensorflow as tf
import tf2onnx


def convert(path, signature):
    """Returns a signature of the export in `path` as an ONNX model, and the names of its outputs in order."""
    loaded = tf.saved_model.load(str(path))  # Its variables live as long as it does.
    function = loaded.signatures[signature]
    _, specs = function.structured_input_signature
    names = sorted(function.structured_outputs)
    # As a list: in ONNX an output can't have the name of an input, as manipulate's images have.
    in_order = tf.function(lambda inputs: [function(**inputs)[name] for name in names], autograph=False)
    model, _ = tf2onnx.convert.from_function(in_order, [specs], opset=18)
    return model, names


def load(path, signature):
    """Returns a function of a dict of arrays, which answers as a signature of the export in `path` does."""
    model, names = convert(path, signature)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))
