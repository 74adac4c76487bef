"""OpenVINO: `pip install openvino==2026.4.1 tensorflow==2.21.0`."""

import openvino
import tensorflow as tf


def load(path, signature):
    """Returns a function of a dict of arrays, which answers as a signature of the export in `path` does."""
    loaded = tf.saved_model.load(str(path))  # Its variables live as long as it does.
    function = loaded.signatures[signature]
    model = openvino.convert_model(function)
    # Else it computes in bfloat16 where the processor can.
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = sorted(function.structured_outputs)
    return lambda inputs: dict(zip(names, compiled(inputs).values(), strict=True))
