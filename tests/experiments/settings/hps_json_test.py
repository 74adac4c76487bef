"""hps.json: the keys and numbers of every run so far."""

import dataclasses
import json
import math
import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.cli import UsageError
from experiments.settings import hps_json, resolve

EARLIER = pathlib.Path(__file__).parents[1] / "earlier" / "run"
ON_TWO_REPLICAS = EARLIER.parent / "two_replicas"


def write(logdir, values):
    (logdir / "hps.json").write_text(json.dumps(values))


def test_keys_and_their_order_are_those_of_an_earlier_run():
    there = json.loads((EARLIER / "hps.json").read_text())
    now = hps_json.to_json(resolve({}))
    own = dict(world_size=1, context="")
    assert {name: now.pop(name) for name in own} == own
    assert list(now) == list(there)
    assert hps_json.to_json(hps_json.load(EARLIER)) == there | own
    for name, value in now.items():
        assert type(value) is type(there[name]), name


def earlier_run(logdir, train_its, rows=(), n_train=256, n_batch_train=16):
    """Writes what a run without world_size kept: hps.json, and (epoch, n_processed) in train.txt."""
    values = hps_json.to_json(resolve(dict(n_train=n_train, n_batch_train=n_batch_train)))
    del values["world_size"]
    write(logdir, values | dict(train_its=train_its, beta2=1 - 1 / train_its))
    lines = [values, *(dict(epoch=epoch, n_processed=n) for epoch, n in rows)]
    (logdir / "train.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 12, 16, 17, 40, 100])
def test_the_replicas_of_an_earlier_run_are_its_world_size(n, tmp_path):
    """By the steps per epoch, or by what the log says a step processed."""
    its = math.ceil(256 / (16 * n))
    earlier_run(tmp_path, its, [(1, 16 * n * its), (2, 2 * 16 * n * its)])
    assert hps_json.load(tmp_path).world_size == n
    resolved = hps_json.going_on(tmp_path, {})
    assert (resolved.world_size, resolved.train_its) == (n, its)
    assert hps_json.going_on(tmp_path, dict(world_size=n)) == resolved
    with pytest.raises(UsageError, match=f"world_size: {n} there, {n + 1} here"):
        hps_json.going_on(tmp_path, dict(world_size=n + 1))
    hps_json.save(resolved, tmp_path)
    (tmp_path / "train.txt").unlink()
    assert (
        json.loads((tmp_path / "hps.json").read_text())["world_size"]
        == n
        == hps_json.load(tmp_path).world_size
    )


def test_where_nothing_tells_the_replicas_of_an_earlier_run_they_are_asked_for(tmp_path):
    """To read it, they don't matter."""
    earlier_run(tmp_path, 3)
    (tmp_path / "train.txt").write_text('{}\n[[\n{"epoch": 0, "n_processed": 5}\n{"epoch": 1}\n7\n')
    assert hps_json.load(tmp_path).world_size == 6
    assert hps_json.for_reading(tmp_path, {}).world_size == 6
    with pytest.raises(UsageError, match="6 to 7 make its 3 steps per epoch. Give --world_size"):
        hps_json.going_on(tmp_path, {})
    resolved = hps_json.going_on(tmp_path, dict(world_size=7))
    hps_json.save(resolved, tmp_path)
    assert hps_json.load(tmp_path) == resolved == hps_json.going_on(tmp_path, {})
    earlier_run(tmp_path, 3)
    with pytest.raises(UsageError, match="world_size: 6 there, 9 here"):
        hps_json.going_on(tmp_path, dict(world_size=9))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict(
            problem=st.sampled_from(["digits", "cifar10", "mnist"]),
            flow_permutation=st.sampled_from([0, 1, 2, "0", "2", "reverse", "shuffle", "invconv"]),
            flow_coupling=st.sampled_from([0, 1, "1", "additive", "affine"]),
            depth=st.integers(1, 99),
            lr=st.floats(0, 1e30),
            epochs_warmup=st.floats(0, 1e9),
            learntop=st.booleans(),
            ycond=st.booleans(),
            seed=st.integers(0, 2**32 - 1),
            world_size=st.integers(1, 99),
            data_dir=st.text(),
            dtype=st.sampled_from(["float32", "mixed_bfloat16"]),
        ),
    )
)
def test_what_is_written_is_read(given):
    resolved = resolve(given)
    values = json.loads(json.dumps(hps_json.to_json(resolved)))
    assert hps_json.from_json(values, "x") == resolved
    words = ["reverse", "shuffle", "invconv"], ["additive", "affine"]
    for name, allowed in zip(("flow_permutation", "flow_coupling"), words, strict=True):
        assert values[name] == allowed.index(getattr(resolved, name))


