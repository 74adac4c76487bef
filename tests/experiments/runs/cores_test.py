"""Who decides on how many cores a command computes."""

import pytest
import tensorflow as tf
from absl import flags

from experiments.runs import cores
from glow_tf import threads


@pytest.fixture
def used(monkeypatch):
    """Returns a function: --cores and how many replicas -> what `threads.use_cores` is told, or None."""
    told = []
    monkeypatch.setattr(threads, "use_cores", lambda *arguments: told.append(arguments))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    values = flags.FlagValues()
    monkeypatch.setattr(cores, "FLAGS", values)
    monkeypatch.setattr(flags, "FLAGS", values)
    flags.DEFINE_integer("cores", None, "", flag_values=values)

    def use(given=None, replicas=1):
        values(["command"] if given is None else ["command", f"--cores={given}"])
        cores.use(replicas)
        return told[-1] if told else None

    return use


def test_the_flag_or_all(used):
    assert used() == (None, 1)
    assert used(3, 2) == (3, 2)


@pytest.mark.parametrize("name", ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"])
def test_the_environment_goes_before_the_default(used, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert used() is None
    assert used(2) == (2, 1)


def test_gpus_need_no_loops(used, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"] if kind == "GPU" else [])
    assert used(2) is None
