"""A run is killed, told to end, robbed of its disk and its files and fed with NaN, and goes on exactly."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import train
from experiments.cli import UsageError
from experiments.data import batches, problems
from experiments.runs import Run, callbacks, interruptions, logs
from experiments.runs import checkpoints as module
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.logdir import Logdir
from experiments.settings import glow_config, hps_json, resolve, warning
from glow_tf.training import GlowModel, NotFiniteError, StopOnNotFinite
from tests.support import commands

STEPS_PER_EPOCH = 23
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


@contextlib.contextmanager
def without_graphs():
    """Graphs of the training take longer to build than some steps take without them."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager():
    """For tests of what is around the steps."""
    with without_graphs():
        yield


@pytest.mark.slow
def test_killed_terminated_and_damaged_ends_as_uncut(digits_run, tmp_path, capsys):
    """Kill -9 in the first epoch, SIGTERM in the second, a truncated checkpoint, and the end."""
    logdir = tmp_path / "run"
    process = start(logdir, "--save_every", str(SAVE_EVERY))
    wait_for(logdir / "last" / "ckpt-15.index", process)
    process.kill()
    process.wait()
    left = int(newest(logdir).name.split("-")[1])
    assert left >= 15 and left % SAVE_EVERY in (0, STEPS_PER_EPOCH % SAVE_EVERY)

    process = start(logdir, "--save_every", str(SAVE_EVERY))
    wait_for(logdir / "last" / "ckpt-30.index", process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == interruptions.TERMINATED, out + err
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


def test_cut_between_the_steps_and_the_end_of_an_epoch(tiny_run, tmp_path, eager, monkeypatch):
    """The evaluation that was cut is made when the run goes on."""

    class Killed(BaseException):
        pass

    def evaluate(*args, **keywords):
        raise Killed

    logdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "evaluate_both", evaluate)
        with pytest.raises(Killed):
            train.train(tiny_hps(polyak_epochs=3.0, epochs=1), logdir)
    train.train(tiny_hps(polyak_epochs=3.0, epochs=1), logdir)
    first = lambda run: (run / "test.txt").read_text().splitlines()[1]
    assert first(logdir) == first(tiny_run)


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
    compute = GlowModel._statistics

    def poisoned(model, *batch):
        return compute(model, *batch) * tf.where(model.optimizer.iterations == 49, np.nan, 1.0)

    monkeypatch.setattr(GlowModel, "_statistics", poisoned)
    # The epoch that starts at step 46 begins with another count: one epoch of 60 steps instead.
    hyperparameters = tiny_hps(n_train=60 * 16, epochs=1)
    with pytest.raises(UsageError, match="nan in training step 50.*last good checkpoint is .*ckpt-40.*--lr"):
        train.train(hyperparameters, tmp_path, save_every=20)
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
    stop = StopOnNotFinite(limit=32.0, patience=5)
    stop.model = Run(short_hps(), tmp_path).model

    def feed(losses):
        stop.on_epoch_begin(0)
        for i in range(len(losses)):
            stop.on_train_batch_end(i, {"loss": float(np.mean(losses[: i + 1]))})

    feed([4.0] * 10 + [1e4] * 4 + [4.0] * 10)
    with pytest.raises(NotFiniteError, match="explodes"):
        feed([4.0] * 10 + [33.0] * 5)


def test_gradients_are_clipped(tmp_path, eager):
    """The norm of all gradients together is what is limited; Adamax' first moment shows it."""
    moments = []
    for clip_norm in (0.0, 1e-3):
        run = Run(short_hps(clip_norm=clip_norm), tmp_path)
        data = problems.load(run.hyperparameters, "train")
        run.model.fit(batches.train(data, run.hyperparameters, 64).take(1), verbose=0)
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


def test_a_full_disk(small_disk, eager):
    """The run stops and names its last checkpoint; with space it goes on from there."""
    logdir = small_disk / "run"
    hyperparameters = tiny_hps(depth=2, width=160, epochs=1)  # 1.2 MB per checkpoint.
    with pytest.raises(UsageError, match="disk is full.*(last good checkpoint|no checkpoint)"):
        train.train(hyperparameters, logdir, save_every=1)
    assert weights(logdir) and not (logdir / "last" / ".writing").exists()
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert train.train(hyperparameters, logdir, save_every=1).step == 4


