"""The commands on runs that are conditioned on a context: --context label and --context lowres:K."""

import json

import numpy as np
import pytest
from PIL import Image

import glow_tf
from experiments import runs, served
from experiments.data import batches, problems
from experiments.settings import hps_json
from tests.experiments.latent_space_test import cells
from tests.support import commands, prediction_server

TINY = ["--n_levels=1", "--depth=1", "--width=8", "--n_train=640", "--n_test=30", "--n_batch_test=16"]
TINY += ["--n_batch_init=64", "--epochs=1", "--epochs_warmup=0", "--lr=0.03"]


@pytest.fixture(scope="module")
def lowres(tmp_path_factory):
    """The logdir of a run that depends on the image made smaller, and in its top prior on the label."""
    logdir = tmp_path_factory.mktemp("runs") / "lowres"
    commands.run("train", "--logdir", logdir, *TINY, "--context=lowres:2")
    return logdir


@pytest.fixture(scope="module")
def label(tmp_path_factory):
    """The logdir of a run that depends on the label, by the context alone."""
    logdir = tmp_path_factory.mktemp("runs") / "label"
    commands.run("train", "--logdir", logdir, *TINY, "--context=label", "--noycond")
    return logdir


def loaded(logdir):
    """Returns the run, with its weights."""
    run = runs.Run(hps_json.load(logdir), logdir)
    run.restore("best")
    return run


@pytest.fixture(scope="module")
def model(lowres):
    """The Glow of `lowres`."""
    return loaded(lowres).glow


def held_out(logdir):
    """Returns the test images and their labels."""
    data = problems.load(hps_json.load(logdir), "test")
    return data.images, data.labels


def small(images):
    """Returns 8x8 images at 4x4, the original's way."""
    return np.floor(images.reshape(-1, 4, 2, 4, 2, 1).mean((2, 4))).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lowres", "label"])
def test_evaluate(name, request):
    """The numbers of the training's end, and those of the library's model given the context."""
    logdir = request.getfixturevalue(name)
    result = json.loads(commands.run("evaluate", "--logdir", logdir, "--draws=2"))
    *_, logged = (logdir / "test.txt").read_text().splitlines()
    assert abs(result["raw"]["bits_x"] - json.loads(logged)["bits_x"]) < 1e-4
    assert result["inverse_error"] < 1e-5
    drawn = result["draws"]["raw"]
    assert drawn["bits_x"] != result["raw"]["bits_x"] and drawn["bits_x_error"] > 0
    assert abs(drawn["bits_x"] - result["raw"]["bits_x"]) < 0.05

    run = loaded(logdir)
    data = problems.load(run.hyperparameters, "test")
    images, labels, noise = map(
        np.concatenate, zip(*batches.test(data, run.hyperparameters, 16), strict=True)
    )
    context = np.eye(10, dtype=np.float32)[labels]
    if name == "lowres":
        context = np.float32(small(images) / 256 - 0.5)
    y = labels if run.hyperparameters.ycond else None
    bits = run.glow.bits_per_dim(images, y, noise, context=context).numpy()
    assert abs(bits.mean() - result["raw"]["bits_x"]) < 1e-5
    other = run.glow.bits_per_dim(images, y, noise, context=context[::-1])
    assert np.abs(bits - other).max() > 1e-3, "the context plays a part"


@pytest.mark.slow
def test_samples_of_labels(label, tmp_path):
    """A column depends on its label alone where nothing is random; in the training's grids too."""
    out = tmp_path / "samples.png"
    arguments = ["--logdir", label, "--temperature=0", "--rows=2", "--labels=3,8,3", "--out", out]
    commands.run("sample", *arguments)
    shown = cells(out)
    assert shown.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0, 0], shown[0, 2])
    assert (shown[0, 0] != shown[0, 1]).any()
    grid = cells(label / "epoch_1_sample_0.png")
    assert grid.shape == (10, 10, 8, 8) and (grid == grid[:1]).all()
    np.testing.assert_array_equal(grid[0, [3, 8]], shown[0, :2])


