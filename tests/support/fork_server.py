"""Runs modules, each as a fork of one process that has imported TensorFlow but not started it.

    python -m tests.support.fork_server

A line of stdin is a request, a JSON object: `words`, such as ["experiments.train", "--depth", "0"], `cwd` and
`env`. A line on stdout answers it, a JSON list: the exit code, and what was written on stdout and stderr.
To import TensorFlow takes longer than most of the commands do here.
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


def _run(words, cwd, env):
    """Is the process, to its end."""
    signal.alarm(_TIME_LIMIT)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    module, *arguments = words
    sys.modules.pop(module, None)
    sys.argv = [module, *arguments]  # runpy puts the module's file first.
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _answer(request, folder):
    """Returns (exit code, stdout, stderr)."""
    files = [folder / "stdout", folder / "stderr"]
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        _run(**request)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), *(file.read_text(errors="replace") for file in files)


def main():
    """Answers until stdin ends."""
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            print(json.dumps(_answer(json.loads(line), pathlib.Path(folder))), flush=True)


if __name__ == "__main__":
    main()
