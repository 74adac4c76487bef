"""The table of the paper's rows, and the ablation."""

import dataclasses
import json

import pytest
from PIL import Image

import glow_tf
from experiments import reproduce
from experiments.settings import parameter_count
from experiments.settings.rows import ROWS
from tests.support import commands

SMALL = dict(image_size=16, n_levels=2, depth=5, width=8)


@pytest.mark.parametrize(
    "changes", [{}, dict(flow_coupling="additive", learntop=False), dict(flow_permutation="shuffle")]
)
def test_parameters_are_counted(changes):
    config = glow_tf.GlowConfig(**SMALL | changes)
    counted = sum(v.shape.num_elements() for v in glow_tf.Glow(config).trainable_variables)
    assert parameter_count.parameters(config) == counted


def test_multiplications_of_a_level_by_hand():
    config = glow_tf.GlowConfig(image_size=4, n_levels=1, depth=2, width=8)
    # 2 steps, 2x2 places, 12 channels: 3x3x6x8, 8x8 and 3x3x8x12.
    assert parameter_count.multiplications(config) == 2 * 4 * (9 * 6 * 8 + 8 * 8 + 9 * 8 * 12)
    assert parameter_count.activations(config) == 2 * 4 * (12 + 2 * 8 + 6)


def test_memory_of_a_training_step():
    """Its parts by hand; the micro-batch is the largest that takes half of the memory."""
    config = glow_tf.GlowConfig(image_size=4, n_levels=1, depth=3, width=8, keep_bytes=5 * 2 * 4 * 4 * 34)
    state, hidden, step = 24 * parameter_count.parameters(config), 3 * 4 * 4 * 8, 4 * 4 * 34
    images = 6 * 4 * 4 * 4 * 3
    needed = [state + n * (images + hidden + kept * step) for n, kept in ((2, 3), (4, 2), (8, 1), (16, 0))]
    assert [parameter_count.training_bytes(config, n) for n in (2, 4, 8, 16)] == needed
    for batch_size, memory, at_once in (
        (4, needed[1], 4),
        (5, needed[1], 4),
        (99, needed[3], 16),
        (99, needed[3] - 1, 8),
        (3, 0, 1),
    ):
        assert parameter_count.micro_batch(config, batch_size, 2 * memory) == at_once


def test_memory_of_large_images():
    """A step is computed for as many at once as 32 MiB of hidden layers are: here two, of 16 MiB."""
    config = glow_tf.GlowConfig(image_size=256, n_levels=1, depth=2, width=128, keep_bytes=0)
    hidden, images = 3 * 4 * 128 * 128 * 128, 6 * 4 * 256 * 256 * 3
    two, forty = (parameter_count.training_bytes(config, n) for n in (2, 40))
    assert forty - two == 38 * images
    kept = dataclasses.replace(config, memory="store")
    two, forty = (parameter_count.training_bytes(kept, n) for n in (2, 40))
    assert forty - two == 38 * (images + hidden + 4 * parameter_count.activations(kept))


def test_table(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "ROWS", {"cifar10": ROWS["cifar10"]})
    monkeypatch.setattr(parameter_count, "parameters", lambda config: 44_600_000)
    (tmp_path / "cifar10").mkdir()
    rows = [{"problem": "cifar10"}, dict(epoch=50, bits_x=3.6), dict(epoch=100, bits_x=3.5)]
    (tmp_path / "cifar10" / "test.txt").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = reproduce.table(tmp_path)
    assert "| cifar10 | 3.35 | 3, 32, 512 | 8 | 44.6M | 512 | 512, 512, 512 | 3.5000 | 100 |" in table
    assert (
        "python -m experiments.train --flow_permutation=2 --seed=0 --learntop --lr=0.001 --world_size=8"
        in table
    )


@pytest.mark.slow
def test_ablation_goes_on(tmp_path):
    """On the embedded digits; a second call has nothing left to train."""
    small = "--problem=digits --image_size=8 --n_levels=2 --depth=1 --width=4 --epochs=1 --n_train=64"
    arguments = ["--ablation", "--seeds", "0", "--logdir", tmp_path, "--", *small.split()]
    first = commands.run("reproduce", *arguments)
    assert Image.open(tmp_path / "ablation.png").width > 500
    logs = sorted(tmp_path.glob("*/test.txt"))
    times = [log.stat().st_mtime_ns for log in logs]
    assert len(logs) == 6 and "1 steps per epoch" in first
    again = commands.run("reproduce", *arguments)
    assert again.splitlines()[-6:] == first.splitlines()[-6:]
    assert [log.stat().st_mtime_ns for log in logs] == times
