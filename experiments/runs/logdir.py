"""A logdir while a run is trained in it: one process has it, and what is removed from it comes back."""

import errno
import fcntl
import os
import pathlib
import sys

from experiments import settings
from experiments.cli import UsageError, explain
from experiments.settings import hps_json

_NOT_SUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)


class Logdir:
    """The folder of a run that is trained: made where it isn't there, and locked until it is left.

    The lock is the operating system's, on an empty file, and ends with the process however that ends.
    """

    def __init__(self, path):
        """Nothing is made or locked yet."""
        self.path = pathlib.Path(path)
        self._lock = None

    def __enter__(self):
        """Makes and locks the folder.

        Raises:
            UsageError: if it can't be made or written, or another process trains there.
        """
        try:
            above = next(path for path in (self.path, *self.path.parents) if os.path.lexists(path))
            if not above.is_dir():
                raise UsageError(f"--logdir {self.path} must be a folder, but {above} is none.")
            self._take()
        except OSError as error:
            raise UsageError(f"--logdir {self.path} can't be written. {explain(error)}") from error
        return self

    def __exit__(self, *_):
        """Gives the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def mend(self, hyperparameters: settings.Hyperparameters) -> None:
        """Puts back the folder, its lock and hps.json where they were removed, and says so.

        Raises:
            UsageError: if another process trains there now.
        """
        if hps_json.exists(self.path) and self._is_locked():
            return
        print(f"warning: files were removed from {self.path} while the run goes on.", file=sys.stderr)
        self.__exit__()
        self._take()
        if not hps_json.exists(self.path):
            hps_json.save(hyperparameters, self.path)

    @property
    def _lock_file(self):
        return self.path / "train.lock"

    def _take(self):
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.__exit__()
            raise UsageError(
                f"Another process trains in {self.path}. Wait until it has ended, or give another --logdir."
            ) from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            print(
                f"warning: {self.path} can't be locked ({error.strerror}): see to it that no other process "
                "trains there.",
                file=sys.stderr,
            )

    def _is_locked(self):
        try:
            return os.path.samestat(os.stat(self._lock_file), os.fstat(self._lock))
        except FileNotFoundError:
            return False