def test_killed_while_saving(tmp_path):
    """At 20 random moments of writing; what is there afterwards is whole."""
    code, out, err = commands.run_module("tests.support.kill_while_saving", tmp_path, 20)
    assert code == 0 and "20 kills" in out, out + err


TINY = dict(depth=1, width=8, n_levels=1, n_train=64, n_batch_train=16, epochs=2, epochs_full_valid=1)


def tiny_hps(**changes):
    """Returns the hyperparameters of a model that trains in a second: four steps per epoch."""
    return resolve(TINY | dict(n_test=50, n_batch_init=64) | changes)


def rows(logdir, name) -> list[dict]:
    """Returns the rows of a log but for the first, which holds the hyperparameters."""
    return [json.loads(line) for line in (logdir / name).read_text().splitlines()[1:]]


@pytest.fixture(scope="module", autouse=True)
def no_grids():
    """Sample grids take longer than these trainings; `commands_test` looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "TEMPERATURES", ())
        yield


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A run of two epochs that is at its end; it is copied, not changed."""
    logdir = tmp_path_factory.mktemp("tiny") / "run"
    with without_graphs():
        train.train(tiny_hps(polyak_epochs=3.0), logdir)
    return logdir


@pytest.fixture
def copied(tiny_run, tmp_path, eager):
    """A copy of the tiny run."""
    return pathlib.Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.mark.slow
def test_decay_of_the_second_moment_below_the_first(tmp_path, capsys):
    """beta2 = 0.75: warned of; the NaN names a good checkpoint and what to change, also when it goes on."""
    hyperparameters = tiny_hps(epochs=60, epochs_full_valid=60, epochs_full_sample=60)
    assert warning(hyperparameters) and not warning(tiny_hps(polyak_epochs=2.5))
    for _ in range(2):
        with pytest.raises(
            UsageError,
            match="(became nan|aren.t finite).*last good checkpoint is .*ckpt-.*--polyak_epochs 2.5",
        ):
            train.train(hyperparameters, tmp_path / "run")
        assert "warning: beta2" in capsys.readouterr().err
    run = Run(hyperparameters, tmp_path / "run")
    run.restore("last")
    assert run.not_finite() is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["weight", "optimizer"])
def test_what_fails_for_a_weight_that_is_not_finite(kind, value, copied):
    """Whatever operation fails first: the sentence is that of a NaN, and the checkpoint isn't restored."""
    run = Run(tiny_hps(polyak_epochs=3.0), copied)
    variables = run.model.trainable_variables if kind == "weight" else run.optimizer.variables[1:]
    variables[0].assign(tf.fill(variables[0].shape, tf.cast(value, variables[0].dtype)))
    for error in (
        tf.errors.InvalidArgumentError(None, None, "Input is not invertible."),
        tf.errors.InvalidArgumentError(None, None, "Detected nan"),
        NotFiniteError("The loss became nan."),
    ):
        said = train._explain(error, run, run.hyperparameters)
        assert "last good checkpoint is" in said and "ckpt-8" in said and "--lr" in said
    with pytest.raises(NotFiniteError):
        run.save("last")
    # As another program may have left it.
    tf.train.Checkpoint(glow=run.glow, optimizer=run.optimizer, means=run.means).write(
        str(copied / "last" / "ckpt-9")
    )
    run.restore("last")
    assert run.not_finite() is None and run.step == 8


def test_a_singular_matrix(tmp_path):
    run = Run(tiny_hps(), tmp_path)
    error = tf.errors.InvalidArgumentError(None, None, "Input is not invertible.")
    assert "no inverse" in train._explain(error, run, run.hyperparameters)
    assert train._explain(tf.errors.InvalidArgumentError(None, None, "x"), run, run.hyperparameters) is None


