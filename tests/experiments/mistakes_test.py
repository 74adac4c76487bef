"""What users get wrong on the command line: every one is answered by a sentence, and the exit code 2."""

import errno
import itertools
import json
import os
import signal
import types

import pytest
import tensorflow as tf
from absl import app
from absl.testing import flagsaver

from experiments import cli, export, settings, train
from experiments.cli import command
from experiments.runs import workers
from experiments.settings import hps_json
from experiments.settings.hyperparameters import GIVEN
from tests.support import commands

# Values that hardly any flag takes, of every kind that is typed by mistake.
_VALUES = ["", "-1", "nan", "-inf", "1e400", "9" * 30, "/dev/null/x", "🎲", "0", "1.5", "True", "--", "'"]


@pytest.fixture(scope="module", autouse=True)
def training_flags():
    """The flags of the training command, in this process."""
    with flagsaver.flagsaver():
        train.define_flags()
        yield


def read(*arguments) -> settings.Hyperparameters:
    """Returns the hyperparameters of a command line of the training."""
    with flagsaver.flagsaver():
        command.parse(["train", *map(str, arguments)])
        return settings.resolve(settings.given_flags())


def test_flags_of_any_value():
    """Each is taken, or refused in a sentence that names the flag."""
    names = [*GIVEN, "save_every", "strategy", "logical_cpus", "micro_batch", "xla"]
    taken = 0
    for name, value in itertools.product(names, _VALUES):
        try:
            read(f"--{name}={value}")
            taken += 1
        except cli.UsageError as error:
            assert name in str(error), (name, value, error)
    assert 50 < taken < 200


def test_flags_are_looked_at_before_other_workers_are_waited_for(monkeypatch, capsys):
    cluster = {"worker": ["host0:2222", "host1:2222"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    monkeypatch.setattr(workers, "wait_for_all", lambda cluster: pytest.fail("it waits"))
    for mistake in ("--depth=0", "--n_levels=99", "--problem=nothing", "--logdir="):
        with flagsaver.flagsaver(), pytest.raises(cli.UsageError, match=mistake.partition("=")[0][2:]):
            command.parse(["train", mistake])
            train.main([])
    with flagsaver.flagsaver():
        command.parse(["train", "--problem=cifar10", "--dry_run"])
        train.main([])
    assert json.loads(capsys.readouterr().out)["train_its"] == 782, "50,000 images by batches of 64"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", -1], ["seed", "4294967295", "-1"]),
        (["--seed", 2**32], ["seed", "4294967295", 2**32]),
        (["--lr", "nan"], ["lr", "nan"]),
        (["--lr"], ["lr"]),
        (["--beta1", 2], ["beta1", "2"]),
        (["--polyak_epochs", 1e9], ["polyak_epochs", "float32"]),
        (["--n_levels", 99], ["n_levels", "99"]),
        (["--epochs", -1], ["epochs", "-1"]),
        (["--depht", 2], ["depht", "depth"]),
        (["--log_dir", "x"], ["--logdir"]),
        (["--learntop=3"], ["learntop"]),
        (["--nolearntop=3"], ["learntop"]),
        (["--flow_permutation", "rotate"], ["rotate", "invconv"]),
        (["--logdir", "\udcff"], ["UTF-8"]),
        (["--restore_path=logs/x"], ["restore_path", "--logdir"]),
        (["--restore_path", "logs/x"], ["restore_path", "--openai_checkpoint"]),
        (["--inference"], ["inference", "evaluate"]),
        (["--noinference"], ["inference", "evaluate"]),
        (["--verbose"], ["verbose", "leave it out"]),
        (["--fmap=1"], ["fmap", "tf.data"]),
        (["--pmap", 16], ["pmap", "tf.data"]),
        (["--rnd_crop"], ["rnd_crop", "lsun_realnvp"]),
        (["--debug_init"], ["debug_init", "leave it out"]),
        (["--nofmap"], ["fmap", "tf.data"]),
        (["-pmap", 16], ["pmap", "tf.data"]),
        (["--norestore_path"], ["restore_path", "--logdir"]),
        (["--restore_path"], ["restore_path", "--logdir"]),
        (["--rest=x"], ["restore_path", "--logdir"]),
        (["--learntop=yes"], ["learntop", "yes", "true or false"]),
        (["--depth=1e1"], ["depth", "1e1", "an integer"]),
        (["--depth", "two"], ["depth", "two", "an integer"]),
        (["--lr=1e-3x"], ["lr", "1e-3x", "a number"]),
        (["--lr="], ["lr", "a number"]),
    ],
)
def test_a_flag_that_is_not_taken(arguments, words):
    with pytest.raises(cli.UsageError) as error:
        read(*arguments)
    for word in words:
        assert str(word) in str(error.value)


def test_beginnings_of_flags():
    """As argparse takes them, which the original uses."""
    short = read("--n_lev", 1, "--flow_perm=0", "--learn", "--n_batch_tr", 8, "--n_level", 2)
    assert (short.n_levels, short.flow_permutation, short.n_batch_train) == (2, "reverse", 8)
    with pytest.raises(cli.UsageError, match="n_batch"):
        read("--n_batch", 8)


