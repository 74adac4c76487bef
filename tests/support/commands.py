"""Runs the commands as a user does."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHORT_RUN = ["--depth", "2", "--width", "16", "--epochs", "3", "--epochs_full_valid", "1"]


def run(command: str, *arguments, fails: bool = False) -> str:
    """Runs `python -m experiments.COMMAND ARGUMENTS` in the project.

    Returns:
        What it printed on stdout; on stderr if it `fails`, as it then must.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{command}", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def run_many(lines: list[list], cwd=ROOT) -> list[tuple[int, str, str]]:
    """Runs commands such as ["train", "--depth", 0] one after the other, with one start of TensorFlow.

    Args:
        lines: of the commands.
        cwd: the folder in which they run.

    Returns:
        Of each, its exit code and what it printed on stdout and on stderr.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([list(map(str, line)) for line in lines], file)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.many_commands", file.name],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
