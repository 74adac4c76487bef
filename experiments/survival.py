"""What lets a run survive: checkpoints within an epoch, SIGTERM, and what a stopped run tells."""

import errno
import signal

import tensorflow as tf
import tf_keras

from experiments.runs import Run
from glow_tf.training import STATISTICS

_WORKER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

TERMINATED = 75  # The exit code after SIGTERM: sysexits' EX_TEMPFAIL, "try again".


class Terminated(Exception):
    """The process was told to end by SIGTERM, and has saved."""


class Survival(tf_keras.callbacks.Callback):
    """Saves `last` every `save_every` steps, at the end of an epoch's steps, and on SIGTERM.

    On SIGTERM the step under way is finished first; an evaluation under way is left, as it is made again
    when the run goes on.
    """

    def __init__(self, run: Run, save_every: int):
        """Makes the callback of a run, and takes over SIGTERM until it is closed."""
        super().__init__()
        self._run = run
        self._save_every = save_every
        self._terminated = False
        self._before = signal.signal(signal.SIGTERM, self._terminate)

    def close(self):
        """Gives SIGTERM back."""
        signal.signal(signal.SIGTERM, self._before)

    def _terminate(self, number, frame):
        self._terminated = True

    def on_epoch_begin(self, epoch, logs=None):
        """Gives the metrics back what a cut epoch had behind it."""
        self._step = self._run.step
        steps = self._step % self._run.hps["train_its"]
        if steps:
            self.model.set_means(self._run.means.numpy(), steps * self._run.batch_size)

    def on_train_batch_end(self, batch, logs=None):
        """Saves, if it is time.

        Raises:
            Terminated: after SIGTERM.
        """
        self._step += 1
        ends_epoch = self._step % self._run.hps["train_its"] == 0
        if ends_epoch or self._step % self._save_every == 0 or self._terminated:
            self._run.means.assign([logs[name] for name in STATISTICS])
            self._run.save("last")
        self._raise_if_terminated()

    def on_test_batch_end(self, batch, logs=None):
        """Raises Terminated after SIGTERM: the steps are saved."""
        self._raise_if_terminated()

    def on_epoch_end(self, epoch, logs=None):
        """Raises Terminated after SIGTERM."""
        self._raise_if_terminated()

    def _raise_if_terminated(self):
        if self._terminated:
            raise Terminated(f"SIGTERM after training step {self._run.step}.")


def reason(error: Exception) -> str | None:
    """Returns what to tell of an error that isn't the program's fault, or None if it may be."""
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or (
        isinstance(error, tf.errors.OpError) and "No space left" in error.message
    ):
        return f"The disk is full: {error} Free some space."
    if isinstance(error, _WORKER_ERRORS):
        lines = error.message.splitlines()
        told = [line for line in lines if "aborted" in line] or lines[-1:]
        return f"Another worker is gone: {' '.join(told)}. Start all workers again."
    return None
