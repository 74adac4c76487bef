"""Checkpoints whose paths hold what TensorFlow takes for a pattern."""

import contextlib
import pathlib
import tempfile

import tensorflow as tf

_PATTERN = set("[]*?\\")


@contextlib.contextmanager
def plain_prefix(prefix):
    """Yields a prefix of the same checkpoint without `[`, `]`, `*`, `?` and backslashes.

    TensorFlow writes a checkpoint where it is told, but looks for one that it shall read by a pattern: it
    doesn't find `runs[1]/ckpt-5`. So it is given links to the files, in a temporary folder.

    Args:
        prefix: of a checkpoint, as `logs/ckpt-5`.
    """
    prefix = pathlib.Path(prefix)
    if not _PATTERN & set(str(prefix)):
        yield str(prefix)
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in prefix.parent.iterdir():
            if file.name.startswith(f"{prefix.name}."):
                link = pathlib.Path(folder) / f"checkpoint{file.name.removeprefix(prefix.name)}"
                link.symlink_to(file.resolve())
        yield f"{folder}/checkpoint"


class Reader:
    """What `tf.train.load_checkpoint` returns, of a checkpoint in any folder."""

    def __init__(self, prefix):
        """Opens the checkpoint; raises what TensorFlow does."""
        self._links = contextlib.ExitStack()  # The files are opened when they are read.
        self._reader = tf.train.load_checkpoint(self._links.enter_context(plain_prefix(prefix)))
        self.get_variable_to_dtype_map = self._reader.get_variable_to_dtype_map
        self.get_variable_to_shape_map = self._reader.get_variable_to_shape_map
        self.get_tensor = self._reader.get_tensor
