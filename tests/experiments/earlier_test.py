"""A run, a checkpoint and an export that an earlier version wrote (`earlier/README.md`) are still good."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from experiments import train
from experiments.runs import callbacks
from experiments.settings import hps_json
from tests.support import commands

EARLIER = pathlib.Path(__file__).parent / "earlier"
# What that version wrote when it went on with the run itself: the rows of epochs 5 and 6.
TRAIN = [dict(bits_x=3.8787, bits_y=3.2828), dict(bits_x=3.7866, bits_y=3.2741)]
TEST = [dict(bits_x=3.8776, pred_loss=0.375), dict(bits_x=3.7636, pred_loss=0.2969)]
POLYAK = [dict(bits_x=3.9219), dict(bits_x=3.8271)]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory) -> pathlib.Path:
    copy = tmp_path_factory.mktemp("earlier") / "run"
    shutil.copytree(EARLIER / "run", copy)
    return copy


@pytest.fixture(scope="module")
def answers() -> dict:
    with np.load(EARLIER / "answers.npz") as arrays:
        return dict(arrays)


def test_a_checkpoint_evaluates_to_the_same_numbers():
    results = json.loads(commands.run("evaluate", "--logdir", EARLIER / "run"))
    np.testing.assert_allclose(results["raw"]["bits_x"], 3.9730375, atol=1e-5)
    np.testing.assert_allclose(results["polyak"]["bits_x"], 4.0248699, atol=1e-5)
    assert results["raw"]["pred_loss"] == 0.265625


def test_a_run_goes_on(logdir):
    changed = ["--epochs", "6", "--depth", "2", "--width", "16", "--n_train", "256", "--n_batch_train", "32"]
    changed += ["--n_batch_init", "256", "--n_test", "64", "--epochs_full_valid", "1"]
    printed = commands.run("train", "--logdir", logdir, *changed, "--epochs_full_sample", "100")
    assert f"Going on with the run in {logdir} after epoch 4." in printed
    for name, expected in (("train", TRAIN), ("test", TEST), ("test_polyak", POLYAK)):
        rows = [json.loads(line) for line in (logdir / f"{name}.txt").read_text().splitlines()[-2:]]
        assert [row["epoch"] for row in rows] == [5, 6]
        for row, values in zip(rows, expected, strict=True):
            for column, value in values.items():
                # The rows have four digits; sixteen steps of training multiply what is rounded otherwise.
                assert abs(row[column] - value) < 5e-4, (name, row, values)


@pytest.mark.slow
def test_a_run_of_two_replicas_goes_on_as_steps_of_both_their_images(tmp_path, monkeypatch):
    """Its batch followed the replicas; one device goes on with it, in parts. Expected is what two wrote."""
    monkeypatch.setattr(callbacks, "TEMPERATURES", ())
    logdir = tmp_path / "run"
    shutil.copytree(EARLIER / "two_replicas", logdir)
    hyperparameters = hps_json.going_on(logdir, dict(epochs=4, n_batch_train=16))
    assert (hyperparameters.world_size, hyperparameters.batch_size) == (2, 32)
    train.train(hyperparameters, logdir, micro_batch=8)
    assert json.loads((logdir / "hps.json").read_text())["world_size"] == 2
    for name, expected in (("train", [4.1319, 3.9936]), ("test", [4.0477, 3.9657])):
        rows = [json.loads(line) for line in (logdir / f"{name}.txt").read_text().splitlines()[-2:]]
        assert [(row["epoch"], row["n_processed"]) for row in rows] == [(3, 768), (4, 1024)]
        np.testing.assert_allclose([row["bits_x"] for row in rows], expected, atol=5e-4)


def signatures_of(path):
    return tf.saved_model.load(str(path)).signatures


def check_answers(served, answers):
    images, labels = (tf.constant(answers[name]) for name in ("images", "labels"))
    seed, temperature = tf.range(6, dtype=tf.int64), tf.fill([6], 0.7)
    bits = served["bits_per_dim_seeded"](images=images, seed=seed, labels=labels)["bits_per_dim"]
    np.testing.assert_allclose(bits, answers["bits_per_dim_seeded"], atol=1e-5)
    latents = served["encode_seeded"](images=images, seed=seed, labels=labels)["latents"]
    np.testing.assert_allclose(latents, answers["latents"], atol=1e-4)
    decoded = served["decode"](latents=tf.constant(answers["latents"]), labels=labels)["images"]
    np.testing.assert_array_equal(decoded, answers["decoded"])
    sampled = served["sample"](seed=seed, temperature=temperature, labels=labels)["images"]
    np.testing.assert_array_equal(sampled, answers["sampled"])


def test_an_export_serves_the_same_answers(answers):
    check_answers(signatures_of(EARLIER / "served" / "1"), answers)


@pytest.mark.slow
def test_a_run_exported_now_serves_them_too(tmp_path, answers):
    commands.run("export", "--logdir", EARLIER / "run", "--export_dir", tmp_path)
    check_answers(signatures_of(tmp_path / "1"), answers)
