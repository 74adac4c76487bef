"""Runs that were begun before hps.json had `world_size`: their replicas were what the workers are now.

What they kept tells how many: n_train images are `train_its` steps of n_batch_train images on each. Where
several numbers make as many steps, which takes fewer steps per epoch than replicas, train.txt has what a step
processed.
"""

import json
import pathlib

from experiments.cli import UsageError
from experiments.settings.flags import COUNT
from experiments.settings.hyperparameters import Hyperparameters


def world_sizes(hyperparameters: Hyperparameters, logdir: pathlib.Path) -> range:
    """Returns the possible numbers of replicas, none if hps.json was changed.

    Args:
        hyperparameters: of the run; `world_size` isn't read.
        logdir: of the run.
    """
    n, batch, its = (getattr(hyperparameters, key) for key in ("n_train", "n_batch_train", "train_its"))
    least = -(-n // (its * batch))
    most = (n - 1) // ((its - 1) * batch) if its > 1 else COUNT
    for row in _rows(logdir / "train.txt"):
        seen = row["n_processed"] // (row["epoch"] * its * batch)
        if least <= seen <= most:
            return range(seen, seen + 1)
    return range(least, most + 1)


def require_one(hyperparameters: Hyperparameters, logdir: pathlib.Path) -> None:
    """Raises a UsageError if several numbers of replicas are possible."""
    possible = world_sizes(hyperparameters, logdir)
    if len(possible) > 1:
        raise UsageError(
            f"The run in {logdir} is of an earlier version, and has no epoch in train.txt that would say how "
            f"many replicas (GPUs, or --logical_cpus) trained it: {possible[0]} to {possible[-1]} make its "
            f"{hyperparameters.train_its} steps per epoch. Give --world_size, their number."
        )


def _rows(log):
    """Yields the rows of a log that have what is needed; whoever goes on with the log says what is wrong."""
    lines = log.read_text("utf-8", "replace").splitlines()[1:] if log.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        is_count = lambda value: type(value) is int and value > 0
        if isinstance(row, dict) and is_count(row.get("epoch")) and is_count(row.get("n_processed")):
            yield row
