"""What interrupts a run, and what is saved then: after some steps, a signal, or a lost worker."""

import contextlib
import os
import signal
import sys
import threading

import tensorflow as tf
import tf_keras

from experiments.cli import explain
from experiments.runs import Run
from glow_tf.training import STATISTICS

_WORKER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

TERMINATED = 75  # The exit code after a signal: sysexits' EX_TEMPFAIL, "try again".

_INTERRUPTED = 128 + signal.SIGINT
_SECONDS_TO_END = 2.0  # How long Python may take to come to a handler, while nothing is trained.


class Terminated(BaseException):
    """The process ends by a signal, and what is to be saved is. No `except Exception` is to take it."""

    def __init__(self, name: str, when: str):
        """Takes the signal's name, and when it was in the training."""
        super().__init__(f"{name} {when}. The same command goes on from there.")


class Signals:
    """SIGTERM, Ctrl-C (SIGINT) and SIGHUP, while they are taken over: how a user ends a training.

    Until a training step is made there is nothing to save, and a signal ends the process, by Terminated or,
    if that takes long, at once; then it is noted, for `raise_if_received`. A second Ctrl-C ends it at once.

    Python runs its handlers between two of its instructions, so not before a whole step, or what TensorFlow
    does else, has ended. A thread sees a signal when it comes.
    """

    def __init__(self):
        """Nothing is taken over yet."""
        self.deferred = False
        self._received = None
        self._before = {}
        self._handled = threading.Event()

    def __enter__(self):
        """Takes over the signals; one that is ignored, as nohup does with SIGHUP, stays so."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._writer_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Gives the signals back."""
        self._handled.set()
        signal.set_wakeup_fd(self._writer_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _receive(self, number, frame):
        self._received = _name(number)
        self._handled.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not self.deferred:
            raise Terminated(self._received, _TOO_EARLY)

    def _watch(self):
        interrupted = False
        while byte := os.read(self._reader, 1):
            number = byte[0]
            if number not in self._before:
                continue
            if not self.deferred:
                if not self._handled.wait(_SECONDS_TO_END):
                    _print(str(Terminated(_name(number), _TOO_EARLY)))
                    os._exit(TERMINATED)
            elif number == signal.SIGINT:
                if interrupted:
                    os._exit(_INTERRUPTED)
                interrupted = True
                _print("\nThe training step ends and the run is saved; Ctrl-C again ends at once.")

    def raise_if_received(self, step: int) -> None:
        """Raises Terminated after a signal; `step` is the last training step that is saved."""
        if self._received:
            raise Terminated(self._received, f"after training step {step}")

    @property
    def received(self) -> bool:
        """Whether there was a signal."""
        return self._received is not None


_TOO_EARLY = "before the first training step was made: there is nothing to save yet"


def _name(number):
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _print(line):
    with contextlib.suppress(OSError):  # The terminal may be gone.
        print(line, file=sys.stderr, flush=True)


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
