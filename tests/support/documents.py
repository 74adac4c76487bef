"""Documents, run as they are written: what a reader's page does in a reader's folder.

A page's blocks run in order, in one process and an empty folder: Python blocks in one namespace, bash blocks
as commands of their own. A comment before a block says why it isn't run by the ordinary tests:

    <!-- slow: a minute of training -->      run by `pytest -m slow`
    <!-- not run: needs Docker -->           run by nobody here

Lines of a bash block that begin with "# " are what its commands print; decimal numbers may differ.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
LANGUAGES = ("python", "bash", "text")
INCLUDED = ("{ .python .copy }", "{ .javascript .copy }")  # Of blocks that hold a file of the project.

# What a clone has, and commands and examples need.
_CLONE = ("README.md", "docs", "experiments", "glow_tf", "mkdocs.yml", "pyproject.toml")
_REQUIREMENTS = ("requirements.txt", "requirements-docs.txt", "requirements-demo.txt")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>slow|not run): (?P<reason>\S.*?) -->\n)?^``` *(?P<language>.*?)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page; `mark` is "slow", "not run" or None."""

    language: str
    code: str
    mark: str | None

    @property
    def prints(self) -> list[str]:
        """The lines that its commands must print."""
        if self.language != "bash":
            return []
        return [line[2:] for line in self.code.splitlines() if line.startswith("# ")]


def blocks_of(page: pathlib.Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    return [Block(m["language"], m["code"], m["mark"]) for m in _BLOCK.finditer(page.read_text())]


def runnable(page: pathlib.Path, slow: bool) -> list[Block]:
    """Returns the blocks that the ordinary tests run, or the slow ones, which run all that can be run."""
    marks = (None, "slow") if slow else (None,)
    return [b for b in blocks_of(page) if b.language in ("python", "bash") and b.mark in marks]


def has_slow(page: pathlib.Path) -> bool:
    """Whether `pytest -m slow` runs more of a page than the ordinary tests do."""
    return len(runnable(page, slow=True)) > len(runnable(page, slow=False))


def run(page: pathlib.Path, folder: pathlib.Path, slow: bool = False) -> str:
    """Runs a page in an empty folder, or in a clone if it gives commands; returns what it printed."""
    blocks = runnable(page, slow)
    script, installed, folder = folder / f"{page.stem}_page.py", folder / "installed", folder / "folder"
    installed.mkdir()
    (installed / "glow_tf").symlink_to(ROOT / "glow_tf")  # Of what `pip install .` installs, the library.
    if any(block.language == "bash" for block in blocks):
        _clone(folder)
    else:
        folder.mkdir()
    script.write_text("\n".join(_as_python(block) for block in blocks))
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ
        | {
            "MPLBACKEND": "Agg",
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(installed),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    printed = {_DECIMAL.sub("#", line.strip()) for line in re.split(r"[\r\n]", done.stdout)}
    missing = [line for block in blocks for line in block.prints if _DECIMAL.sub("#", line) not in printed]
    assert not missing, f"{page.name} says that these are printed: {missing}\n{done.stdout}"
    return done.stdout


def _as_python(block: Block) -> str:
    if block.language == "python":
        return block.code
    command = ["bash", "-euo", "pipefail", "-c", block.code]
    return f"import subprocess\nsubprocess.run({command!r}, check=True)\n"


def _clone(folder):
    """Copies the project's files."""
    folder.mkdir()
    for name in _CLONE + _REQUIREMENTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
