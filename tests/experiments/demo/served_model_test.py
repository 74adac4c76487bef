"""The page's view of a model, in this process and by each protocol of a server."""

import dataclasses
import functools
import shutil

import numpy as np
import pytest

import glow_tf
from experiments import settings
from experiments.cli import UsageError
from experiments.demo.served_model import ServedModel
from experiments.served import InProcess, Output, ServerError, connect
from tests.support import prediction_server, serving_cases

CASES = [("labels", "in_process"), ("labels", "grpc"), ("labels", "rest"), ("no_labels", "in_process")]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    """The name of a model, and where it is."""
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function: the name of a model -> it, and its export; made once."""

    @functools.cache
    def make(name):
        model = serving_cases.make_model(name)
        directory = tmp_path_factory.mktemp("served") / prediction_server.MODEL
        glow_tf.serving.export(model, directory)
        return model, directory

    return make


@pytest.fixture(scope="module")
def model(case, exported):
    """A model with labels, or one without."""
    return exported(case[0])[0]


@pytest.fixture(scope="module")
def directory(case, exported):
    """Its export."""
    return exported(case[0])[1]


@pytest.fixture(scope="module")
def hyperparameters(model):
    """Its hyperparameters."""
    resolved, config = settings.resolve({}), dataclasses.asdict(model.config)
    known = {field.name for field in dataclasses.fields(resolved)} & config.keys()
    return dataclasses.replace(resolved, **{name: config[name] for name in known})


@pytest.fixture(scope="module")
def server(case, directory):
    """What answers for the export, in this process or on a server."""
    if case[1] == "in_process":
        yield InProcess(directory / "1", 60.0)
        return
    with prediction_server.stand_in(directory) as addresses:
        address = addresses[["grpc", "rest"].index(case[1])]
        yield connect(address, prediction_server.MODEL, 60.0)


@pytest.fixture(scope="module")
def served(server, hyperparameters):
    """The page's view of it."""
    return ServedModel(server, hyperparameters)


def test_image_shape(server, model):
    assert server.image_shape() == model.config.image_shape


def test_answers_are_the_models(served, model):
    config = model.config
    # More than fit into one call in process.
    requests = serving_cases.make_requests(config, 20)
    wanted = {name: serving_cases.expected(model, name, request) for name, request in requests.items()}
    images = requests["encode"]["images"]
    labels = requests["encode"].get("labels")
    levels = served.encode(images, labels)
    assert [level.shape[1:] for level in levels] == list(config.eps_shapes) == served.level_shapes
    for i, level in enumerate(levels):
        np.testing.assert_allclose(level, wanted["encode"][f"level_{i}"], atol=1e-4)
    free = wanted["encode"].get("latents_without_label", wanted["encode"]["latents"])
    np.testing.assert_allclose(served.encode_without_label(images), free, atol=1e-4)
    bits = served.bits_per_dim(images, labels)
    np.testing.assert_allclose(bits, wanted["bits_per_dim"]["bits_per_dim"], atol=1e-4)
    rebuilt = served.decode(levels, labels)
    # The levels that the model knows: its own bits.
    step = 2 ** (8 - config.n_bits_x)
    assert (rebuilt != images // step * step).mean() <= 1e-2


def test_lines(served, model):
    requests = serving_cases.make_requests(model.config, 8)
    for name in ("interpolate", "manipulate"):
        rows = zip(*requests[name].values(), strict=True)
        lines = np.stack([getattr(served, name)(*row) for row in rows])
        wanted = serving_cases.expected(model, name, requests[name])
        serving_cases.assert_close(dict(images=lines), wanted, model.config.n_bits_x)


def test_likeliest_label(served, model):
    image = serving_cases.make_requests(model.config, 1)["encode"]["images"][0]
    if not model.config.ycond:
        assert served.likeliest_label(image) is None
        return
    bits = [served.bits_per_dim(image[None], [y])[0] for y in range(model.config.n_y)]
    assert served.likeliest_label(image) == np.argmin(bits)


def test_no_saved_model_is_told(tmp_path):
    with pytest.raises(UsageError, match="Can't load a SavedModel"):
        InProcess(tmp_path / "nothing", 60.0)


def test_another_models_hyperparameters_are_told(directory, hyperparameters):
    for changes, words in (
        (dict(image_size=28), "doesn't take images.*28, 28"),
        (dict(n_levels=3 - hyperparameters.n_levels), "level_. must be|must have level_1, and has latents"),
    ):
        with pytest.raises(UsageError, match=words):
            ServedModel(InProcess(directory / "1", 60.0), dataclasses.replace(hyperparameters, **changes))


@pytest.mark.parametrize("case", CASES[-1:], indirect=True, ids="-".join)
def test_an_export_in_a_folder_of_any_name_is_loaded(directory, hyperparameters, tmp_path):
    for name in ("[x]", "a]b", "back\\slash", "with spaces", "\u00fcn\u00ef\u4e2d", "*?{}"):
        folder = tmp_path / name
        shutil.copytree(directory, folder)
        model = ServedModel(InProcess(folder / "1", 60.0), hyperparameters)
        assert model.bits_per_dim(np.zeros((1, *model.image_shape), np.uint8), [0]).shape == (1,)


def test_the_time_limit_is_kept(directory, model):
    request = serving_cases.make_requests(model.config, 20)["bits_per_dim"]
    server = InProcess(directory / "1", 1e-9)
    with pytest.raises(ServerError, match="longer than 1e-09 seconds; ask for less"):
        server.predict("bits_per_dim", request, dict(bits_per_dim=Output("float32", (20,))))
