"""The export: what it holds, that it loads without this package, and that it answers as the model does."""

import functools
import importlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import glow_tf
from glow_tf.serving import warm_up
from tests.support import run_without_glow_tf, serving_cases
from tests.support.cpp_saved_model import CppError, CppSavedModel
from tests.support.serving_cases import CONFIGS, N

SIGNATURES = set(serving_cases.make_requests(glow_tf.GlowConfig(image_size=8)))


class Served:
    """A model, its export, and that in the C++ runtime."""

    def __init__(self, name, directory):
        """Of the model that `serving_cases` names so; `directory` gets the export."""
        self.model = serving_cases.make_model(name)
        self.config = self.model.config
        self.path = glow_tf.serving.export(self.model, directory, metadata={"weights": "raw"})
        self.cpp = CppSavedModel(self.path)
        self.requests = serving_cases.make_requests(self.config)

    @functools.cached_property
    def wanted(self) -> dict:
        """What the Python model answers to the requests."""
        return {n: serving_cases.expected(self.model, n, request) for n, request in self.requests.items()}


@pytest.fixture(scope="module")
def served_as(tmp_path_factory):
    """A function: the name of a model -> it, served; made once."""
    return functools.cache(lambda name: Served(name, tmp_path_factory.mktemp("served")))


@pytest.fixture(
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n not in ("labels", "vector"))) for n in CONFIGS]
)
def served(request, served_as):
    """Each model, served."""
    return served_as(request.param)


@pytest.fixture
def with_labels(served_as):
    """The model with labels, served."""
    return served_as("labels")


@pytest.fixture
def no_labels(served_as):
    """The model without labels."""
    return served_as("no_labels").model


def test_answers_are_the_python_models(served):
    for name, request in served.requests.items():
        answer = served.cpp.run(name, request)
        serving_cases.assert_close(answer, served.wanted[name], served.config.n_bits_x)


@pytest.mark.parametrize(
    "loader", ["python", *[pytest.param(name, marks=pytest.mark.slow) for name in ("cpp", "cli")]]
)
def test_loads_without_glow_tf(loader, with_labels, tmp_path):
    requests, outputs = tmp_path / "requests", tmp_path / "outputs"
    requests.mkdir()
    for name, request in with_labels.requests.items():
        np.savez(requests / f"{name}.npz", **request)
    script = pathlib.Path(__file__).parents[2] / "support" / "run_without_glow_tf.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, script, loader, with_labels.path, requests, outputs]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    files = list(outputs.glob("*.npz"))
    expected = run_without_glow_tf.BY_CLI if loader == "cli" else SIGNATURES
    assert {file.stem for file in files} == expected
    for file in files:
        answer = dict(np.load(file, allow_pickle=True))
        serving_cases.assert_close(answer, with_labels.wanted[file.stem], with_labels.config.n_bits_x)


def test_a_row_does_not_depend_on_its_batch(served):
    for name, request in serving_cases.make_requests(served.config, 64).items():
        together = served.cpp.run(name, request)
        rows = range(0, 64, 9)
        alone = [served.cpp.run(name, {k: v[i : i + 1] for k, v in request.items()}) for i in rows]
        wanted = {key: np.concatenate([row[key] for row in alone]) for key in together}
        if "image_bytes" in wanted:
            wanted["images"] = np.stack([tf.io.decode_png(data) for data in wanted.pop("image_bytes")])
        chosen = {key: value[rows] for key, value in together.items()}
        serving_cases.assert_close(chosen, wanted, served.config.n_bits_x)


def test_functions_of_the_root_take_a_dict(with_labels):
    """As a layer of Keras 3 calls them."""
    for name in ("interpolate", "decode"):
        request = with_labels.requests[name]
        answer = tf.keras.layers.TFSMLayer(str(with_labels.path), call_endpoint=name)(request)
        wanted = with_labels.cpp.run(name, request)
        np.testing.assert_array_equal(answer["images"], wanted["images"])
    root = tf.saved_model.load(str(with_labels.path))
    with pytest.raises(tf.errors.InvalidArgumentError, match="latents must be finite"):
        root.decode(request | dict(latents=np.full_like(request["latents"], np.nan)))
    assert not SIGNATURES - set(dir(root))


def test_rows_of_samples_are_their_seeds(with_labels):
    request = dict(seed=np.array([1, 2, 1]), temperature=np.ones(3, np.float32), labels=np.int32([4, 4, 4]))
    a, b, c = with_labels.cpp.run("sample", request)["images"]
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()


