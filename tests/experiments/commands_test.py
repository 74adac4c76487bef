"""The commands, run as a user runs them, on real images."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments.settings.rows import ROWS
from tests.support import commands
from tests.support.golden import CASES, Case, require_cases

ORIGINAL = [
    "--problem cifar10 --image_size 32 --n_level 3 --depth 32 --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8",
    "--problem cifar10 --image_size 32 --n_level 3 --depth 32 --flow_permutation 1 --flow_coupling 0 --seed 2 --learntop --lr 0.001",
    "--problem imagenet-oord --image_size 32 --n_level 3 --depth 48 --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8",
    "--problem imagenet-oord --image_size 64 --n_level 4 --depth 48 --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8",
    "--problem lsun_realnvp --category church_outdoor --image_size 64 --n_level 3 --depth 48 --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8",
    "--problem celeba --image_size 256 --n_level 6 --depth 32 --flow_permutation 2 --flow_coupling 0 --seed 0 --learntop --lr 0.001 --n_bits_x 5",
    "--problem lsun --category tower --image_size 96 --n_level 5 --depth 64 --flow_permutation 2 --flow_coupling 0 --seed 0 --learntop --lr 0.001 --n_bits_x 5",
    "--problem lsun --category bedroom --image_size 128 --n_level 5 --depth 64 --flow_permutation 2 --flow_coupling 0 --seed 0 --learntop --lr 0.001 --n_bits_x 5",
    "--problem cifar10 --image_size 32 --n_level 3 --depth 32 --flow_permutation 2 --flow_coupling 0 --seed 0 --learntop --lr 0.001 --n_bits_x 5 --ycond --weight_y=0.01",
    "--problem imagenet --image_size 32 --n_level 3 --depth 48 --flow_permutation 2 --flow_coupling 0 --seed 0 --learntop --lr 0.001 --n_bits_x 5 --ycond --weight_y=0.01",
    "--depth 1",
]


def flags_of(line: str) -> dict:
    """Returns the hyperparameters that a command line of the original gives."""
    words = line.replace("=", " ").split()
    flags = {}
    for name, value in zip(words, [*words[1:], "--"], strict=True):
        if name.startswith("--"):
            flags[name[2:].replace("n_level", "n_levels")] = True if value.startswith("--") else value
    return flags


def test_the_originals_commands_are_accepted():
    """And words for its integers."""
    words = "--flow_permutation shuffle --flow_coupling affine"
    *results, of_words = commands.run_many(
        [["train", "--dry_run", *line.split()] for line in [*ORIGINAL, words]]
    )
    for line, (code, out, err) in zip(ORIGINAL, results, strict=True):
        assert code == 0, (line, err)
        printed = json.loads(out)
        for name, value in flags_of(line).items():
            assert printed[name] == type(printed[name])(value), (line, name)
    printed = json.loads(of_words[1])
    assert (printed["flow_permutation"], printed["flow_coupling"]) == (1, 1)


def test_rows_are_the_originals_commands():
    resolved = [row.flags for row in ROWS.values()]
    for line in ORIGINAL[:-1]:
        flags = {
            name: value if isinstance(value, bool) else str(value) for name, value in flags_of(line).items()
        }
        # World sizes are those of the README's `mpiexec -n N`.
        flags["world_size"] = "40" if flags["problem"] in ("celeba", "lsun") else "8"
        texts = [{k: v if isinstance(v, bool) else str(v) for k, v in row.items()} for row in resolved]
        if flags.get("seed") != "0":
            flags["seed"] = "0"  # The rows have the first seed.
        assert flags in texts, line


def test_train_evaluate_sample(digits_run, tmp_path):
    rows = [json.loads(line) for line in (digits_run / "train.txt").read_text().splitlines()]
    assert rows[0]["depth"] == 2 and [row["epoch"] for row in rows[1:]] == [1, 2, 3]
    columns = {"epoch", "n_processed", "n_images", "train_time", "loss", "bits_x", "bits_y", "pred_loss"}
    assert set(rows[1]) == columns
    test = [json.loads(line) for line in (digits_run / "test.txt").read_text().splitlines()]
    assert test[-1]["bits_x"] < test[1]["bits_x"] < 5

    result = json.loads(commands.run("evaluate", "--logdir", digits_run, "--draws", "2"))
    assert result["test_images"] == 360 and result["inverse_error"] < 1e-4
    best = min(test[1:], key=lambda row: row["loss"])
    assert abs(result["raw"]["bits_x"] - best["bits_x"]) < 1e-4
    assert result["raw"]["bits_x"] != result["polyak"]["bits_x"]
    assert result["draws"]["k"] == 2
    for weights in ("raw", "polyak"):
        drawn, one = result["draws"][weights], result[weights]["bits_x"]
        assert drawn["importance_weighted_bound"] < drawn["bits_x"] and abs(drawn["bits_x"] - one) < 0.05
        assert drawn["bits_x"] != one and 0 < drawn["bits_x_error"] < 0.05

    out = tmp_path / "samples.png"
    commands.run("sample", "--logdir", digits_run, "--out", out, "--temperature", "0,1", "--rows", "2")
    picture = np.asarray(Image.open(out))
    assert picture.shape == (4 * 34, 10 * 34, 3)
    cold, warm = np.split(picture, 2)
    np.testing.assert_array_equal(*np.split(cold, 2))
    assert (warm[:34] != warm[34:]).any()

    for i in range(8):
        assert Image.open(digits_run / f"epoch_3_sample_{i}.png").size == (340, 340)
    events = list((digits_run / "tensorboard").rglob("events*"))
    tags = {
        v.tag
        for file in events
        for e in tf.compat.v1.train.summary_iterator(str(file))
        for v in e.summary.value
    }
    assert {"epoch_bits_x", "epoch_test_bits_x"} <= tags


@pytest.mark.slow
def test_a_run_goes_on(tmp_path):
    """Two epochs and then the third lead where three lead."""
    tiny = ["--n_levels=1", "--depth=1", "--width=4", "--n_train=64", "--n_batch_train=16"]
    tiny.append("--epochs_full_valid=1")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    commands.run("train", "--logdir", whole, *tiny, "--epochs", 3)
    commands.run("train", "--logdir", parts, *tiny, "--epochs", 2)
    printed = commands.run("train", "--logdir", parts, *tiny, "--epochs", 3)
    assert "after epoch 2" in printed
    last = lambda logdir: json.loads((logdir / "test.txt").read_text().splitlines()[-1])
    assert last(whole) == last(parts)


@require_cases
def test_openai_checkpoint(tmp_path):
    name = next(n for n in CASES if n.startswith("case1"))
    case = Case(name)
    flags = [
        f"--{k}={case.hps[k]}"
        for k in ("image_size", "n_levels", "depth", "width", "n_bits_x", "flow_permutation", "flow_coupling")
    ]
    arguments = ["--openai_checkpoint", case.checkpoint("trained"), "--problem", "cifar10", *flags]
    out = tmp_path / "samples.png"
    commands.run("sample", *arguments, "--learntop", "--out", out, "--rows", "1")
    assert Image.open(out).height >= 32
    assert "model/prior/p/W" in commands.run("sample", *arguments, fails=True)


MISTAKES = [
    ("train", "--problem cats", ["cats", "digits"]),
    ("train", "--image_size 6", ["6", "4"]),
    ("train", "--n_bits_x 9", ["n_bits_x", "9"]),
    ("train", "--dal 3", ["dal", "3"]),
    ("train", "--epochs 0", ["epochs", "0"]),
    ("train", "--flow_permutation rotate", ["rotate"]),
    ("train", "--problem cifar10 --data_dir {empty}", ["{empty}", "--download"]),
    ("train", "--problem cifar10 --data_dir {broken}", ["{broken}"]),
    ("train", "--logdir {run} --depth 3 --width 16", ["depth", "2", "3"]),
    ("evaluate", "--logdir {empty}", ["{empty}", "hps.json"]),
    ("evaluate", "", ["--logdir", "--openai_checkpoint"]),
    ("evaluate", "--openai_checkpoint {empty}/none.ckpt", ["none.ckpt"]),
    ("sample", "--logdir {run} --temperature -1", ["-1"]),
    ("sample", "--logdir {run} --temperature warm", ["warm"]),
]


def test_mistakes_are_told_in_a_paragraph(digits_run, tmp_path):
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    (broken / "cifar10" / "3.0.2").mkdir(parents=True)
    (broken / "cifar10" / "3.0.2" / "dataset_info.json").write_text("{")
    fill, mistakes = dict(empty=empty, broken=broken, run=digits_run), list(MISTAKES)
    if CASES:
        fill["golden"] = Case(CASES[0]).checkpoint("raw")
        mistakes.append(("evaluate", "--openai_checkpoint {golden}", ["missing", "model/0/0"]))
    lines = [[command, *arguments.format(**fill).split()] for command, arguments, _ in mistakes]
    results = commands.run_many(lines)
    for line, (_, _, words), (code, _, message) in zip(lines, mistakes, results, strict=True):
        assert code == 2 and "Traceback" not in message, (line, message)
        for word in words:
            assert word.format(**fill) in message, (line, message)
