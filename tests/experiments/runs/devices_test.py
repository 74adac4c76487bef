"""Replicas and workers take the steps that one device takes."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from experiments import train
from experiments.settings import resolve
from glow_tf.training import ProgressBar
from tests.experiments.runs.interruptions_test import wait_for, weights
from tests.support import commands

STEPS = 20
BATCH = 32
FLAGS = dict(n_levels=1, depth=2, width=16, n_train=STEPS * BATCH, dal=1)
FLAGS |= dict(epochs_warmup=0.5, epochs_full_valid=1)


def train_on(strategy, logdir, monkeypatch):
    """Trains an epoch of STEPS steps; returns the losses of the steps, and the run."""
    means = []

    class Recorder(ProgressBar):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            means.append(logs["loss"])

    monkeypatch.setattr(train, "ProgressBar", Recorder)
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        run = train.train(resolve(FLAGS | dict(epochs=1, n_batch_train=BATCH // n), n), logdir)
    sums = np.array(means, np.float64) * np.arange(1, STEPS + 1)
    return np.diff(sums, prepend=0), run


def distance(a: dict, b: dict) -> float:
    """Returns the largest relative L2 distance of the weights in two checkpoints."""
    names = [n for n in a if n.startswith("glow/") and n.endswith("VARIABLE_VALUE")]
    assert names and a.keys() == b.keys()
    return max(np.linalg.norm(a[n] - b[n]) / max(np.linalg.norm(b[n]), 1.0) for n in names)


def last_row(logdir, name="test.txt"):
    """Returns the last row of a log."""
    return json.loads((logdir / name).read_text().splitlines()[-1])


def test_two_replicas_take_the_steps_of_one(two_replicas, tmp_path, monkeypatch):
    losses, run = train_on(tf.distribute.get_strategy(), tmp_path / "one", monkeypatch)
    losses_2, run_2 = train_on(two_replicas, tmp_path / "two", monkeypatch)
    worst = np.abs(losses_2 / losses - 1).max()
    apart = distance(weights(tmp_path / "two"), weights(tmp_path / "one"))
    print(f"losses of {STEPS} steps: {worst:.1e}, weights: {apart:.1e}")
    assert len(losses) == STEPS and worst < 1e-5 and apart < 1e-4
    for variable in [*run_2.glow.variables, *run_2.optimizer.variables]:
        copies = two_replicas.experimental_local_results(variable)
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)
    one, two = last_row(tmp_path / "one"), last_row(tmp_path / "two")
    assert abs(one["bits_x"] - two["bits_x"]) < 2e-4


def test_initial_values_are_the_same_on_replicas(two_replicas):
    from experiments.data import batches, problems
    from experiments.runs import Run

    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        n = strategy.num_replicas_in_sync
        with strategy.scope():
            hyperparameters = resolve(FLAGS | dict(n_batch_train=BATCH // n), n)
            run = Run(hyperparameters, "none")
            run.glow.initialize(*batches.init(problems.load(hyperparameters, "train"), hyperparameters))
            results.append([strategy.experimental_local_results(v) for v in run.glow.variables])
    for (one,), two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two[0])
        np.testing.assert_array_equal(one, two[1])


def start_workers(logdir, *arguments):
    """Starts two workers on loopback; returns the processes."""
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("localhost", 0))
            ports.append(s.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    flags = [f"--{k}={v}" for k, v in (FLAGS | dict(n_batch_train=BATCH // 2)).items()]
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "experiments.train", "--logdir", logdir, *flags, *arguments],
                cwd=commands.ROOT,
                env=os.environ
                | {"PYTHONPATH": str(commands.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


@pytest.mark.slow
def test_two_workers_one_is_killed(tmp_path, monkeypatch):
    """They take one's steps; kill -9 of one ends the other; started again they go on from the checkpoint."""
    _, one = train_on(tf.distribute.get_strategy(), tmp_path / "one", monkeypatch)
    logdir = tmp_path / "workers"
    arguments = ["--epochs=1", "--save_every=5"]
    chief, other = start_workers(logdir, *arguments)
    wait_for(logdir / "last" / "ckpt-10.index", chief)
    other.kill()
    out, err = chief.communicate(timeout=300)
    assert chief.returncode == 2 and "worker is gone" in err and "ckpt-" in err, out + err
    chief, other = start_workers(logdir, *arguments)
    out, err = chief.communicate(timeout=300)
    assert chief.returncode == 0 and other.wait() == 0, out + err
    assert "Going on" in out
    apart = distance(weights(logdir), weights(tmp_path / "one"))
    print(f"weights: {apart:.1e}")
    assert apart < 1e-4
    assert abs(last_row(logdir)["loss"] - last_row(tmp_path / "one")["loss"]) < 2e-4
    assert abs(last_row(logdir, "train.txt")["loss"] - last_row(tmp_path / "one", "train.txt")["loss"]) < 2e-4


def test_logical_cpus_and_batches():
    """The batch is per replica, scaled by the anchor size, and the schedule counts at that size."""
    flags = ["--logical_cpus=2", "--dry_run", "--problem=cifar10", "--image_size=16"]
    hyperparameters = json.loads(commands.run("train", *flags))
    assert hyperparameters["local_batch_train"] == 256 and hyperparameters["train_its"] == 391
    message = commands.run("train", "--strategy", "multi_worker", fails=True)
    assert "TF_CONFIG" in message and "Traceback" not in message


def test_mixed_bfloat16_and_clipping_from_the_command(tmp_path):
    flags = ["--epochs=1", "--dtype=mixed_bfloat16", "--clip_norm=1", "--n_levels=1"]
    commands.run("train", *commands.SHORT_RUN, *flags, "--logdir", tmp_path)
    hyperparameters = json.loads((tmp_path / "hps.json").read_text())
    assert hyperparameters["dtype"] == "mixed_bfloat16" and hyperparameters["clip_norm"] == 1
    assert last_row(tmp_path)["bits_x"] < 5


@pytest.mark.slow
def test_xla(tmp_path, digits_run):
    commands.run("train", *commands.SHORT_RUN, "--xla", "--logdir", tmp_path)
    assert abs(last_row(tmp_path)["bits_x"] - last_row(digits_run)["bits_x"]) < 1e-3
