"""glow.tflite: its signatures answer as the SavedModel's do."""

import numpy as np
import pytest
import tensorflow as tf

import glow_tf
from glow_tf.serving import lite
from tests.support import serving_cases


class Exported:
    """A model's export with its .tflite file, both loaded."""

    def __init__(self, name, directory):
        """Of the model that `serving_cases` names so; `directory` gets the export."""
        self.model = serving_cases.make_model(name)
        path = glow_tf.serving.export(self.model, directory, tflite=True)
        self.file = path / lite.FILE
        self.saved_model = tf.saved_model.load(str(path))
        self.interpreter = tf.lite.Interpreter(str(self.file))
        requests = serving_cases.make_requests(self.model.config)
        self.requests = {key: requests[key] for key in lite.SIGNATURES}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("no_labels", "vector", "image")]


@pytest.fixture(scope="module", params=["labels", *SLOW])
def exported(request, tmp_path_factory):
    """A model with labels; also one without, additive, and those with a context, where there is time."""
    return Exported(request.param, tmp_path_factory.mktemp("lite"))


def test_signatures(exported):
    assert set(exported.interpreter.get_signature_list()) == set(lite.SIGNATURES)
    for name, request in exported.requests.items():
        assert set(exported.interpreter.get_signature_list()[name]["inputs"]) == set(request)


def test_answers_are_the_saved_models(exported):
    n_bits = exported.model.config.n_bits_x
    for name, request in exported.requests.items():
        runner = exported.interpreter.get_signature_runner(name)
        for rows in (1, serving_cases.N):  # And so in any order of batch sizes.
            given = {key: value[:rows] for key, value in request.items()}
            wanted = exported.saved_model.signatures[name](**{k: tf.constant(v) for k, v in given.items()})
            answer, wanted = runner(**given), {key: value.numpy() for key, value in wanted.items()}
            serving_cases.assert_close(answer, wanted, n_bits)
            if "bits_per_dim" in wanted:
                np.testing.assert_allclose(answer["bits_per_dim"], wanted["bits_per_dim"], rtol=0, atol=1e-5)


def test_weights_are_there_once(exported):
    """Five signatures share the two bodies' weights."""
    variables = sum(file.stat().st_size for file in (exported.file.parent / "variables").iterdir())
    assert exported.file.stat().st_size < variables + 400_000  # The graphs take 300 kB.


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-5), ("mixed_bfloat16", 2e-3)])
def test_other_arithmetic_is_float32_there(monkeypatch, tmp_path, dtype, tolerance):
    monkeypatch.setitem(serving_cases.CONFIGS, dtype, dict(n_channels=1, n_levels=1, depth=1, dtype=dtype))
    exported = Exported(dtype, tmp_path)
    images = exported.requests["bits_per_dim"]
    bits = exported.interpreter.get_signature_runner("bits_per_dim")(**images)["bits_per_dim"]
    wanted = serving_cases.expected(exported.model, "bits_per_dim", images)["bits_per_dim"]
    np.testing.assert_allclose(bits, wanted, rtol=0, atol=tolerance)
    assert not list(tmp_path.glob(".*")), "what it was made of is gone"
