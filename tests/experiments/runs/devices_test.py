"""However a batch is shared and divided, the steps are those of one device."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from experiments import train
from experiments.data import batches, problems
from experiments.runs import Run, callbacks
from experiments.runs import run as run_module
from experiments.settings import resolve
from glow_tf.training import ProgressBar
from tests.experiments.runs.interruptions_test import wait_for, weights
from tests.support import commands

FLAGS = dict(n_levels=1, depth=2, width=16, dal=1, n_test=70, n_batch_init=64)
# 33 images can't be shared equally by two.
ODD = FLAGS | dict(
    world_size=3, n_batch_train=11, n_train=5 * 33, epochs_warmup=2, epochs_full_valid=5, polyak_epochs=2.0
)
STEPS = 20
EVEN = FLAGS | dict(world_size=2, n_batch_train=16, n_train=STEPS * 32, epochs_warmup=0.5, epochs=1)
ONE = tf.distribute.get_strategy()


@pytest.fixture(autouse=True)
def no_grids(monkeypatch):
    """They take longer than these trainings."""
    monkeypatch.setattr(callbacks, "TEMPERATURES", ())


def train_on(strategy, logdir, monkeypatch, flags, micro_batch=None):
    """Trains, or goes on; returns the losses of the steps, and the run."""
    losses = []

    class Recorder(ProgressBar):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self._sum = float(logs["loss"]) * (batch + 1)
            losses.append(self._sum - (self._before if batch else 0))
            self._before = self._sum

    monkeypatch.setattr(train, "ProgressBar", Recorder)
    with strategy.scope():
        run = train.train(resolve(flags), logdir, micro_batch=micro_batch)
    return np.array(losses), run


def distance(a: dict, b: dict) -> float:
    """Returns the largest relative L2 distance of the weights in two checkpoints."""
    names = [n for n in a if n.startswith("glow/") and n.endswith("VARIABLE_VALUE")]
    assert names and a.keys() == b.keys()
    return max(np.linalg.norm(a[n] - b[n]) / max(np.linalg.norm(b[n]), 1.0) for n in names)


def rows(logdir, name="test.txt"):
    """Returns the rows of a log."""
    return [json.loads(line) for line in (logdir / name).read_text().splitlines()[1:]]


def assert_same_copies(strategy, run):
    """Compares the replicas' weights, to the last bit."""
    for variable in [*run.glow.variables, *run.optimizer.variables]:
        copies = strategy.experimental_local_results(variable)
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices_and_micro_batches(two_replicas, tmp_path, monkeypatch):
    """20 steps of two replicas, the shares unequal and in unequal parts, between steps of one device."""
    monkeypatch.setattr(run_module, "N_LAST", 9)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    losses, _ = train_on(ONE, whole, monkeypatch, ODD | dict(epochs=6))
    shutil.copytree(whole, cut)
    for path in (cut / "last").glob("ckpt-*"):
        if path.stem != "ckpt-5":
            path.unlink()
    losses_2, run = train_on(two_replicas, cut, monkeypatch, ODD | dict(epochs=5), micro_batch=7)
    assert_same_copies(two_replicas, run)
    losses_1, _ = train_on(ONE, cut, monkeypatch, ODD | dict(epochs=6), micro_batch=12)
    assert len(losses) == 30 and len(losses_2) == 20 and len(losses_1) == 5
    worst = np.abs(np.concatenate([losses_2, losses_1]) / losses[5:] - 1).max()
    apart = distance(weights(cut), weights(whole))
    print(f"losses: {worst:.1e}, weights: {apart:.1e}")
    assert worst < 1e-5 and apart < 1e-4
    for name in ("train.txt", "test.txt", "test_polyak.txt"):
        for one, other in zip(rows(whole, name), rows(cut, name), strict=True):
            assert one["n_images"] == other["n_images"] == one["epoch"] * 165
            assert abs(one["bits_x"] - other["bits_x"]) < 2e-4, name


def test_initial_values_are_the_same_on_replicas(two_replicas):
    results = []
    for strategy in (ONE, two_replicas):
        with strategy.scope():
            hyperparameters = resolve(ODD)
            run = Run(hyperparameters, "none")
            run.glow.initialize(*batches.init(problems.load(hyperparameters, "train"), hyperparameters))
            results.append([strategy.experimental_local_results(v) for v in run.glow.variables])
    for (one,), two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two[0])
        np.testing.assert_array_equal(one, two[1])