def test_samples_of_small_pictures(lowres, tmp_path):
    """Test images, pictures and a folder of them are the same where they show the same."""
    images, labels = held_out(lowres)
    folder = tmp_path / "small"
    folder.mkdir()
    for number in (4, 7):
        Image.fromarray(small(images[number])[0, ..., 0]).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no picture")
    given = {
        "numbers": ["--context_images=4,7"],
        "files": [f"--context_images=4,{folder}/7.png", f"--labels={labels[4]},{labels[7]}"],
        "folder": [f"--context_images={folder}", f"--labels={labels[4]},{labels[7]}"],
        "default": [],
    }
    shown = {}
    for name, flags in given.items():
        out = tmp_path / f"{name}.png"
        commands.run("sample", "--logdir", lowres, "--temperature=0", "--rows=1", "--out", out, *flags)
        shown[name] = cells(out)
    assert shown["numbers"].shape == (1, 2, 8, 8) and shown["default"].shape == (1, 10, 8, 8)
    for name in ("files", "folder"):
        np.testing.assert_array_equal(shown[name], shown["numbers"])
    np.testing.assert_array_equal(shown["default"][:, [4, 7]], shown["numbers"])
    grid = cells(lowres / "epoch_1_sample_0.png")
    assert (grid == grid[:1]).all()
    np.testing.assert_array_equal(grid[:1], shown["default"])
    context = np.float32(small(images[:10]) / 256 - 0.5)
    drawn = loaded(lowres).glow.sample(10, labels[:10], 0.0, context=context).numpy()
    np.testing.assert_array_equal(drawn[..., 0], grid[0])


def test_interpolate_and_manipulate(lowres, tmp_path):
    """Each image keeps its own context: what isn't moved is the image itself."""
    images = held_out(lowres)[0][..., 0] // 16 * 16
    line, moved = tmp_path / "line.png", tmp_path / "moved.png"
    commands.run("interpolate", "--logdir", lowres, "--images=0,5,9", "--points=4", "--out", line)
    shown = cells(line)
    assert shown.shape == (2, 4, 8, 8)
    np.testing.assert_array_equal(shown[:, 0], images[[0, 5]])
    np.testing.assert_array_equal(shown[:, -1], images[[5, 9]])
    arguments = ["--images=0,5", "--attributes=3", "--directions", tmp_path / "d.npz", "--alphas=0,3"]
    commands.run("manipulate", "--logdir", lowres, *arguments, "--out", moved)
    shown = cells(moved)
    np.testing.assert_array_equal(shown[:, 0], images[[0, 5]])
    assert (shown[:, 1] != shown[:, 0]).any()


@pytest.fixture(scope="module")
def exported(lowres, tmp_path_factory):
    """The folder of the export of `lowres`."""
    directory = tmp_path_factory.mktemp("served") / prediction_server.MODEL
    commands.run("export", "--logdir", lowres, "--export_dir", directory)
    return directory


@pytest.fixture(scope="module")
def addresses(exported):
    """Those of a server of it, gRPC's and REST's."""
    with prediction_server.stand_in(exported) as addresses:
        yield addresses


def test_export(exported):
    about = json.loads((exported / "1" / "assets" / "glow.json").read_text())
    assert about["hyperparameters"]["context"] == "lowres:2" and about["config"]["context_shape"] == [4, 4, 1]
    for text in about["signatures"].values():
        assert "context float32 [B, 4, 4, 1]" in text or not text.count("Inputs"), text


