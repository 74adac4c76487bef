"""Kills processes that save checkpoints without a break, and reads what they leave.

    python -m tests.support.kill_while_saving FOLDER N

Processes are forks of this one, which has imported TensorFlow but not started it.
"""

import os
import pathlib
import random
import signal
import sys
import time

import tensorflow as tf

from experiments.runs.checkpoints import Checkpoints

_KEEP = 2
_PARTS = 4


def _checkpoints(folder):
    values = [tf.Variable(tf.zeros([100_000])) for _ in range(_PARTS)]
    return values, Checkpoints(tf.train.Checkpoint(values=values), folder, _KEEP)


def _save_for_ever(folder):
    values, checkpoints = _checkpoints(folder)
    newest = checkpoints.restore()
    number = int(newest.split("-")[-1]) if newest else 0
    while True:
        number += 1
        for value in values:
            value.assign(tf.fill(value.shape, float(number)))
        checkpoints.save(number)
        (folder / "started").touch()  # It saves without a break from now on.


def _check(folder):
    """Exits with 0 if the newest checkpoint is whole, and as many as there should be are there."""
    values, checkpoints = _checkpoints(folder)
    prefixes = checkpoints.prefixes()
    assert checkpoints.restore() == prefixes[0], "the newest one is damaged"
    number = float(prefixes[0].split("-")[-1])
    assert all((value.numpy() == number).all() for value in values), "it is mixed"
    assert len(prefixes) <= _KEEP + 1
    os._exit(0)


def _fork(function, folder):
    child = os.fork()
    if child == 0:
        try:
            function(folder)
        finally:
            os._exit(1)
    return child


def main(folder: pathlib.Path, n: int):
    """Kills n times."""
    rng = random.Random(0)
    for _ in range(n):
        (folder / "started").unlink(missing_ok=True)
        child = _fork(_save_for_ever, folder)
        while not (folder / "started").exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0.01, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _, status = os.waitpid(_fork(_check, folder), 0)
        if status:
            sys.exit("A checkpoint is damaged.")
    newest = max(int(path.stem.split("-")[1]) for path in folder.glob("ckpt-*.index"))
    print(f"{n} kills, {newest} checkpoints")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
