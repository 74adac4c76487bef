"""Runs every signature of a SavedModel in a process that can't import glow_tf.

    python run_without_glow_tf.py LOADER SAVED_MODEL REQUESTS OUTPUTS

REQUESTS and OUTPUTS are folders of npz files, one a signature; a LOADER is a key of LOADERS.
"""

import importlib.util
import pathlib
import sys

import numpy as np

sys.modules["glow_tf"] = None  # An import of it fails from here on.


def python(path, requests):
    """tf.saved_model.load."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    for name, inputs in requests.items():
        tensors = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
        answer = model.signatures[name](**tensors)
        yield name, {key: value.numpy() for key, value in answer.items()}


def cli(path, requests):
    """The command `saved_model_cli run`, which writes a file an output."""
    from tensorflow.python.tools import saved_model_cli

    arguments = sys.argv
    for name, inputs in requests.items():
        outputs = pathlib.Path(arguments[4]) / f"{name}_files"
        file = pathlib.Path(arguments[3]) / f"{name}.npz"
        sys.argv = ["saved_model_cli", "run", "--dir", str(path), "--tag_set", "serve"]
        sys.argv += ["--signature_def", name, "--outdir", str(outputs)]
        sys.argv += ["--inputs", ";".join(f"{key}={file}[{key}]" for key in inputs)]
        try:
            saved_model_cli.main()
        except SystemExit as end:
            assert not end.code, end.code
        yield name, {file.stem: np.load(file, allow_pickle=True) for file in outputs.iterdir()}


def cpp(path, requests):
    """The C++ runtime, as TensorFlow Serving."""
    location = pathlib.Path(__file__).with_name("cpp_saved_model.py")
    spec = importlib.util.spec_from_file_location("cpp_saved_model", location)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.CppSavedModel(path)
    for name, inputs in requests.items():
        yield name, model.run(name, inputs)


LOADERS = dict(python=python, cli=cli, cpp=cpp)

if __name__ == "__main__":
    _, loader, saved_model, requests_folder, outputs_folder = sys.argv
    all_requests = {
        file.stem: dict(np.load(file, allow_pickle=True)) for file in pathlib.Path(requests_folder).iterdir()
    }
    for signature, arrays in LOADERS[loader](pathlib.Path(saved_model), all_requests):
        np.savez(pathlib.Path(outputs_folder) / f"{signature}.npz", **arrays)
