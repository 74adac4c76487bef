"""LiteRT (TensorFlow Lite): `pip install ai-edge-litert==2.3.0`."""

import pathlib

from ai_edge_litert.interpreter import Interpreter


def load(path, signature):
    """Returns a function of a dict of arrays, which answers as a signature of the export in `path` does."""
    interpreter = Interpreter(str(pathlib.Path(path, "glow.tflite")))
    runner = interpreter.get_signature_runner(signature)
    return lambda inputs: runner(**inputs)