@pytest.mark.slow
def test_a_test_loss_that_is_not_finite(copied, monkeypatch):
    """That of the raw weights stops the run, that of the average is null in its log."""
    evaluate = callbacks.evaluate_both

    def poisoned(which):
        def evaluated(*args, **keywords):
            results = evaluate(*args, **keywords)
            return results | {which: results[which] | dict(loss=math.nan, bits_x=math.inf)}

        return evaluated

    monkeypatch.setattr(callbacks, "evaluate_both", poisoned("polyak"))
    train.train(tiny_hps(polyak_epochs=3.0, epochs=3), copied)
    assert rows(copied, "test_polyak.txt")[-1]["loss"] is None
    monkeypatch.setattr(callbacks, "evaluate_both", poisoned("raw"))
    with pytest.raises(UsageError, match="test images became nan.*last good checkpoint.*ckpt-16"):
        train.train(tiny_hps(polyak_epochs=3.0, epochs=4), copied)


def test_files_removed_while_training(tmp_path, eager, monkeypatch, capsys):
    """They are written again, whole, and that is said."""
    logdir = tmp_path / "run"
    evaluate = callbacks.evaluate_both
    removed = iter([lambda: shutil.rmtree(logdir), lambda: (logdir / "hps.json").unlink(), lambda: None])

    def remove(*args, **keywords):
        next(removed)()
        return evaluate(*args, **keywords)

    monkeypatch.setattr(callbacks, "evaluate_both", remove)
    hyperparameters = tiny_hps(epochs=3)
    run = train.train(hyperparameters, logdir)
    assert capsys.readouterr().err.count("files were removed") == 2
    assert hps_json.load(logdir) == hyperparameters and run.saved("last").endswith("ckpt-12")
    for name in ("train.txt", "test.txt", "test_polyak.txt"):
        assert [row["epoch"] for row in rows(logdir, name)] == [1, 2, 3], name
    assert list((logdir / "tensorboard" / "train").glob("events*"))


def test_a_log_cut_anywhere_in_its_last_line(copied, capsys):
    """The row is made again if the run stands at that epoch's end; no row comes twice."""
    whole = {name: (copied / name).read_bytes() for name in ("train.txt", "test.txt", "test_polyak.txt")}
    hyperparameters = tiny_hps(polyak_epochs=3.0)
    (copied / "train.txt").write_bytes(whole["train.txt"][:-20])
    train.train(hyperparameters, copied)
    assert "train.txt is cut" in capsys.readouterr().err
    assert [row["epoch"] for row in rows(copied, "train.txt")] == [1, 2]
    for name in ("test.txt", "test_polyak.txt"):
        assert (copied / name).read_bytes() == whole[name]

    run = Run(hyperparameters, copied)
    run.restore("last")
    last = whole["test.txt"].rindex(b"{")
    for end in range(last + 1, len(whole["test.txt"]), 7):
        (copied / "test.txt").write_bytes(whole["test.txt"][:end])
        log = logs.Log(run, "test.txt", ("loss",))
        assert (copied / "test.txt").read_bytes() == whole["test.txt"][:last]
        log.add(json.loads(whole["test.txt"][last:]))
        assert (copied / "test.txt").read_bytes() == whole["test.txt"]


_BYTES = st.tuples(
    st.integers(0, 10**6), st.sampled_from(["cut", "flip", "insert", "drop"]), st.binary(max_size=3)
)


def mutilated(data: bytes, change) -> bytes:
    """Returns data that is cut, or has bytes changed, inserted or left out."""
    where, kind, new = change
    where %= len(data) + 1
    if kind == "cut":
        return data[:where]
    if kind == "flip":
        return data[:where] + bytes(b ^ 0x15 for b in data[where : where + 1]) + data[where + 1 :]
    return data[:where] + (new if kind == "insert" else b"") + data[where + (kind == "drop") :]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(change=_BYTES)