def start_workers(logdir, flags, *arguments):
    """Starts two workers on loopback; returns the processes."""
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("localhost", 0))
            ports.append(s.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    given = [f"--{k}={v}" for k, v in flags.items()]
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "experiments.train", "--logdir", logdir, *given, *arguments],
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
def test_the_batch_of_eight_workers(two_replicas, tmp_path, monkeypatch):
    """Steps of 8 x 64 images: one batch; 8 micro-batches; 4 on each of two CPUs, and of two processes."""
    flags = EVEN | dict(world_size=8, n_batch_train=64, n_train=STEPS * 512)
    whole = tmp_path / "whole"
    losses, _ = train_on(ONE, whole, monkeypatch, flags | dict(world_size=1, n_batch_train=512))
    mean = "means/.ATTRIBUTES/VARIABLE_VALUE"
    for name, strategy in (("one", ONE), ("two", two_replicas), ("processes", None)):
        logdir = tmp_path / name
        if strategy is None:
            chief, other = start_workers(logdir, flags, "--micro_batch=64")
            out, err = chief.communicate(timeout=600)
            assert chief.returncode == 0 and other.wait() == 0, out + err
            assert "512 images per step, 256 on each of 2 devices, at most 64 at once" in out
            worst = abs(weights(logdir)[mean][0] / weights(whole)[mean][0] - 1)
        else:
            other_losses, _ = train_on(strategy, logdir, monkeypatch, flags, micro_batch=64)
            assert len(other_losses) == len(losses) == STEPS
            worst = np.abs(other_losses / losses - 1).max()
        apart = distance(weights(logdir), weights(whole))
        print(f"{name}: losses {worst:.1e}, weights {apart:.1e}")
        assert worst < 1e-5 and apart < 1e-4, name


@pytest.mark.slow
def test_two_workers_one_is_killed(tmp_path, monkeypatch):
    """They take one's steps; kill -9 of one ends the other; started again they go on from the checkpoint."""
    train_on(ONE, tmp_path / "one", monkeypatch, EVEN)
    logdir = tmp_path / "workers"
    chief, other = start_workers(logdir, EVEN, "--save_every=5")
    wait_for(logdir / "last" / "ckpt-10.index", chief)
    other.kill()
    out, err = chief.communicate(timeout=300)
    assert chief.returncode == 2 and "worker is gone" in err and "ckpt-" in err, out + err
    chief, other = start_workers(logdir, EVEN, "--save_every=5")
    out, err = chief.communicate(timeout=300)
    assert chief.returncode == 0 and other.wait() == 0, out + err
    assert "Going on" in out
    apart = distance(weights(logdir), weights(tmp_path / "one"))
    print(f"weights: {apart:.1e}")
    assert apart < 1e-4
    for name in ("test.txt", "train.txt"):
        assert abs(rows(logdir, name)[-1]["loss"] - rows(tmp_path / "one", name)[-1]["loss"]) < 2e-4


def test_logical_cpus_and_batches():
    """The devices don't decide the batch; the anchor size scales it, and the schedule counts at that."""
    flags = ["--logical_cpus=2", "--micro_batch=3", "--dry_run", "--problem=cifar10", "--image_size=16"]
    hyperparameters = json.loads(commands.run("train", *flags, "--world_size=8"))
    assert hyperparameters["local_batch_train"] == 256 and hyperparameters["train_its"] == 98
    message = commands.run("train", "--strategy", "multi_worker", fails=True)
    assert "TF_CONFIG" in message and "Traceback" not in message


@pytest.mark.slow
def test_mixed_bfloat16_and_clipping_from_the_command(tmp_path):
    flags = ["--epochs=1", "--dtype=mixed_bfloat16", "--clip_norm=1", "--micro_batch=24", "--n_levels=1"]
    printed = commands.run("train", *commands.SHORT_RUN, *flags, "--logdir", tmp_path)
    assert "64 images per step, at most 24 at once" in printed
    hyperparameters = json.loads((tmp_path / "hps.json").read_text())
    assert hyperparameters["dtype"] == "mixed_bfloat16" and hyperparameters["clip_norm"] == 1
    assert rows(tmp_path)[-1]["bits_x"] < 5


@pytest.mark.slow
def test_xla(tmp_path, digits_run):
    commands.run("train", *commands.SHORT_RUN, "--xla", "--micro_batch=24", "--logdir", tmp_path)
    assert abs(rows(tmp_path)[-1]["bits_x"] - rows(digits_run)[-1]["bits_x"]) < 1e-3
