"""Shared by the tests."""

import fcntl
import os
import pathlib
import shutil
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# What `nohup` and a shell's background ignore reaches the tests' processes all the same.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
# Workers share the cores; with threads for an operation they would only wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    tf.config.threading.set_intra_op_parallelism_threads(1)

# Two replicas without a GPU: the CPU as two devices, before TensorFlow starts.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_make_parametrize_id(config, val, argname):
    """Names of cases that two processes agree on: none with an address, or with a message's bytes."""
    return argname if isinstance(val, bytes) or " at 0x" in repr(val) else None


@pytest.fixture
def rng():
    """A numpy generator, the same for each test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def two_replicas():
    """A MirroredStrategy of two replicas; one for all tests, as several number their collectives alike."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> pathlib.Path:
    """The logdir of a short run on the digits, made by the command itself; a copy for each worker."""
    from tests.support import commands

    folder = tmp_path_factory.getbasetemp()
    everybodys = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    made = everybodys / "digits"
    with (everybodys / "digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Whoever comes first makes it.
        if not made.exists():
            logdir = tmp_path_factory.mktemp("runs") / "digits"
            commands.run("train", "--logdir", logdir, *commands.SHORT_RUN)
            logdir.rename(made)
    return pathlib.Path(shutil.copytree(made, tmp_path_factory.mktemp("runs") / "digits"))
