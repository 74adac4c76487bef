"""What interrupts a run, and what is saved then: after some steps, a signal, or a lost worker."""

import contextlib
import signal
import sys

import tensorflow as tf
import tf_keras

from experiments.cli import explain
from experiments.runs import Run
from glow_tf.training import STATISTICS

_WORKER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

TERMINATED = 75  # The exit code after a signal: sysexits' EX_TEMPFAIL, "try again".


class Terminated(BaseException):
    """The process ends by a signal, and has saved. No `except Exception` of a library's is to take it."""


class Signals:
    """SIGTERM, Ctrl-C (SIGINT) and SIGHUP, while they are taken over: how a user ends a training.

    Until there is something to save, a signal ends it at once, by Terminated; then it is noted, for
    `raise_if_received`. After one Ctrl-C the next is the system's own, which ends the process at once.
    """

    def __init__(self):
        """Nothing is taken over yet."""
        self.deferred = False
        self._received = None
        self._before = {}

    def __enter__(self):
        """Takes over the signals; one that is ignored, as nohup does with SIGHUP, stays so."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_):
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        self._received = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not self.deferred:
            raise Terminated(f"{self._received} before a training step was made.")
        if number == signal.SIGINT:
            with contextlib.suppress(OSError):  # The terminal may be gone.
                print(
                    "\nThe training step ends and the run is saved; Ctrl-C again ends at once.",
                    file=sys.stderr,
                )

    def raise_if_received(self, step: int) -> None:
        """Raises Terminated after a signal; `step` is the last training step that is saved."""
        if self._received:
            raise Terminated(f"{self._received} after training step {step}.")

    @property
    def received(self) -> bool:
        """Whether there was a signal."""
        return self._received is not None


class SaveAndStop(tf_keras.callbacks.Callback):
    """Saves `last` every `save_every` steps, at the end of an epoch's steps, and after a signal.

    After a signal the step under way is finished first; an evaluation under way is left, as it is made again
    when the run goes on.
    """

    def __init__(self, run: Run, save_every: int, signals: Signals):
        """`save_every` is the number of training steps between two checkpoints."""
        super().__init__()
        self._run = run
        self._save_every = save_every
        self._signals = signals

    def on_epoch_begin(self, epoch, logs=None):
        """Gives the metrics back what a cut epoch had behind it."""
        self._step = self._run.step
        steps = self._step % self._run.hyperparameters.train_its
        if steps:
            self.model.set_means(self._run.means.numpy(), steps * self._run.batch_size)

    def on_train_batch_end(self, batch, logs=None):
        """Saves, if it is time.

        Raises:
            Terminated: after a signal.
        """
        self._signals.deferred = True
        self._step += 1
        ends_epoch = self._step % self._run.hyperparameters.train_its == 0
        if ends_epoch or self._step % self._save_every == 0 or self._signals.received:
            self._run.means.assign([logs[name] for name in STATISTICS])
            self._run.save("last")
        self._signals.raise_if_received(self._step)

    def on_test_batch_end(self, batch, logs=None):
        """Raises Terminated after a signal: the steps are saved."""
        self._signals.raise_if_received(self._run.step)

    def on_epoch_end(self, epoch, logs=None):
        """Raises Terminated after a signal."""
        self._signals.raise_if_received(self._run.step)


def reason(error: Exception) -> str | None:
    """Returns what to say of an error that isn't the program's fault, or None if it may be."""
    if isinstance(error, _WORKER_ERRORS):
        lines = error.message.splitlines()
        why = [line for line in lines if "aborted" in line] or lines[-1:]
        return f"Another worker is gone: {' '.join(why)}. Start all workers again."
    return explain(error)
