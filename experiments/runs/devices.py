"""Which devices train: one, all GPUs of a machine, or several machines."""

import tensorflow as tf
from absl import flags

from experiments.cli import UsageError
from experiments.runs import workers

FLAGS = flags.FLAGS
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def define_flags():
    """Defines the flags of the devices."""
    flags.DEFINE_enum(
        "strategy",
        "auto",
        STRATEGIES,
        "one_device; mirrored: all GPUs of the machine (or the --logical_cpus); multi_worker: the machines "
        "of the environment variable TF_CONFIG; auto: multi_worker if TF_CONFIG names several workers, else "
        "mirrored if there are several devices, else one_device.",
    )
    flags.DEFINE_integer(
        "logical_cpus", 1, "Split the CPU into as many devices, to try replicas without GPUs.", lower_bound=1
    )
    flags.DEFINE_bool("xla", False, "Compile the training step by XLA; for GPUs: on CPUs it is slower.")


def strategy() -> tf.distribute.Strategy:
    """Returns the strategy that the flags ask for, when all its workers are there.

    Comes before anything else of TensorFlow.

    Raises:
        UsageError: if it needs what isn't there.
    """
    if FLAGS.logical_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_cpus
        )
    n_gpus = len(tf.config.list_physical_devices("GPU"))
    n_devices = n_gpus or FLAGS.logical_cpus
    kind = FLAGS.strategy
    cluster = workers.cluster() if kind in ("auto", "multi_worker") else None
    if kind == "auto":
        several = cluster is not None and len(cluster.workers) > 1
        kind = "multi_worker" if several else "mirrored" if n_devices > 1 else "one_device"
    if kind == "multi_worker":
        if cluster is None:
            raise UsageError(
                "--strategy multi_worker needs the environment variable TF_CONFIG on each worker: "
                f"{workers.EXAMPLE}"
            )
        workers.wait_for_all(cluster)
        with workers.signals_kept():
            return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy([f"{'GPU' if n_gpus else 'CPU'}:{i}" for i in range(n_devices)])
    return tf.distribute.get_strategy()
