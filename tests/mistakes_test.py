"""What users get wrong on the command line: every one is answered by a sentence, and the exit code 2."""

import errno
import itertools
import json
import os
import random
import signal

import pytest
import tensorflow as tf
from absl import app

from experiments import cli, configs
from tests import commands

# Values that hardly any flag takes, of every kind that is typed by mistake.
_VALUES = ["", "-1", "nan", "-inf", "1e400", "9" * 30, "/dev/null/x", "🎲", "0", "1.5", "True", "--", "'"]

_NOT_HERE = {
    "--restore_path=logs/x": "--logdir",
    "--inference": "evaluate",
    "--noinference": "evaluate",
    "--verbose": "leave it out",
    "--fmap=1": "tf.data",
    "--pmap=16": "tf.data",
    "--rnd_crop": "lsun_realnvp",
    "--debug_init": "leave it out",
}


def assert_a_sentence(line, code, out, err, *words):
    """Asserts that a command said what is wrong in a paragraph, and ended with 2."""
    assert code == 2 and "Traceback" not in err, (line, code, out, err)
    said = err[err.index("error: ") :]
    for word in words:
        assert str(word) in said, (line, word, said)


def test_flags_of_training():
    """Every flag with every value, without training: the result is printed, or a sentence."""
    names = [
        *(configs.DEFAULTS | configs.OWN_DEFAULTS),
        "logdir",
        "save_every",
        "strategy",
        "xla",
        "download",
    ]
    rng = random.Random(0)
    pairs = rng.sample(list(itertools.product(names, _VALUES)), 120)
    lines = [["train", "--dry_run", f"--{name}={value}"] for name, value in pairs]
    lines += [["train", "--dry_run", "--lr"], ["train", "--dry_run", "depth", "3"], ["train", "--learntop=3"]]
    for line, (code, out, err) in zip(lines, commands.run_many(lines), strict=True):
        if code == 0:
            assert json.loads(out)["problem"] == "digits", line
        else:
            assert_a_sentence(line, code, out, err)


def test_mistakes_name_what_is_allowed(digits_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    wide = ["--width", "1000000000", "--logdir", tmp_path / "a"]
    cases = [
        (["train", "--seed", "-1"], ["seed", "4294967295", "-1"]),
        (["train", "--seed", 2**32], ["seed", "4294967295", 2**32]),
        (["train", "--lr", "nan"], ["lr", "nan"]),
        (["train", "--beta1", "2"], ["beta1", "2"]),
        (["train", "--polyak_epochs", "1e9"], ["polyak_epochs", "float32"]),
        (["train", "--depht", "2"], ["depht", "depth"]),
        (["train", "--log_dir", "x"], ["--logdir"]),
        (["train", "--flow_permutation", "rotate"], ["rotate", "invconv"]),
        (["train", "--logdir="], ["--logdir"]),
        (["train", "--logdir", tmp_path / "file"], [tmp_path / "file"]),
        (["train", "--logdir", tmp_path / "file" / "in"], [tmp_path / "file"]),
        (["train", "--logdir", tmp_path / ("n" * 300)], ["name too long"]),
        (["train", *wide], ["memory", "width"]),
        (["train", "--n_batch_train", "1000000000", "--logdir", tmp_path / "b"], ["memory", "at once"]),
        (["train", "--logdir", digits_run, "--width", "32"], ["width: 16 there, 32 here"]),
        (["evaluate", "--logdir", digits_run, "--width", "32"], ["--width 32", "16"]),
        (["evaluate", "--logdir", digits_run, "--n_batch_test", "0"], ["n_batch_test", "0"]),
        (["evaluate", "--logdir", tmp_path / "file"], ["no run"]),
        (["sample", "--logdir", digits_run, "--seed", "-1"], ["seed", "-1"]),
        (["sample", "--logdir", digits_run, "--temperature", "nan"], ["temperature"]),
        (["sample", "--logdir", digits_run, "--temperature", "1e300"], ["temperature"]),
        (["sample", "--logdir", digits_run, "--rows", "9" * 9], ["rows"]),
        (["reproduce", "--row", "cats"], ["cats", "cifar10"]),
        (["reproduce", "--ablation", "--seeds", "x"], ["seeds", "x"]),
        *(
            (["train", flag], [flag.lstrip("-").removeprefix("no").split("=")[0], word])
            for flag, word in _NOT_HERE.items()
        ),
    ]
    for (line, words), result in zip(cases, commands.run_many([line for line, _ in cases]), strict=True):
        assert_a_sentence(line, *result, *words)
    assert (tmp_path / "file").read_text() == "mine"


def test_logdir_alone_and_beginnings_of_flags(digits_run):
    hps = json.loads((digits_run / "hps.json").read_text())
    lines = [
        ["train", "--dry_run", "--logdir", digits_run],
        ["train", "--dry_run", "--logdir", digits_run, "--epochs", 9, "--data_dir", "x"],
        ["train", "--dry_run", "--n_lev", 1, "--flow_perm=0", "--learn", "--n_batch_tr", 8],
        ["train", "--help"],
    ]
    alone, longer, short, helped = commands.run_many(lines)
    assert json.loads(alone[1]) == hps
    assert json.loads(longer[1]) == hps | dict(epochs=9, data_dir="x")
    short = json.loads(short[1])
    assert (short["n_levels"], short["flow_permutation"], short["n_batch_train"]) == (1, 0, 8)
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