def test_hps_of_any_bytes(tiny_run, tmp_path_factory, change):
    """It is read, or the sentence names the file."""
    folder = tmp_path_factory.mktemp("hps")
    data = mutilated((tiny_run / "hps.json").read_bytes(), change)
    (folder / "hps.json").write_bytes(data)
    try:
        hyperparameters = hps_json.load(folder)
    except UsageError as error:
        assert str(folder / "hps.json") in str(error)
    else:
        glow_config(hyperparameters)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (dict(width="sixty"), "'width'"),
        (dict(width=None), "'width'"),
        (dict(width=8.5), "'width'"),
        (dict(lr="0.001"), "'lr'"),
        (dict(lr=math.nan), "'lr'"),
        (dict(ycond=1), "'ycond'"),
        (dict(optimizer="sgd"), "adamax"),
        (dict(problem="cats"), "cifar10"),
        (dict(flow_permutation="rotate"), "flow_permutation"),
        (dict(flow_permutation=3), "flow_permutation"),
        (dict(dtype="float16"), "mixed_bfloat16"),
        (dict(n_levels=9), "n_levels"),
        (dict(train_its=0), "train_its"),
        (dict(beta2=1.5), "beta2"),
        (dict(seed=-1), "seed"),
        (dict(width=[8]), "'width'"),
        (dict(classes=["a", "b"]), "'classes'"),
        (dict(classes="abc"), "'classes'"),
    ],
)
def test_hps_with_a_wrong_value(changes, word, tiny_run, tmp_path):
    hyperparameters = json.loads((tiny_run / "hps.json").read_text())
    (tmp_path / "hps.json").write_text(json.dumps(hyperparameters | changes))
    with pytest.raises(UsageError, match=word) as error:
        hps_json.load(tmp_path)
    assert "hps.json" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", '"x"', "{", "{'a': 1}", "[" * 9999, "{}", '{"lr": ' + "9" * 5000 + "}"]
)
def test_hps_that_is_no_object(text, tmp_path):
    (tmp_path / "hps.json").write_text(text)
    with pytest.raises(UsageError, match="hps.json"):
        hps_json.load(tmp_path)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(change=_BYTES)
def test_logs_of_any_bytes(tiny_run, tmp_path_factory, change):
    """They are read, or the sentence names file and line."""
    file = tmp_path_factory.mktemp("log") / "train.txt"
    file.write_bytes(mutilated((tiny_run / "train.txt").read_bytes(), change))
    try:
        objects, _ = logs.read(file, ("epoch", "n_processed"))
        assert all(isinstance(row["epoch"], (int, float)) for row in objects[1:])
    except UsageError as error:
        assert str(file) in str(error) and "line" in str(error)


def test_logs_with_a_wrong_number(copied):
    """No sum of one is a traceback."""
    columns, log = ("epoch", "n_processed", "train_time"), copied / "train.txt"
    first, second, last = log.read_text().splitlines()
    for column, value in itertools.product(
        columns, ["NaN", "Infinity", "-Infinity", "1e400", "1" * 400, "null", "true", '"1"', "[]"]
    ):
        row = json.dumps(json.loads(last) | {column: "HERE"}).replace('"HERE"', value)
        log.write_text("\n".join([first, second, row]) + "\n")
        with pytest.raises(UsageError, match="train.txt, line 3: this is no line of a run's log"):
            logs.read(log, columns)
    with pytest.raises(UsageError, match="train.txt, line 3"):
        train.train(tiny_hps(polyak_epochs=3.0, epochs=3), copied)


@pytest.mark.parametrize("name", ["hps.json", "train.txt", "test.txt", "last", "best", "train.lock"])
def test_a_file_where_a_folder_should_be_and_a_folder_where_a_file(name, copied):
    path = copied / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("mine")
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(UsageError, match=name):
        train.train(tiny_hps(polyak_epochs=3.0, epochs=3), copied)
    assert path.is_dir() or path.read_text() == "mine"


@pytest.mark.parametrize("when", ["_damage", "plain_prefix"])
def test_a_checkpoint_that_is_removed_while_it_is_read(when, tmp_path, monkeypatch):
    """By the training that goes on: the newer one is read, by a command that looks at the run."""
    variable = tf.Variable(0.0)
    checkpoints = Checkpoints(tf.train.Checkpoint(v=variable), tmp_path, 1)
    checkpoints.save(0)
    original, saves = getattr(module, when), iter(range(1, 4))

    def and_train(prefix):
        for number in itertools.islice(saves, 1):
            variable.assign(number)
            checkpoints.save(number)
            variable.assign(-1.0)
        return original(prefix)

    monkeypatch.setattr(module, when, and_train)
    assert checkpoints.restore() == str(tmp_path / "ckpt-3") and float(variable) == 3.0