def test_a_jpeg_is_taken_too(with_labels):
    (image,) = serving_cases.smooth_images(with_labels.config, 1, np.random.default_rng(0))
    jpeg = tf.io.encode_jpeg(image, quality=95)
    request = dict(image_bytes=np.array([jpeg.numpy()], object), labels=np.int32([0]))
    answer = with_labels.cpp.run("bits_per_dim_encoded", request)
    request = dict(images=tf.io.decode_image(jpeg)[None].numpy(), labels=np.int32([0]))
    np.testing.assert_array_equal(
        answer["bits_per_dim"], with_labels.cpp.run("bits_per_dim", request)["bits_per_dim"]
    )


def test_encode_then_decode_is_the_image(served):
    request = served.requests["encode"]
    given = {key: value for key, value in request.items() if key != "images"}
    latents = served.cpp.run("encode", request)["latents"]
    images = served.cpp.run("decode", dict(latents=latents) | given)["images"]
    bin_size = 2 ** (8 - served.config.n_bits_x)
    np.testing.assert_array_equal(images, request["images"] // bin_size * bin_size)


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (np.full((N, 5), np.nan, np.float32), "context must be finite"),
        (np.zeros((N, 4), np.float32), r"context must be float32 of shape \[batch, 5\], got shape:.*4 4"),
        (np.zeros((N + 1, 5), np.float32), "as many rows"),
    ],
)
def test_bad_contexts_are_told(context, sentence, served_as):
    vector = served_as("vector")
    for name in ("bits_per_dim", "sample", "manipulate"):
        with pytest.raises(CppError, match=sentence):
            vector.cpp.run(name, vector.requests[name] | dict(context=context))


def test_signatures(served):
    assert set(served.cpp.signatures) - {"__saved_model_init_op"} == SIGNATURES
    for name, definition in served.cpp.signatures.items():
        for info in definition.inputs.values():
            assert info.tensor_shape.dim[0].size == -1, name
        assert ("labels" in definition.inputs) == (
            served.config.ycond and name in SIGNATURES - {"interpolate", "manipulate"}
        )
        has_context = bool(served.config.context_shape) and name in SIGNATURES
        assert ("context" in definition.inputs) == has_context, name