def test_classes_are_kept():
    resolved = dataclasses.replace(resolve({}), classes=("cat", "dog"), n_y=2)
    values = hps_json.to_json(resolved)
    assert values["classes"] == ["cat", "dog"]
    assert hps_json.from_json(values, "x") == resolved


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_is_no_object(value):
    with pytest.raises(UsageError, match="x must be a JSON object, got"):
        hps_json.from_json(value, "x")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pathlib.Path.mkdir, "Can't read .*hps.json: Is a directory"),
        (os.mkfifo, "Can't read .*hps.json: it is a pipe"),
        (lambda path: path.symlink_to("nowhere"), "Can't read .*hps.json: No such file"),
        (lambda path: path.write_bytes(b"\xff{}"), "hps.json: this is no JSON"),
    ],
    ids=["directory", "pipe", "link", "bytes"],
)
def test_what_is_no_file_of_text(make, words, tmp_path):
    make(tmp_path / "hps.json")
    with pytest.raises(UsageError, match=words):
        hps_json.load(tmp_path)


def test_own_hyperparameters_may_be_missing_and_no_others():
    """Runs were begun before them."""
    whole = hps_json.to_json(resolve({}))
    for name in whole:
        values = {key: value for key, value in whole.items() if key != name}
        if name in ("dtype", "clip_norm", "n_channels", "world_size", "context"):
            hps_json.from_json(values | dict(n_channels=1), "x")
        else:
            with pytest.raises(UsageError, match=f"x lacks '{name}'"):
                hps_json.from_json(values, "x")


def test_a_run_of_a_later_version_is_read_but_not_gone_on_with(tmp_path):
    write(tmp_path, hps_json.to_json(resolve({})) | dict(novelty=3))
    assert hps_json.load(tmp_path) == resolve({})
    with pytest.raises(UsageError, match="novelty: 3 there, None here"):
        hps_json.going_on(tmp_path, {})


def test_saving_twice_keeps_the_file_and_another_run_isnt_overwritten(tmp_path):
    hps_json.save(resolve({}), tmp_path)
    before = (tmp_path / "hps.json").stat().st_mtime_ns
    hps_json.save(resolve({}), tmp_path)
    assert (tmp_path / "hps.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="flow_coupling: 1 there, 0 here"):
        hps_json.save(resolve(dict(flow_coupling="additive")), tmp_path)
    hps_json.save(resolve(dict(epochs=99)), tmp_path)
    assert hps_json.load(tmp_path).epochs == 99


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({}, {}),
        (dict(flow_coupling="affine", flow_permutation="2", depth=8, n_channels=-1, image_size=-1), {}),
        (dict(seed=7), {}),
        (dict(data_dir="x", n_test=7, n_batch_test=3), dict(data_dir="x", n_test=7, n_batch_test=3)),
        (dict(n_test=-1), dict(n_test=360)),
        (dict(flow_coupling="0"), "--flow_coupling 0 is given, but the run in .* has 'affine'"),
        (dict(depth=3), "--depth 3 is given, but the run in .* has 8"),
        (dict(n_batch_test=0), "--n_batch_test must be"),
        (dict(lr=float("nan")), "--lr must be"),
    ],
)
def test_flags_of_a_command_that_reads_a_run(given, answer, tmp_path):
    hps_json.save(resolve({}), tmp_path)
    if isinstance(answer, str):
        with pytest.raises(UsageError, match=answer):
            hps_json.for_reading(tmp_path, given)
    else:
        expected = dataclasses.replace(resolve({}), **answer)
        assert hps_json.for_reading(tmp_path, given) == expected