def test_client(addresses, lowres, model, tmp_path):
    """Contexts from an npz and from pictures, one each or one for all, by both protocols."""
    images, labels = held_out(lowres)
    contexts_of = np.float32(small(images) / 256 - 0.5)
    files = []
    for number in range(3):
        for kind, image in (("large", images[number]), ("small", small(images[number])[0])):
            Image.fromarray(image[..., 0]).save(tmp_path / f"{kind}{number}.png")
        files.append(f"{tmp_path}/large{number}.png")
    np.savez(tmp_path / "c.npz", context=contexts_of[:3].astype(np.float64))
    np.savez(tmp_path / "one.npz", context=contexts_of[0])
    smalls = ",".join(f"{tmp_path}/small{number}.png" for number in range(3))
    client = lambda address, operation, *flags: commands.run(
        "client", "--server", address, "--model", prediction_server.MODEL, "--operation", operation, *flags
    )
    y = ",".join(map(str, labels[:3]))
    for address, given, context in (
        (addresses[0], tmp_path / "c.npz", contexts_of[:3]),
        (addresses[1], smalls, contexts_of[:3]),
        (addresses[1], tmp_path / "one.npz", contexts_of[0]),
    ):
        flags = [f"--images={','.join(files)}", f"--labels={y}", f"--context={given}"]
        noise = glow_tf.serving.image_noise(glow_tf.quantization.preprocess(images[:3], 4), 4)
        wanted = model.bits_per_dim(images[:3], labels[:3], noise, context=context).numpy()
        printed = client(address, "bits_per_dim", *flags).splitlines()
        assert np.abs([float(line.split()[1]) for line in printed] - wanted).max() < 2e-4

    out = f"{tmp_path}/drawn/"
    client(addresses[0], "sample", f"--context={smalls}", f"--labels={y}", "--temperature=0", f"--out={out}")
    wanted = model.sample(3, labels[:3], 0.0, context=contexts_of[:3]).numpy()
    for number in range(3):
        np.testing.assert_array_equal(np.asarray(Image.open(f"{out}{number}.png")), wanted[number, ..., 0])
    line = tmp_path / "line.png"
    flags = [f"--images={','.join(files)}", f"--context={tmp_path}/one.npz", "--points=3", f"--out={line}"]
    client(addresses[1], "interpolate", *flags)
    np.testing.assert_array_equal(cells(line)[:, 0], images[:2, ..., 0] // 16 * 16)


def test_the_shape_of_a_context_is_asked_for(addresses, exported):
    for address in addresses:
        server = served.connect(address, prediction_server.MODEL, 30.0)
        assert server.input_shape("context") == (4, 4, 1) and server.input_shape("noise") is None
    assert served.InProcess(exported / "1", 30.0).input_shape("context") == (4, 4, 1)


def assert_told(mistakes):
    """Asserts that each command line ends with a sentence that has these words."""
    lines = [line for line, _ in mistakes]
    for (line, words), (code, _, message) in zip(mistakes, commands.run_many(lines), strict=True):
        assert code == 2 and "Traceback" not in message, (line, message)
        for word in words:
            assert word in message, (line, message)


@pytest.mark.slow
def test_mistakes_with_labels_are_told_in_a_paragraph(label, tmp_path):
    assert_told(
        [
            (["evaluate", "--logdir", label, "--context=lowres:2"], ["--context lowres:2", "'label'"]),
            (["sample", "--logdir", label, "--context_images=0"], ["--context_images", "lowres:K"]),
            (["interpolate", "--logdir", label, f"--out={tmp_path}/a.png"], ["--context label"]),
            (["manipulate", "--logdir", label, f"--out={tmp_path}/a.png"], ["--context label"]),
        ]
    )


def test_mistakes_are_told_in_a_paragraph(lowres, addresses, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "large.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "empty").mkdir()
    npz = {
        "ints": np.zeros((1, 4, 4, 1), int),
        "nan": np.full((1, 4, 4, 1), np.nan),
        "flat": np.zeros((2, 9)),
    }
    for name, values in npz.items():
        np.savez(tmp_path / name, context=values)
    np.savez(tmp_path / "other", pictures=np.zeros(3))
    np.savez(tmp_path / "four", context=np.zeros((4, 4, 4, 1)))
    client = ["client", f"--server={addresses[1]}", f"--model={prediction_server.MODEL}", "--labels=1,2,3"]
    client += [f"--out={tmp_path}/x/"]
    mistakes = [
        (["train", "--logdir", lowres, "--context=label"], ["context: 'lowres:2' there, 'label' here"]),
        (["train", "--dry_run", "--context=lowres:3"], ["--context", "2, 4, 8", "lowres:3"]),
        (["sample", "--logdir", lowres, "--context_images=30"], ["--context_images", "0 to 29", "30"]),
        (["sample", "--logdir", lowres, f"--context_images={tmp_path}/large.png"], ["4 wide", "context's"]),
        (["sample", "--logdir", lowres, f"--context_images={tmp_path}/small.png"], ["give 1 --labels"]),
        (["sample", "--logdir", lowres, f"--context_images={tmp_path}/empty"], ["no pictures", "empty"]),
        (["sample", "--logdir", lowres, "--context_images=none.png"], ["none.png"]),
        (["sample", "--logdir", lowres, "--context_images=0,1", "--labels=3"], ["each of the 2", "got 1"]),
        ([*client, f"--server={addresses[0]}"], ["context"]),
        ([*client, f"--context={tmp_path}/large.png"], ["4 wide", "context's"]),
        ([*client, f"--context={tmp_path}/ints.npz"], ["finite floats", "int64"]),
        ([*client, f"--context={tmp_path}/nan.npz"], ["finite floats", "nan"]),
        ([*client, f"--context={tmp_path}/flat.npz"], ["[N, 4, 4, 1]", "[2, 9]"]),
        ([*client, f"--context={tmp_path}/other.npz"], ["'context'", "pictures"]),
        ([*client, f"--context={tmp_path}/four.npz"], ["one for all, or 3", "got 4"]),
    ]
    assert_told(mistakes)


def test_openai_checkpoints_have_no_context(tmp_path):
    message = commands.run("evaluate", f"--openai_checkpoint={tmp_path}/x", "--context=label", fails=True)
    assert "without a context" in message and "Traceback" not in message
