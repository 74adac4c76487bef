"""The commands as pip installs them: `glow-train`, ... for `python -m experiments.train`, ..."""

import pathlib
import runpy
import sys


def main() -> None:
    """Runs the command that the script's own name names, `glow-` left out."""
    name = pathlib.Path(sys.argv[0]).stem.removeprefix("glow-").replace("-", "_")
    try:
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("experiments", "glow_tf"):
            raise
        extra = "demo" if name == "demo" else "commands"
        print(f"error: {error}. pip install 'glow-tf[{extra}]' brings it.", file=sys.stderr)
        sys.exit(2)
