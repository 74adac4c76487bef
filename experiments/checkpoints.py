"""Numbered checkpoints in a folder, each of them whole or not there."""

import os
import pathlib
import re
import shutil
import sys

import tensorflow as tf

from experiments.hyperparameters import UsageError


class Checkpoints:
    """The newest checkpoints of a run in a folder: `ckpt-NUMBER.index` and its data.

    A checkpoint is written into a folder of its own, flushed to the disk, and moved into place, the index
    last. So at any moment what has an index is whole, whenever the process is killed. TF's
    CheckpointManager writes the index in place, and trusts a further file to say which ones there are.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, directory, keep: int):
        """Makes the folder's keeper; nothing is read or written yet.

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
        found = [re.fullmatch(r"ckpt-(\d+)\.index", path.name) for path in self._directory.glob("ckpt-*")]
        numbers = sorted((int(match[1]) for match in found if match), reverse=True)
        return [str(self._directory / f"ckpt-{number}") for number in numbers]

    def save(self, number: int) -> str:
        """Writes a checkpoint, and removes the oldest beyond `keep`.

        Args:
            number: int, higher for a newer one.

        Returns:
            Its prefix.

        Raises:
            OSError, tf.errors.OpError: if it can't be written; what was there is left as it was.
        """
        writing = self._directory / "writing"
        shutil.rmtree(writing, ignore_errors=True)  # Of a process that was killed.
        writing.mkdir(parents=True)
        try:
            self._checkpoint.write(str(writing / f"ckpt-{number}"))
            # The index last: it is what makes a checkpoint one.
            files = sorted(writing.glob("ckpt-*"), key=lambda path: path.suffix == ".index")
            for path in files:
                _flush(path)
            for path in files:
                path.replace(self._directory / path.name)
            _flush(self._directory)
        finally:
            shutil.rmtree(writing, ignore_errors=True)
        self._remove_old()
        return str(self._directory / f"ckpt-{number}")

    def _remove_old(self):
        kept = {pathlib.Path(prefix).name for prefix in self.prefixes()[: self._keep]}
        # The index first, as an index without data would be a damaged checkpoint.
        for path in sorted(self._directory.glob("ckpt-*"), key=lambda path: path.suffix != ".index"):
            if path.name.split(".")[0] not in kept:
                path.unlink()

    def restore(self) -> str | None:
        """Reads the newest checkpoint that isn't damaged; for each that is, prints a warning.

        Returns:
            Its prefix, or None if there are no checkpoints.

        Raises:
            UsageError: if one doesn't fit, or all are damaged.
        """
        damaged = []
        for prefix in self.prefixes():
            problem = _damage(prefix)
            if problem:
                damaged.append(prefix)
                print(f"warning: the checkpoint {prefix} is damaged: {problem}", file=sys.stderr)
                continue
            if damaged:
                print(f"warning: taking the one before it, {prefix}.", file=sys.stderr)
            try:
                self._checkpoint.read(prefix).assert_existing_objects_matched()
            except (ValueError, AssertionError) as error:
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
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:  # TF translates only some.
        return str(error)
    return None


def _flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
