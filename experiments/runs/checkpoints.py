"""Numbered checkpoints in a folder, each of them whole or not there."""

import contextlib
import os
import pathlib
import re
import sys

import numpy as np
import tensorflow as tf

from experiments.cli import UsageError
from glow_tf.plain_path import Reader, plain_prefix

_INDEX = re.compile(r"ckpt-(0|[1-9]\d*)\.index")
# The files of a checkpoint; and, while it is written, those of TensorFlow's that become them.
_PART = re.compile(r"ckpt-(0|[1-9]\d*)\.(index|data-\d{5}-of-\d{5})")
_UNFINISHED = re.compile(r"(ckpt-\d+|part-\d+-of-\d+)\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?")
_UNFINISHED_FOLDER = re.compile(r"ckpt-\d+_temp")


class Checkpoints:
    """The newest checkpoints of a run in a folder: `ckpt-NUMBER.index` and its data.

    A checkpoint is written into a folder of its own, flushed to the disk, and moved into place, the index
    last. So at any moment what has an index is whole, whenever the process is killed. TF's
    CheckpointManager writes the index in place, and trusts a further file to say which ones there are.

    Files of any other name are the user's: they are never touched.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, directory, keep: int):
        """Nothing is read or written yet.

        Args:
            checkpoint: what is saved.
            directory: the folder.
            keep: int, how many are kept.
        """
        self._checkpoint = checkpoint
        self._directory = pathlib.Path(directory)
        self._keep = keep

    def prefixes(self) -> list[str]:
        """Returns the prefixes of what is there, the newest first."""
        found = [_INDEX.fullmatch(path.name) for path in self._files()]
        numbers = sorted((int(match[1]) for match in found if match), reverse=True)
        return [str(self._directory / f"ckpt-{number}") for number in numbers]

    def _files(self):
        if not self._directory.is_dir():
            return []
        return [path for path in self._directory.iterdir() if path.is_file()]

    def prepare(self) -> None:
        """Makes the folder; raises an OSError now if `save` couldn't write there."""
        writing = self._directory / ".writing"
        writing.mkdir(parents=True, exist_ok=True)
        (writing / "ckpt-0.index").touch()
        _clear(writing)

    def save(self, number: int) -> str:
        """Writes a checkpoint, and removes the oldest beyond `keep`.

        Args:
            number: int, higher for a newer one.

        Returns:
            Its prefix.

        Raises:
            OSError, tf.errors.OpError: if it can't be written; what was there is left as it was.
        """
        writing = self._directory / ".writing"
        _clear(writing)  # Of a process that was killed.
        writing.mkdir(parents=True, exist_ok=True)
        try:
            self._checkpoint.write(str(writing / f"ckpt-{number}"))
            # The index last: it is what makes a checkpoint one.
            parts = [path for path in writing.iterdir() if _PART.fullmatch(path.name)]
            parts.sort(key=lambda path: path.suffix == ".index")
            for path in parts:
                _flush(path)
            for path in parts:
                path.replace(self._directory / path.name)
            _flush(self._directory)
        finally:
            _clear(writing)
        self._remove_old()
        return str(self._directory / f"ckpt-{number}")

    def _remove_old(self):
        kept = {pathlib.Path(prefix).name for prefix in self.prefixes()[: self._keep]}
        mine = [path for path in self._files() if _PART.fullmatch(path.name)]
        # The index first, as an index without data would be a damaged checkpoint.
        for path in sorted(mine, key=lambda path: path.suffix != ".index"):
            if path.name.split(".")[0] not in kept:
                path.unlink(missing_ok=True)

    def restore(self) -> str | None:
        """Reads the newest checkpoint that isn't damaged; for each that is, prints a warning.

        A process that trains may remove one meanwhile, for a newer one: that is read then.

        Returns:
            Its prefix, or None if there are no checkpoints.

        Raises:
            UsageError: if one doesn't fit, or all are damaged.
            OSError: if a file may not be read.
        """
        damaged = []
        for prefix in self.prefixes():
            problem = _damage(prefix)
            if _is_gone(prefix):
                return self.restore()
            if problem:
                damaged.append(prefix)
                print(f"warning: the checkpoint {prefix} is damaged: {problem}", file=sys.stderr)
                continue
            if damaged:
                print(f"warning: taking the one before it, {prefix}.", file=sys.stderr)
            try:
                with plain_prefix(prefix) as plain:
                    self._checkpoint.read(plain).assert_existing_objects_matched()
            except (ValueError, AssertionError, RuntimeError, OSError, tf.errors.OpError) as error:
                if _is_gone(prefix):
                    return self.restore()
                if not isinstance(error, (ValueError, AssertionError)):
                    raise
                raise UsageError(f"The checkpoint {prefix} is of another model: {error}") from error
            return prefix
        if damaged:
            raise UsageError(
                f"All checkpoints in {self._directory} are damaged: {', '.join(damaged)}. Put back a copy of "
                "one, or give another --logdir to start anew."
            )
        return None


def _damage(prefix) -> str | None:
    """Reads all of a checkpoint, with its checksums; returns what is wrong, or None."""
    for path in pathlib.Path(prefix).parent.iterdir():
        if path.name.startswith(f"{pathlib.Path(prefix).name}.") and _PART.fullmatch(path.name):
            try:
                path.open("rb").close()  # A file that may not be read isn't damaged.
            except FileNotFoundError as error:  # It is removed, or a link to nothing.
                return f"{error}."
    try:
        reader = Reader(prefix)
        for name in reader.get_variable_to_shape_map():
            value = np.asarray(reader.get_tensor(name))
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{name} has values that aren't finite numbers."
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:  # TF translates only some.
        return str(error)
    return None


def _is_gone(prefix) -> bool:
    return not os.path.lexists(f"{prefix}.index")


def _clear(writing):
    """Removes what an unfinished checkpoint left, and the folder if nothing else is in it."""
    if not writing.is_dir():
        return
    for path in writing.iterdir():
        if _UNFINISHED_FOLDER.fullmatch(path.name) and path.is_dir():
            _clear(path)
        elif _UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # There is something of the user's.
        writing.rmdir()


def _flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
