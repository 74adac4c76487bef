"""Runs many commands, each as a fork of one process that has imported TensorFlow but not started it.

    python -m tests.support.many_commands FILE

FILE holds a JSON list of command lines, such as ["train", "--depth", "0"]. Prints a JSON list of their exit
codes, and of what they wrote on stdout and stderr.
"""

import json
import os
import pathlib
import runpy
import signal
import sys
import tempfile

import tensorflow_probability  # noqa: F401 (imported once, for all)

import experiments.train  # noqa: F401

_TIME_LIMIT = 300  # Seconds.


def _run(command, arguments):
    signal.alarm(_TIME_LIMIT)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.modules.pop(f"experiments.{command}", None)
    sys.argv = [f"experiments/{command}.py", *arguments]
    code = 0
    try:
        runpy.run_module(f"experiments.{command}", run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fork(command, arguments, folder):
    """Returns (exit code, stdout, stderr)."""
    files = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if child == 0:
        for descriptor, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        _run(command, arguments)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), *(file.read_text(errors="replace") for file in files)


def main(lines):
    """Runs all."""
    with tempfile.TemporaryDirectory() as folder:
        results = [_fork(command, arguments, pathlib.Path(folder)) for command, *arguments in lines]
    print(json.dumps(results))


if __name__ == "__main__":
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()))
