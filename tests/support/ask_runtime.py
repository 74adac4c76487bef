"""Asks another runtime, in whatever environment this is run by; needs NumPy and what the runtime needs.

    python ask_runtime.py SCRIPT EXPORT REQUESTS ANSWERS

SCRIPT has a function `load(path, signature)`, as those in docs/runtimes. Each SIGNATURE.npz in REQUESTS, of
the inputs, is answered by one in ANSWERS.
"""

import importlib.util
import pathlib
import sys

import numpy as np


def main(script, export, requests, answers):
    """Asks for each request."""
    spec = importlib.util.spec_from_file_location("runtime", script)
    runtime = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runtime)
    for file in sorted(pathlib.Path(requests).glob("*.npz")):
        answer = runtime.load(export, file.stem)(dict(np.load(file)))
        np.savez(
            pathlib.Path(answers, file.name), **{key: np.asarray(value) for key, value in answer.items()}
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
