"""Annotations: mypy takes a user's script over the public names, and sees its mistakes."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.support import user_script
from tests.support.commands import ROOT


@pytest.mark.slow
def test_the_script_runs():
    user_script.main()


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy isn't installed")
def test_mypy_takes_it(tmp_path):
    # Of what is installed mypy reports nothing; "silent" says the same of the files here.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", tmp_path]
    done = subprocess.run(
        [*command, user_script.__file__],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
