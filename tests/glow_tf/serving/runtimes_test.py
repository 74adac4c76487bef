"""Other runtimes answer as TensorFlow does: each in a new environment, with what PyPI and npm have."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import glow_tf
from glow_tf.serving import lite
from tests.support import serving_cases
from tests.support.documents import DOCS, ROOT

SCRIPTS = sorted(path.name for path in (DOCS / "runtimes").glob("*.py"))


class Export:
    """An export, requests to it as files, and TensorFlow's answers."""

    def __init__(self, folder):
        """Of a model with labels; `folder` gets the export and the requests."""
        model = serving_cases.make_model("labels")
        self.n_bits = model.config.n_bits_x
        self.path = glow_tf.serving.export(model, folder / "served", tflite=True)
        self.requests, self.answers = folder / "requests", {}
        self.requests.mkdir()
        signatures = tf.saved_model.load(str(self.path)).signatures
        for name, request in serving_cases.make_requests(model.config).items():
            if name in lite.SIGNATURES:
                np.savez(self.requests / f"{name}.npz", **request)
                answer = signatures[name](**{key: tf.constant(value) for key, value in request.items()})
                self.answers[name] = {key: value.numpy() for key, value in answer.items()}

    def require_equal(self, name, answer):
        """Bits per dimension within 1e-5, images equal but for 0.1% of pixels by one level."""
        serving_cases.assert_close(answer, self.answers[name], self.n_bits)
        if "bits_per_dim" in answer:
            bits = self.answers[name]["bits_per_dim"]
            np.testing.assert_allclose(answer["bits_per_dim"], bits, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """One export for all runtimes."""
    return Export(tmp_path_factory.mktemp("export"))


def environment(folder, packages):
    """Returns the folder of programs of a new virtual environment with packages of PyPI."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], check=True)
    return folder / "bin"


def installed_by(script, command) -> list[str]:
    """Returns what the first line of a script tells to install."""
    return re.search(rf"`{command} install ([^`]+)`", script.read_text())[1].split()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_runtime(export, tmp_path, script):
    script = DOCS / "runtimes" / script
    python = environment(tmp_path / "venv", installed_by(script, "pip")) / "python"
    answers = tmp_path / "answers"
    answers.mkdir()
    ask = ROOT / "tests" / "support" / "ask_runtime.py"
    subprocess.run([python, ask, script, export.path, export.requests, answers], check=True, cwd=tmp_path)
    for name in lite.SIGNATURES:
        export.require_equal(name, dict(np.load(answers / f"{name}.npz")))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm isn't installed")
def test_tfjs(export, tmp_path):
    script = DOCS / "runtimes" / "with_tfjs.mjs"
    bin_ = environment(tmp_path / "venv", installed_by(script, "pip"))
    subprocess.run(["npm", "install", "--silent", *installed_by(script, "npm")], check=True, cwd=tmp_path)
    shutil.copy(script, tmp_path)
    shutil.copy(ROOT / "tests" / "support" / "ask_tfjs.mjs", tmp_path)
    for name in lite.SIGNATURES:
        convert = [
            bin_ / "tensorflowjs_converter",
            "--input_format=tf_saved_model",
            "--saved_model_tags=serve",
        ]
        convert += [f"--signature_name={name}", export.path, tmp_path / name]
        subprocess.run(convert, check=True, cwd=tmp_path)
        arrays = np.load(export.requests / f"{name}.npz")
        kinds = {"uint8": "int32"}
        request = {
            key: dict(
                dtype=kinds.get(value.dtype.name, value.dtype.name),
                shape=value.shape,
                values=value.ravel().tolist(),
            )
            for key, value in arrays.items()
        }
        request = dict(inputs=request, outputs=sorted(export.answers[name]))
        (tmp_path / "request.json").write_text(json.dumps(request))
        subprocess.run(
            ["node", "ask_tfjs.mjs", tmp_path / name, "request.json", "answer.json"], check=True, cwd=tmp_path
        )
        answer = json.loads((tmp_path / "answer.json").read_text())
        wanted = export.answers[name]
        answer = {
            key: np.array(value["values"], wanted[key].dtype).reshape(value["shape"])
            for key, value in answer.items()
        }
        export.require_equal(name, answer)
