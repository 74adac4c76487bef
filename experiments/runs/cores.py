"""How many cores a command computes on, where there is no GPU."""

import os

import tensorflow as tf
from absl import flags

from glow_tf import threads

FLAGS = flags.FLAGS

# Who sets these has decided already how TensorFlow uses the cores.
_ENVIRONMENT = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def define_flags():
    """--cores."""
    flags.DEFINE_integer(
        "cores",
        None,
        "Cores to compute on, on a machine without GPUs: a batch is divided over them, with one thread for "
        f"each operation. Default: all that the process may run on; {_ENVIRONMENT[0]} and "
        f"{_ENVIRONMENT[1]} in the environment leave it to TensorFlow instead.",
        lower_bound=1,
    )


def use(replicas: int = 1) -> None:
    """Divides batches over the cores that --cores says, before anything else of TensorFlow.

    Args:
        replicas: int, how many replicas of this process share the cores.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    if FLAGS.cores is None and any(name in os.environ for name in _ENVIRONMENT):
        return
    threads.use_cores(FLAGS.cores, replicas)
