"""The commands that work in latent space and the export, run as a user runs them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from PIL import Image

from experiments import pictures, settings
from experiments.cli import UsageError
from experiments.data import images_flag, problems
from experiments.served import directions
from experiments.settings import hps_json
from tests.support import commands
from tests.support.cpp_saved_model import CppSavedModel

CELL = 34  # Pixels of an 8x8 image in a picture, enlarged and framed.


def cells(path):
    """Returns the images of a picture of 8x8 images, uint8 [rows, columns, 8, 8]."""
    picture = np.asarray(Image.open(path).convert("L"))
    rows, columns = (size // CELL for size in picture.shape)
    cells = picture.reshape(rows, CELL, columns, CELL).transpose(0, 2, 1, 3)
    return cells[:, :, 1:-1:4, 1:-1:4]


def test_interpolate(digits_run, tmp_path):
    out = tmp_path / "interpolation.png"
    printed = commands.run(
        "interpolate", "--logdir", digits_run, "--images", "0,5,9", "--points", 5, "--out", out
    )
    assert "2 x 5 images" in printed
    shown = cells(out)
    assert shown.shape == (2, 5, 8, 8)
    images = problems.load(hps_json.load(digits_run), "test").images[..., 0] // 16 * 16
    np.testing.assert_array_equal(shown[:, 0], images[[0, 5]])
    np.testing.assert_array_equal(shown[:, -1], images[[5, 9]])


def test_manipulate(digits_run, tmp_path):
    saved = tmp_path / "directions.npz"
    arguments = ["--logdir", digits_run, "--images", "0,5", "--attributes", "3,8"]
    arguments += ["--directions", saved, "--alphas=-1,0,1"]
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    assert "1437 images" in commands.run("manipulate", *arguments, "--out", first)
    known = directions.load(saved)
    assert list(known.names) == [str(i) for i in range(10)] and known.vectors.shape == (10, 64)
    assert (known.counts.sum(1) == 1437).all()
    images = problems.load(hps_json.load(digits_run), "test").images[..., 0] // 16 * 16
    shown = cells(first)
    assert shown.shape == (4, 3, 8, 8)
    np.testing.assert_array_equal(shown[:, 1], images[[0, 0, 5, 5]])
    assert (shown[:, 0] != shown[:, 2]).any()
    # The second time they are read; the user's own labelled images make others.
    changed = saved.stat().st_mtime_ns
    commands.run("manipulate", *arguments, "--out", second)
    assert saved.stat().st_mtime_ns == changed and first.read_bytes() == second.read_bytes()


def test_directions_are_differences_of_means(rng, tmp_path):
    latents = rng.normal(size=(10, 6)).astype(np.float32)
    attributes = (rng.uniform(size=(10, 2)) < 0.5).astype(int)
    attributes[0], attributes[1] = 0, 1
    parts = [slice(0, 4), slice(4, 8), slice(8, 10)]
    batches = ((latents[part], attributes[part]) for part in parts)
    found = directions.compute(lambda x: x, batches, ["a", "b"])
    for i in range(2):
        has = attributes[:, i] == 1
        np.testing.assert_allclose(found.vectors[i], latents[has].mean(0) - latents[~has].mean(0), atol=1e-6)
        np.testing.assert_array_equal(found.counts[i], [has.sum(), (~has).sum()])
    found.save(tmp_path / "directions.npz")
    chosen = directions.load(tmp_path / "directions.npz").chosen(["b"])
    np.testing.assert_array_equal(chosen.vectors, found.vectors[1:])
    with pytest.raises(UsageError, match="'c'.*a, b"):
        found.chosen(["c"])
    with pytest.raises(UsageError, match="'a': 10 of 10"):
        directions.compute(lambda x: x, [(latents, np.ones((10, 1)))], ["a"])


def test_manipulate_by_the_users_own_data(digits_run, tmp_path):
    data = problems.load(hps_json.load(digits_run), "test")
    picture = tmp_path / "mine.png"
    Image.fromarray(data.images[3, ..., 0]).save(picture)
    np.savez(tmp_path / "data.npz", images=data.images, attributes=data.labels[:, None] % 2, names=["odd"])
    arguments = ["--logdir", digits_run, "--data", tmp_path / "data.npz", "--images", picture]
    out = tmp_path / "manipulation.gif"
    commands.run("manipulate", *arguments, "--directions", tmp_path / "odd.npz", "--out", out)
    assert Image.open(out).n_frames == 5
    (count,) = directions.load(tmp_path / "odd.npz").counts
    assert list(count) == [(data.labels % 2).sum(), (data.labels % 2 == 0).sum()]


@pytest.mark.slow
def test_export_of_either_weights(digits_run, tmp_path):
    read = lambda name: [json.loads(line) for line in (digits_run / name).read_text().splitlines()[1:]]
    best = min(read("test.txt"), key=lambda row: row["loss"])
    (polyak,) = (row for row in read("test_polyak.txt") if row["epoch"] == best["epoch"])
    data = problems.load(hps_json.load(digits_run), "test")
    request = dict(images=data.images, labels=data.labels, seed=np.arange(len(data)))
    cases = ((1, "raw", [], best), (2, "polyak", ["--polyak", "--tflite"], polyak))
    for version, weights, flag, row in cases:
        printed = commands.run("export", "--logdir", digits_run, "--export_dir", tmp_path, *flag)
        path = tmp_path / str(version)
        assert str(path) in printed and weights in printed
        metadata = json.loads((path / "assets" / "glow.json").read_text())
        assert metadata["weights"] == weights and metadata["hyperparameters"]["depth"] == 2
        bits = CppSavedModel(path).run("bits_per_dim_seeded", request)["bits_per_dim"].mean()
        # The noise is another one, which the mean over 360 images hides.
        assert abs(bits - row["bits_x"]) < 0.01 < abs(best["bits_x"] - polyak["bits_x"])
        assert (
            (path / "glow.tflite").exists()
            == ("glow.tflite: bits_per_dim, encode" in printed)
            == (version == 2)
        )
    ask = tf.lite.Interpreter(str(path / "glow.tflite")).get_signature_runner("bits_per_dim")
    bits = ask(images=data.images, labels=data.labels.astype(np.int32))["bits_per_dim"].mean()
    assert abs(bits - polyak["bits_x"]) < 0.01


@pytest.mark.slow
def test_sample_of_labels_as_an_animation(digits_run, tmp_path):
    out = tmp_path / "samples.gif"
    arguments = ["--logdir", digits_run, "--labels", "3,8", "--temperature", "0,0.5,1", "--rows", "2"]
    commands.run("sample", *arguments, "--out", out)
    picture = Image.open(out)
    assert picture.n_frames == 3 and picture.size == (2 * CELL, 2 * CELL)


def test_mistakes_are_told_in_a_paragraph(digits_run, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "text.npz").write_text("no arrays")
    for line, words in (
        (["export", "--export_dir", tmp_path, "--version", 1], [tmp_path / "1", "overwritten"]),
        (["manipulate", "--directions", tmp_path / "text.npz"], ["text.npz"]),
    ):
        message = commands.run(*line, "--logdir", digits_run, fails=True)
        assert "Traceback" not in message, message
        for word in words:
            assert str(word) in message, message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["400"], "0 to 359, got 400"),
        (["none.png"], "none.png"),
        (["large.png"], "8 pixels wide and 9 high; it must be 8 wide and 8 high"),
        ([], "at least 1, got 0"),
    ],
)
def test_bad_images(names, words, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "large.png")
    monkeypatch.chdir(tmp_path)
    values = flags.FlagValues()
    flags.DEFINE_list("images", names, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)
    with pytest.raises(UsageError, match=words):
        images_flag.load(settings.resolve({}), (8, 8, 1), 1)


def test_pictures_have_a_name_that_can_be_written(tmp_path):
    for name, words in (("a.jpg", r"\.png or \.gif.*a\.jpg"), ("no/a.png", "no folder")):
        with pytest.raises(UsageError, match=words):
            pictures.require_name(tmp_path / name)
    pictures.require_name("a.png")