def test_plain_operations_only(with_labels):
    saved = saved_model_pb2.SavedModel.FromString((with_labels.path / "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    functions = graph.graph_def.library.function
    nodes = [*graph.graph_def.node, *(node for f in functions for node in f.node_def)]
    operations = {node.op for node in nodes}
    assert not [op for op in operations if "PyFunc" in op or "Xla" in op]
    random = [op for op in operations if "Random" in op]
    assert random and all(op.startswith("Stateless") for op in random)
    attributes = {key for node in [*nodes, *functions] for key in node.attr}
    assert not attributes & {"_gradient_op_type", "_XlaMustCompile", "_gradient_function"}
    assert not graph.graph_def.library.gradient
    # An operation of the border maps or of an inverse would be left to do for each request.
    assert not operations & {"MatrixInverse", "MatrixDeterminant", "LogMatrixDeterminant"}
    shared = [f.signature.name for f in functions if sum(n.op == "Conv2D" for n in f.node_def)]
    assert len(shared) == 2, "one body each of encode and decode, which the signatures share"


def test_metadata(with_labels):
    text = json.loads((with_labels.path / "assets" / "glow.json").read_text())
    assert text["weights"] == "raw" and text["config"]["depth"] == 2
    assert set(text["signatures"]) == SIGNATURES
    for name, definition in with_labels.cpp.signatures.items():
        for key in [*definition.inputs, *definition.outputs] if name in text["signatures"] else []:
            described = text["signatures"][name] + text["signatures"]["bits_per_dim"]
            assert key in described + text["signatures"]["encode"], (name, key)


def test_metadata_lists_the_inputs_that_there_are_and_no_others(served):
    text = json.loads((served.path / "assets" / "glow.json").read_text())
    assert text["fingerprint"] == glow_tf.serving.fingerprint(served.model)
    names = {"images", "first", "second", "image_bytes", "labels", "seed", "temperature", "latents"}
    names |= {"direction", "points", "alphas", "context"}
    for name, description in text["signatures"].items():
        assert served.config.ycond or "label" not in description, description
        assert served.config.context_shape or "context" not in description, description
        line = re.search("^Inputs: ((.|\n)*?)\\.$", description, re.MULTILINE)
        if line:
            listed = names & set(re.findall(r"\w+", line[1]))
            listed -= {"images"} if name == "interpolate" else set()  # "first and second, images"
            assert listed == set(served.cpp.signatures[name].inputs), name


def test_warm_up_requests(with_labels):
    file = with_labels.path / warm_up.FILE
    parse = prediction_log_pb2.PredictionLog.FromString
    records = tf.data.TFRecordDataset(str(file))
    requests = [parse(record.numpy()).predict_log.request for record in records]
    assert {r.model_spec.signature_name for r in requests} == SIGNATURES - {"serving_default"}
    for request in requests:
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        assert with_labels.cpp.run(request.model_spec.signature_name, inputs)


def test_without_the_package_there_are_no_warm_up_requests(monkeypatch, no_labels, tmp_path):
    monkeypatch.setattr(warm_up, "PACKAGE", "no_such_package")
    with pytest.warns(UserWarning, match="tensorflow-serving-api"):
        path = glow_tf.serving.export(no_labels, tmp_path)
    assert not (path / warm_up.FILE).exists() and CppSavedModel(path).signatures


def test_import_does_not_need_the_package(monkeypatch):
    monkeypatch.setattr(glow_tf, "serving", None)  # Put back at the end, with the modules.
    for name in list(sys.modules):
        if name.startswith(("glow_tf.serving", "tensorflow_serving")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)  # An import of it fails.
    assert importlib.import_module("glow_tf.serving").export


def test_versions(monkeypatch, tmp_path):
    # What is written doesn't matter here, but when it appears does.
    def write(model, path, *_):
        assert not [p for p in tmp_path.iterdir() if p.name.isdecimal() and not list(p.iterdir())]
        path.mkdir()
        (path / "saved_model.pb").write_text(str(model))

    monkeypatch.setattr(glow_tf.serving.saved_model, "_write", write)
    export = lambda model, *version: glow_tf.serving.export(model, tmp_path, *version).name
    assert [export("a"), export("b"), export("c", 7), export("d")] == ["1", "2", "7", "8"]
    with pytest.raises(FileExistsError, match="7"):
        export("e", 7)
    for version in (-1, 1.5, float("nan"), float("inf"), 2**63, 10**30, "3", True, [3], b"3", {}):
        with pytest.raises(ValueError, match=re.escape(repr(version))):
            export("e", version)
    assert {p.name: (p / "saved_model.pb").read_text() for p in tmp_path.iterdir()} == {
        "1": "a",
        "2": "b",
        "7": "c",
        "8": "d",
    }


@pytest.mark.parametrize(
    "metadata",
    [[1], "x", {"a": {1}}, {"a": np.float32(1)}, {"a": float("nan")}, {"a": b"x"}, {"a": [float("inf")]}]
    + [{"config": 1}, {"fingerprint": ""}, {"signatures": {}}],
    ids=str,
)
def test_metadata_that_glow_json_cannot_say(metadata, no_labels, tmp_path):
    with pytest.raises(ValueError, match="metadata must be"):
        glow_tf.serving.export(no_labels, tmp_path / "new", metadata=metadata)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["actnorm_b", "l_last_W", "l_1_logs"])
def test_weights_that_are_not_finite_are_not_exported(key, value, tmp_path):
    model = glow_tf.Glow(glow_tf.GlowConfig(image_size=4, n_levels=1, depth=1, width=2), seed=0)
    variable = model.levels[0][key]
    variable.assign(tf.tensor_scatter_nd_update(variable, [[0] * variable.shape.rank], [value]))
    with pytest.raises(ValueError, match=f"1 weights of the model aren't finite: .*{key}"):
        glow_tf.serving.export(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_nothing(monkeypatch, no_labels, tmp_path):
    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space"):
        glow_tf.serving.export(no_labels, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "most", [1_000, 30_000]
)  # Bytes of a file: glow.json isn't whole; the variables aren't.
def test_a_disk_that_is_full_leaves_nothing(most, no_labels, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises((OSError, tf.errors.OpError)):
            glow_tf.serving.export(no_labels, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_no_versions_are_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(glow_tf.serving.saved_model, "_write", lambda model, path, *_: path.mkdir())
    for name in ("99999999999999999999", str(2**63), "\u0663", "-4", "1.5", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "4").write_text("A file is no version, but its number is taken.")
    assert glow_tf.serving.export(None, tmp_path).name == "5"
    last = glow_tf.serving.export(None, tmp_path, 2**63 - 1)
    assert set(glow_tf.serving.versions(tmp_path)) == {4, 5, int(last.name)}
    with pytest.raises(FileExistsError, match="no number after"):
        glow_tf.serving.export(None, tmp_path)


def test_a_directory_that_is_or_lies_in_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for directory in (tmp_path / "file", tmp_path / "file" / "served"):
        with pytest.raises(OSError, match="file"):
            glow_tf.serving.export(None, directory)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_version_that_another_process_took_is_passed_over(monkeypatch, tmp_path):
    def write(model, path, *_):
        path.mkdir()
        (path / "saved_model.pb").write_text("ours")

    numbers = iter([1, 2])
    monkeypatch.setattr(glow_tf.serving.saved_model, "_write", write)
    monkeypatch.setattr(glow_tf.serving.saved_model, "_next_version", lambda _: next(numbers))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("theirs")
    assert glow_tf.serving.export(None, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"
