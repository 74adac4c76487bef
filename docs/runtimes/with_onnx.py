"""ONNX Runtime: `pip install onnxruntime`, and to convert the model `pip install tensorflow tf2onnx`."""

import subprocess
import sys
import tempfile

import onnxruntime


def convert(path, signature, file):
    """Writes a signature of the export in `path` as an ONNX file."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", path, "--tag", "serve"]
    subprocess.run([*command, "--signature_def", signature, "--opset", "17", "--output", file], check=True)


def load(path, signature):
    """Returns a function of a dict of arrays, which answers as a signature of the export in `path` does."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        convert(str(path), signature, file.name)
        session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))