def test_files_of_a_checkpoint_that_lead_to_nothing(tmp_path, capsys):
    variable = tf.Variable(1.0)
    checkpoints = Checkpoints(tf.train.Checkpoint(v=variable), tmp_path, 3)
    checkpoints.save(1)
    for number, part in ((2, "index"), (3, "data-00000-of-00001")):
        variable.assign(number)
        path = pathlib.Path(f"{checkpoints.save(number)}.{part}")
        path.unlink()
        path.symlink_to("nowhere")
    assert checkpoints.restore() == str(tmp_path / "ckpt-1") and float(variable) == 1.0
    assert "ckpt-3 is damaged" in capsys.readouterr().err


def test_only_checkpoints_of_its_own_are_removed(tmp_path):
    mine = [
        "ckpt-690-copy.index",
        "ckpt-500.tar",
        "ckpt-1.index.bak",
        "ckpt-01.index",
        "ckpt-x",
        "checkpoint",
        "a",
    ]
    mine += [".writing/notes.txt", "writing/ckpt-3.index", "ckpt-2.index/inside"]
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    checkpoints = Checkpoints(tf.train.Checkpoint(v=tf.Variable(1.0)), tmp_path, 2)
    checkpoints.prepare()
    for number in range(3, 7):
        checkpoints.save(number)
    assert [prefix[-1] for prefix in checkpoints.prefixes()] == ["6", "5"]
    assert checkpoints.restore().endswith("ckpt-6")
    for name in mine:
        assert (tmp_path / name).read_text() == "mine", name
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    parts = {f"ckpt-{n}.{part}" for n in (5, 6) for part in ("index", "data-00000-of-00001")}
    assert there == {*mine, *parts}


@pytest.mark.parametrize(
    "name", ["a[1]", "[", "]", "a*", "?", "\\", "a b", "ä🎲", "{a}", "a\nb", "%41", "'\"", "~", "-"]
)
def test_folders_of_any_name(name, tmp_path):
    """A checkpoint is written, found, read and one of three kept."""
    folder = tmp_path / name / "last"
    variable = tf.Variable(1.0)
    checkpoints = Checkpoints(tf.train.Checkpoint(v=variable), folder, 1)
    checkpoints.save(1)
    checkpoints.save(2)
    variable.assign(5.0)
    assert checkpoints.restore() == str(folder / "ckpt-2") and float(variable) == 1.0
    assert len(list(folder.iterdir())) == 2


def test_ctrl_c_sighup_and_sigterm(tmp_path, eager, monkeypatch, capsys):
    """The step ends and is saved; the run goes on; a signal before the first step ends it at once."""
    check = StopOnNotFinite.on_train_batch_end
    signals = {3: signal.SIGINT, 5: signal.SIGHUP, 7: signal.SIGTERM}

    def tell(self, batch, logs=None):
        check(self, batch, logs)
        if self._made in signals:
            os.kill(os.getpid(), signals[self._made])

    handlers = [signal.getsignal(number) for number in signals.values()]
    monkeypatch.setattr(StopOnNotFinite, "on_train_batch_end", tell)
    for step, name in ((3, "Ctrl-C"), (5, "SIGHUP"), (7, "SIGTERM")):
        with pytest.raises(interruptions.Terminated, match=f"{name} after training step {step}"):
            train.train(tiny_hps(), tmp_path / "run")
        assert newest(tmp_path / "run").name == f"ckpt-{step}"
        del signals[step]
        assert ("Ctrl-C again" in capsys.readouterr().err) == (step == 3)
    monkeypatch.setattr(problems, "load", lambda *args: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(interruptions.Terminated, match="before the first training step .* nothing to save"):
        train.train(tiny_hps(), tmp_path / "other")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)] == handlers
    with interruptions.Signals() as signals:
        signals.deferred = True
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received and signal.getsignal(signal.SIGINT) == signal.SIG_DFL