def test_commands_end_with_2(digits_run, tmp_path):
    """The commands themselves."""
    file = tmp_path / "file"
    file.write_text("mine")
    cases = [
        (["train", "--seed", "-1"], ["seed", "-1"]),
        (["train", "--fmap", "2"], ["fmap"]),
        (["train", "depth", "3"], ["depth"]),
        (["train", "--logdir="], ["--logdir"]),
        (["train", "--logdir", file], [file]),
        (["train", "--logdir", file / "in"], [file]),
        (["train", "--width", "1000000000", "--logdir", tmp_path / "a"], ["memory", "width"]),
        (["train", "--n_batch_train", "1000000000", "--logdir", tmp_path / "b"], ["memory", "at once"]),
        (["train", "--logdir", digits_run, "--width", "32"], ["width: 16 there, 32 here"]),
        (["evaluate", "--logdir", digits_run, "--width", "32"], ["--width 32", "16"]),
        (["evaluate", "--logdir", digits_run, "--n_batch_test", "0"], ["n_batch_test", "0"]),
        (["evaluate", "--logdir", digits_run, "--draws", "-1"], ["draws", "-1"]),
        (["evaluate", "--logdir", digits_run, "--draws", "x"], ["draws", "x"]),
        (["evaluate", "--logdir", digits_run, "--world_size", "2"], ["--world_size 2", "1"]),
        (["train", "--logdir", digits_run, "--world_size", "2"], ["world_size: 1 there, 2 here"]),
        (["evaluate", "--logdir", file], ["no run"]),
        (["sample", "--logdir", digits_run, "--seed", "-1"], ["seed", "-1"]),
        (["sample", "--logdir", digits_run, "--temperature", "1e300"], ["temperature"]),
        (["reproduce", "--row", "cats"], ["cats", "cifar10"]),
        (["records", "--imags", "x"], ["imags", "images"]),
    ]
    lines = [line for line, _ in cases]
    for (line, words), (code, out, err) in zip(cases, commands.run_many(lines), strict=True):
        assert code == 2 and "Traceback" not in err, (line, code, out, err)
        for word in words:
            assert str(word) in err[err.index("error: ") :], (line, word, err)
    assert file.read_text() == "mine"


def test_logdir_alone_goes_on_with_its_run(digits_run):
    hyperparameters = json.loads((digits_run / "hps.json").read_text())
    assert hps_json.to_json(hps_json.going_on(digits_run, {})) == hyperparameters
    longer = dict(epochs=9, data_dir="x", n_batch_test=7, epochs_full_valid=2, epochs_full_sample=3)
    assert hps_json.to_json(hps_json.going_on(digits_run, longer)) == hyperparameters | longer
    with pytest.raises(cli.UsageError, match="depth: 2 there, 3 here"):
        hps_json.going_on(digits_run, dict(depth=3))
    printed, helped = commands.run_many([["train", "--dry_run", "--logdir", digits_run], ["train", "--help"]])
    assert json.loads(printed[1]) == hyperparameters
    assert helped[0] == 0 and "--depth" in helped[1]


def test_what_the_machine_refuses_is_a_sentence(monkeypatch, capsys):
    """And what may be the program's fault keeps its traceback."""
    path = "/x/y"
    refused = [OSError(number, os.strerror(number), path) for number in errno.errorcode]
    refused += [
        tf.errors.NotFoundError(None, None, f"{path}; No such file or directory"),
        tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied"),
        tf.errors.UnknownError(None, None, f"{path}; Input/output error"),
        tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on device"),
        tf.errors.DataLossError(None, None, f"corrupted record in {path}"),
    ]
    for error in refused:
        assert path in cli.explain(error), error
    assert "memory" in cli.explain(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"))
    assert "memory" in cli.explain(MemoryError())
    for error in (
        TypeError("x"),
        AssertionError(),
        KeyError("k"),
        tf.errors.InvalidArgumentError(None, None, "x"),
    ):
        assert cli.explain(error) is None

    def ends(error):
        def run(*args, **keywords):
            raise error

        monkeypatch.setattr(app, "run", run)
        with pytest.raises(SystemExit) as end:
            cli.run(lambda argv: None)
        return end.value.code, capsys.readouterr().err

    code, said = ends(PermissionError(errno.EACCES, "Permission denied", path))
    assert code == 2 and said == f"error: Can't use '{path}': Permission denied.\n"
    assert ends(KeyboardInterrupt()) == (128 + signal.SIGINT, "interrupted.\n")
    with pytest.raises(TypeError):
        ends(TypeError("a fault"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_exporting_is_ctrl_c(number, tmp_path, monkeypatch):
    """So the command ends by Python's own way, on which temporary folders are removed."""
    before = {other: signal.getsignal(other) for other in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(export, "FLAGS", types.SimpleNamespace(export_dir=str(tmp_path)))
    monkeypatch.setattr(export.runs, "load_for_inference", lambda: os.kill(os.getpid(), number))
    try:
        with pytest.raises(KeyboardInterrupt):
            export.main([])
        assert signal.getsignal(number) == signal.SIG_IGN  # A second one doesn't interrupt the removal.
        cli.end_as_by_ctrl_c()
        assert signal.getsignal(number) == signal.SIG_IGN  # As nohup has it.
    finally:
        for other, handler in before.items():
            signal.signal(other, handler)
