"""Runs the signatures of a SavedModel in a process that can't import glow_tf.

    python run_without_glow_tf.py LOADER SAVED_MODEL REQUESTS OUTPUTS

LOADER is a name in `LOADERS`; REQUESTS is a folder of npz files, one per signature, and OUTPUTS becomes one.
"""

import importlib.util
import pathlib
import sys
import tempfile

import numpy as np

# The command loads the model anew for each signature: one of numbers, one of files, one that draws.
BY_CLI = {"bits_per_dim", "bits_per_dim_encoded", "sample"}


def python(path, requests):
    """tf.saved_model.load."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    for name, inputs in requests.items():
        tensors = {key: tf.convert_to_tensor(value) for key, value in inputs.items()}
        answer = model.signatures[name](**tensors)
        yield name, {key: value.numpy() for key, value in answer.items()}


def cli(path, requests):
    """The command `saved_model_cli run`, which reads files of inputs and writes one per output."""
    from tensorflow.python.tools import saved_model_cli

    for name in BY_CLI:
        with tempfile.TemporaryDirectory() as folder:
            file, outputs = pathlib.Path(folder, "inputs.npz"), pathlib.Path(folder, "outputs")
            np.savez(file, **requests[name])
            sys.argv = ["saved_model_cli", "run", "--dir", str(path), "--tag_set", "serve"]
            sys.argv += ["--signature_def", name, "--outdir", str(outputs)]
            sys.argv += ["--inputs", ";".join(f"{key}={file}[{key}]" for key in requests[name])]
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


def main(loader, saved_model, requests_folder, outputs_folder):
    """Runs all."""
    sys.modules["glow_tf"] = None  # An import of it fails from here on.
    requests = {file.stem: dict(np.load(file, allow_pickle=True)) for file in requests_folder.iterdir()}
    outputs_folder.mkdir()
    for signature, arrays in LOADERS[loader](saved_model, requests):
        np.savez(outputs_folder / f"{signature}.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1], *map(pathlib.Path, sys.argv[2:]))