@pytest.mark.slow
def test_a_signal_while_the_first_step_is_traced(tmp_path, monkeypatch):
    """It ends the process, there being nothing to save; the same command begins the run."""
    with monkeypatch.context() as patch:
        patch.setattr(GlowModel, "train_step", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(interruptions.Terminated, match="SIGTERM before the first .*The same command"):
            train.train(tiny_hps(), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("ckpt-*"))
    assert train.train(tiny_hps(epochs=1), tmp_path / "run").step == 4


@pytest.mark.parametrize(
    ("trained", "numbers", "code", "words"),
    [
        (True, [signal.SIGINT, signal.SIGINT], 130, "Ctrl-C again ends at once"),
        (False, [signal.SIGINT], interruptions.TERMINATED, "Ctrl-C before the first training step"),
        (False, [signal.SIGTERM], interruptions.TERMINATED, "SIGTERM before the first training step"),
        (False, [signal.SIGHUP, signal.SIGHUP], interruptions.TERMINATED, "SIGHUP before the first"),
    ],
)
def test_a_signal_while_no_handler_can_be_run(trained, numbers, code, words):
    """As in a training step, which may take minutes: what ends at once does so there."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        sys.stderr = os.fdopen(writer, "w")
        interruptions._SECONDS_TO_END = 0.2
        with interruptions.Signals() as signals:
            signals.deferred = trained
            print("ready", file=sys.stderr, flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)  # Half a minute without Python.
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.readline() == "ready\n"
        for i, number in enumerate(numbers):
            time.sleep(0.1)
            os.kill(child, number)
            if trained and i == 0:
                assert said.readline() == "\n" and words in said.readline()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
        assert trained or words in said.read()


def test_a_signal_during_an_evaluation(tmp_path, eager, monkeypatch):
    """It is left, and made again when the run goes on."""
    evaluate = callbacks.evaluate_both

    def signalled(*args, **keywords):
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "evaluate_both", signalled)
        with pytest.raises(interruptions.Terminated, match="after training step 4"):
            train.train(tiny_hps(epochs=1), tmp_path / "run")
    assert not rows(tmp_path / "run", "test.txt")
    train.train(tiny_hps(epochs=1), tmp_path / "run")
    assert len(rows(tmp_path / "run", "test.txt")) == 1


def test_two_processes_in_one_logdir(tmp_path):
    """The second is told; the lock ends with the first, also by kill -9."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        Logdir(tmp_path / "run").__enter__()
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    with pytest.raises(UsageError, match="Another process trains"):
        train.train(tiny_hps(), tmp_path / "run")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with Logdir(tmp_path / "run"), pytest.raises(UsageError, match="Another process trains"):
        Logdir(tmp_path / "run").__enter__()
    with Logdir(tmp_path / "run"):
        pass


def test_a_folder_without_locks_or_without_the_right_to_write(tmp_path, monkeypatch, capsys):
    def fails(number):
        def call(*args):
            raise OSError(number, os.strerror(number))

        return call

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fails(errno.ENOLCK))
        with Logdir(tmp_path):
            assert "can't be locked" in capsys.readouterr().err
    for number in (errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fails(number))
            with pytest.raises(UsageError, match=os.strerror(number)):
                Logdir(tmp_path).__enter__()
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "in" / "it", tmp_path / ("n" * 300), "/proc/x/y"):
        with pytest.raises(UsageError, match="--logdir"):
            Logdir(path).__enter__()
    assert (tmp_path / "file").read_text() == "mine"


def test_any_error_of_the_system_while_writing(copied, monkeypatch):
    """It is a sentence that names the file and the last good checkpoint."""
    for number in (errno.EACCES, errno.EIO, errno.EROFS, errno.ENOSPC, errno.EMFILE):

        def fail(self, *args, number=number, **keywords):
            raise OSError(number, os.strerror(number), str(self))

        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, "replace", fail)
            with pytest.raises(UsageError, match=f"({os.strerror(number)}|full).*ckpt-8.*same command"):
                train.train(tiny_hps(polyak_epochs=3.0, epochs=3), copied)
    assert train.train(tiny_hps(polyak_epochs=3.0, epochs=3), copied).step == 12
