"""Runs the commands as a user does."""

import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys

from absl import flags
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHORT_RUN = ["--depth", "2", "--width", "16", "--epochs", "3", "--epochs_full_valid", "1"]


def flags_of(command: str) -> list[str]:
    """Returns the names of a command's flags."""
    name = "demo.__main__" if command == "demo" else command
    module = importlib.import_module(f"experiments.{name}")
    with flagsaver.flagsaver():
        before = set(flags.FLAGS)
        module.define_flags()
        return sorted(set(flags.FLAGS) - before)


def run(command: str, *arguments, fails: bool = False) -> str:
    """Runs `python -m experiments.COMMAND ARGUMENTS` in the project.

    Returns:
        What it printed on stdout; on stderr if it `fails`, as it then must.
    """
    ((code, out, err),) = run_many([[command, *arguments]])
    assert (code != 0) == fails, out + err
    return err if fails else out


def run_many(lines: list[list], cwd=ROOT) -> list[tuple[int, str, str]]:
    """Runs commands such as ["train", "--depth", 0] one after the other.

    Args:
        lines: of the commands.
        cwd: the folder in which they run.

    Returns:
        Of each, its exit code and what it printed on stdout and on stderr.
    """
    return [run_module(f"experiments.{command}", *arguments, cwd=cwd) for command, *arguments in lines]


def run_module(module: str, *arguments, cwd=ROOT) -> tuple[int, str, str]:
    """Runs `python -m MODULE ARGUMENTS`; returns its exit code, its stdout and its stderr."""
    server = _server()
    request = dict(words=[module, *map(str, arguments)], cwd=str(cwd), env=_environment())
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return tuple(json.loads(server.stdout.readline()))


def _environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


@functools.cache
def _server():
    """Starts the process whose forks the commands are; it ends with this one, at the end of its stdin."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
