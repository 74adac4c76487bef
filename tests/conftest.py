"""Shared by the tests."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

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
    """The logdir of a short run on the digits, made by the command itself."""
    from tests.support import commands

    logdir = tmp_path_factory.mktemp("runs") / "digits"
    commands.run("train", "--logdir", logdir, *commands.SHORT_RUN)
    return logdir
