"""A run is killed, told to end, robbed of its disk and fed with NaN, and goes on exactly."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets, survival, train
from experiments.checkpoints import Checkpoints
from experiments.hyperparameters import UsageError, resolve
from experiments.runs import Run
from tests import commands

STEPS_AN_EPOCH = 23
SAVE_EVERY = 5


def short_hps(**changes):
    """Returns the hyperparameters of `commands.SHORT_RUN`."""
    flags = dict(zip(commands.SHORT_RUN[::2], map(int, commands.SHORT_RUN[1::2]), strict=True))
    return resolve({name[2:]: value for name, value in flags.items()} | changes)


def weights(logdir) -> dict[str, np.ndarray]:
    """Returns all that the newest checkpoint of a run holds: weights, optimizer, averages."""
    prefix = newest(logdir)
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def newest(logdir) -> pathlib.Path:
    """Returns the prefix of the newest checkpoint of a run."""
    files = (logdir / "last").glob("ckpt-*.index")
    return max((f.with_suffix("") for f in files), key=lambda f: int(f.name.split("-")[1]))


def start(logdir, *arguments):
    """Starts the short run; returns the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", "--logdir", logdir, *commands.SHORT_RUN, *arguments],
        cwd=commands.ROOT,
        env=os.environ | {"PYTHONPATH": str(commands.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: pathlib.Path, process):
    """Waits until a file is there."""
    for _ in range(30000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come.")


def assert_same(a, b):
    """Asserts that two checkpoints hold the same, bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
def test_killed_terminated_and_damaged_ends_as_uncut(digits_run, tmp_path, capsys):
    """Kill -9 in the first epoch, SIGTERM in the second, a truncated checkpoint, and the end."""
    logdir = tmp_path / "run"
    process = start(logdir, "--save_every", str(SAVE_EVERY))
    wait_for(logdir / "last" / "ckpt-15.index", process)
    process.kill()
    process.wait()
    left = int(newest(logdir).name.split("-")[1])
    assert left >= 15 and left % SAVE_EVERY in (0, STEPS_AN_EPOCH % SAVE_EVERY)

    process = start(logdir, "--save_every", str(SAVE_EVERY))
    wait_for(logdir / "last" / "ckpt-30.index", process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == survival.TERMINATED, out + err
    assert "Going on" in out and "SIGTERM after training step" in err

    cut = newest(logdir)
    data = cut.with_suffix(".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1000])
    train.train(short_hps(), logdir, save_every=SAVE_EVERY)
    printed = capsys.readouterr()
    assert f"{cut} is damaged" in printed.err and "taking the one before it" in printed.err
    assert "after epoch 1 and" in printed.out
    ours, theirs = weights(logdir), weights(digits_run)
    means = [name for name in ours if name.startswith("means")]
    np.testing.assert_allclose(ours.pop(means[0]), theirs.pop(means[0]), rtol=1e-5)
    assert_same(ours, theirs)
    # train_time, the last column, is another.
    rows = lambda run, name: [line.split(', "train_time')[0] for line in (run / name).open()]
    for name in ("train.txt", "test.txt", "test_polyak.txt"):
        assert rows(logdir, name) == rows(digits_run, name)


def test_cut_between_the_steps_and_the_end_of_an_epoch(digits_run, tmp_path, monkeypatch):
    """The evaluation that was cut is made when the run goes on."""

    class Killed(BaseException):
        pass

    def evaluate(*args):
        raise Killed

    logdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train.callbacks, "evaluate_both", evaluate)
        with pytest.raises(Killed):
            train.train(short_hps(epochs=1), logdir)
    train.train(short_hps(epochs=1), logdir)
    first = lambda run: (run / "test.txt").read_text().splitlines()[1]
    assert first(logdir) == first(digits_run)


def test_all_checkpoints_damaged(tmp_path):
    variable = tf.Variable(tf.zeros([1000]))
    checkpoints = Checkpoints(tf.train.Checkpoint(v=variable), tmp_path, 3)
    for number in range(1, 6):
        checkpoints.save(number)
    assert [prefix[-1] for prefix in checkpoints.prefixes()] == ["5", "4", "3"]
    assert len(list(tmp_path.iterdir())) == 6
    for i, path in enumerate(tmp_path.glob("*.index")):
        path.write_bytes(path.read_bytes()[: 10 * i])
    with pytest.raises(UsageError, match="ckpt-5, .*ckpt-4, .*ckpt-3"):
        checkpoints.restore()


def test_nan_in_step_50(tmp_path, monkeypatch):
    """The run stops, names a checkpoint before it, and that is finite."""
    batches = datasets.train_batches

    def poisoned(*arguments, **keywords):
        def poison(i, batch):
            images, labels, noise = batch
            return images, labels, tf.where(i == 49, np.nan, noise)

        return batches(*arguments, **keywords).enumerate().map(poison)

    monkeypatch.setattr(datasets, "train_batches", poisoned)
    # The epoch that starts at step 46 begins with another count: one epoch of 60 steps instead.
    hps = short_hps(n_train=60 * 64, epochs=1)
    with pytest.raises(UsageError, match="nan in training step 50.*last good checkpoint is .*ckpt-40.*--lr"):
        train.train(hps, tmp_path, save_every=20)
    values = weights(tmp_path)
    assert all(np.isfinite(v).all() for v in values.values() if getattr(v, "dtype", None) == np.float32)


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path):
    run = Run(short_hps(), tmp_path)
    run.save("last")
    run.optimizer.iterations.assign(7)
    run.model.trainable_variables[0][0].assign(np.nan * run.model.trainable_variables[0][0])
    with pytest.raises(ArithmeticError, match="step 7"):
        run.save("last")
    assert run.saved("last").endswith("ckpt-0")


def test_an_exploding_loss_stops_the_run_and_a_spike_does_not(tmp_path):
    from glow_tf.training import NotFiniteError, StopOnNotFinite

    stop = StopOnNotFinite(limit=32.0, patience=5)
    stop.model = Run(short_hps(), tmp_path).model

    def feed(losses):
        stop.on_epoch_begin(0)
        for i in range(len(losses)):
            stop.on_train_batch_end(i, {"loss": float(np.mean(losses[: i + 1]))})

    feed([4.0] * 10 + [1e4] * 4 + [4.0] * 10)
    with pytest.raises(NotFiniteError, match="explodes"):
        feed([4.0] * 10 + [33.0] * 5)


def test_gradients_are_clipped(tmp_path):
    """The norm of all gradients together is what is limited; Adamax' first moment shows it."""
    moments = []
    for clip_norm in (0.0, 1e-3):
        run = Run(short_hps(clip_norm=clip_norm), tmp_path)
        data = datasets.load(run.hps, "train")
        run.model.fit(datasets.train_batches(data, run.hps, 64).take(1), verbose=0)
        values = [v for v in run.optimizer.variables if "moment_1" in v.name]
        moments.append(float(tf.linalg.global_norm(values)))
    assert moments[0] > 1e-3
    np.testing.assert_allclose(moments[1], 1e-3 * 0.1, rtol=1e-4)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk(small_disk):
    """The run stops and names its last checkpoint; with space it goes on from there."""
    logdir = small_disk / "run"
    hps = short_hps(width=96, epochs=1)
    with pytest.raises(UsageError, match="disk is full.*(last good checkpoint|no checkpoint)"):
        train.train(hps, logdir, save_every=5)
    assert weights(logdir) and not (logdir / "last" / "writing").exists()
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert train.train(hps, logdir, save_every=5).step == STEPS_AN_EPOCH


def test_killed_while_saving(tmp_path):
    """At 20 random moments of writing; what is there afterwards is whole."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_while_saving", tmp_path, "20"],
        cwd=commands.ROOT,
        env=os.environ | {"PYTHONPATH": str(commands.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills" in done.stdout
