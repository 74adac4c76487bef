"""Which devices train: one, all GPUs of a machine, or several machines."""

import dataclasses

import tensorflow as tf
from absl import flags

from experiments.cli import UsageError
from experiments.runs import cores, workers

FLAGS = flags.FLAGS
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def define_flags():
    """--strategy, --logical_cpus, --cores, --micro_batch and --xla, on which no result depends."""
    cores.define_flags()
    flags.DEFINE_enum(
        "strategy",
        "auto",
        STRATEGIES,
        "What shares each batch. one_device; mirrored: all GPUs of the machine (or the --logical_cpus); "
        "multi_worker: the machines of the environment variable TF_CONFIG; auto: multi_worker if TF_CONFIG "
        "names several workers, else mirrored if there are several devices, else one_device.",
    )
    flags.DEFINE_integer(
        "logical_cpus", 1, "Split the CPU into as many devices, to try replicas without GPUs.", lower_bound=1
    )
    flags.DEFINE_integer(
        "micro_batch",
        0,
        "How many images a device computes at once: the gradients of parts of its share of a batch are added "
        "up, and the step is the same, in less memory. 0: the whole share at once.",
        lower_bound=0,
    )
    flags.DEFINE_bool("xla", False, "Compile the training step by XLA; for GPUs: on CPUs it is slower.")


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that the flags ask for.

    Attributes:
        kind: one of `STRATEGIES` but auto.
        n_replicas: int, of all workers together.
        cluster: the workers, for multi_worker.
    """

    kind: str
    n_replicas: int
    cluster: workers.Cluster | None = None

    def strategy(self) -> tf.distribute.Strategy:
        """Returns their strategy, when all workers are there; comes before anything else of TensorFlow."""
        cores.use(FLAGS.logical_cpus)
        if self.kind == "multi_worker":
            workers.wait_for_all(self.cluster)
            with workers.signals_kept():
                return tf.distribute.MultiWorkerMirroredStrategy()
        if self.kind == "mirrored":
            kind = "GPU" if _n_gpus() else "CPU"
            return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(self.n_replicas)])
        return tf.distribute.get_strategy()


def asked_for() -> Devices:
    """Returns the devices that the flags ask for; no other worker is waited for.

    Raises:
        UsageError: if TF_CONFIG isn't what TensorFlow takes, or isn't there and is needed.
    """
    if FLAGS.logical_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_cpus
        )
    n_here = _n_gpus() or FLAGS.logical_cpus
    kind = FLAGS.strategy
    cluster = workers.cluster() if kind in ("auto", "multi_worker") else None
    if kind == "auto":
        several = cluster is not None and len(cluster.workers) > 1
        kind = "multi_worker" if several else "mirrored" if n_here > 1 else "one_device"
    if kind == "multi_worker":
        if cluster is None:
            raise UsageError(
                "--strategy multi_worker needs the environment variable TF_CONFIG on each worker: "
                f"{workers.EXAMPLE}"
            )
        # TensorFlow takes one CPU of a worker, and as many GPUs of each as there are here.
        return Devices(kind, len(cluster.workers) * max(1, _n_gpus()), cluster)
    return Devices(kind, n_here if kind == "mirrored" else 1)


def _n_gpus():
    return len(tf.config.list_physical_devices("GPU"))
