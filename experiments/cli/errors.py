"""The user's mistakes, and what the machine refuses, in a sentence each."""

import errno
import os

import tensorflow as tf

# What file systems answer, as TensorFlow writes it: `PATH; No such file or directory`.
_FILE_ERRORS = tuple(f"; {os.strerror(number)}" for number in errno.errorcode)

_SMALLER = "smaller batches (--n_batch_train, --n_batch_test, --n_batch_init) or a smaller model take less"


class UsageError(Exception):
    """A user's mistake: one paragraph that says what was given and what is allowed."""


def explain(error: BaseException) -> str | None:
    """Returns what to say of an error of files, disks and memory; None for what may be the program's fault.

    Args:
        error: of the operating system, TensorFlow, Pillow or NumPy.
    """
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, tf.errors.OpError):
        return _of_tensorflow(error)
    if isinstance(error, MemoryError):
        return f"There isn't enough memory{_colon(str(error))}: {_SMALLER}."
    if isinstance(error, UnicodeDecodeError):
        return f"What should be text isn't UTF-8: {error}."
    return None


def _of_system(error):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error}. Free some space."
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return "What read the output of this command is gone (broken pipe)."
    names = [repr(str(name)) for name in (error.filename, error.filename2) if name is not None]
    if names and error.strerror:
        return f"Can't use {' and '.join(names)}: {error.strerror}."
    return f"The operating system refuses: {str(error) or type(error).__name__}."


def _of_tensorflow(error):
    message = error.message or ""
    if "No space left" in message:
        return f"The disk is full: {error} Free some space."
    if isinstance(error, tf.errors.ResourceExhaustedError) and not _first(message, _FILE_ERRORS):
        return f"There isn't enough memory{_colon(_line(message))}: {_SMALLER}."
    if "not invertible" in message:
        return "The matrix of a 1x1 convolution has no inverse."
    if isinstance(error, tf.errors.DataLossError):
        return f"A file is damaged: {_line(message)}."
    line = _first(message, _FILE_ERRORS)
    return f"Can't use a file: {line}." if line else None


def _first(message, parts):
    """Returns the first line of a message that holds one of the parts, or None."""
    return next((line for line in message.splitlines() if any(part in line for part in parts)), None)


def _line(message):
    return message.partition("\n")[0]


def _colon(text):
    return f": {text}" if text else ""
