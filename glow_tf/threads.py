"""All cores of a machine without a GPU: a share of the batch for each, one thread for each operation.

TensorFlow's own way, several threads for each operation, gains little for the convolutions of a flow and
loses in its many small operations. Within a step of flow the shares of a batch depend on each other only in
the sum of their gradients: computed at once, with one thread for each operation, they make two cores up to
1.8 times as fast as one. The weights are folded once for all shares.
"""

import os

import tensorflow as tf

from glow_tf import inputs

_n_shares = 1


def use_cores(n: int | None = None, replicas: int = 1) -> int:
    """Lets every Glow of this process divide its batches over the cores, in what is traced from now on.

    TensorFlow gets one thread for each operation, as many operations at once as cores, and a pool of its own
    for the CPU's memory.

    Results differ from those of one core by rounding, and are the same for the same number of shares.

    ```
    import glow_tf

    glow_tf.threads.use_cores()  # Before TensorFlow's first operation.
    ```

    Args:
        n: int, how many cores; all that the process may run on unless given.
        replicas: int, how many replicas on this machine share them.

    Returns:
        The number of shares that a replica's batch has.

    Raises:
        ValueError: if `n` or `replicas` is less than 1.
        RuntimeError: if TensorFlow runs already, so that its number of threads is settled.
    """
    global _n_shares
    n = _n_cores() if n is None else inputs.require_int("n", n, 1)
    replicas = inputs.require_int("replicas", replicas, 1)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(n)
    except RuntimeError as error:
        raise RuntimeError(
            "It is too late to set the number of threads: TensorFlow has run an operation. Call "
            "glow_tf.threads.use_cores() at the start of the program."
        ) from error
    # Of malloc a flow's activations are given back to the system, and taken anew, at each operation: up to a
    # sixth of an inference's time. TensorFlow's own pool keeps them.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    _n_shares = max(1, n // replicas)
    return _n_shares


def n_shares() -> int:
    """Returns how many shares a batch has: where a tf.function is traced, what `use_cores` said; else 1."""
    return 1 if tf.executing_eagerly() else _n_shares


def _n_cores() -> int:
    # Where a process can be kept to some of the cores, as by `taskset`, those count.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
