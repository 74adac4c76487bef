"""What pip installs, and what an sdist holds."""

import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import glow_tf
from tests.support.documents import ROOT

_NOT_SOURCE = shutil.ignore_patterns("__pycache__", ".*_cache", ".git", ".venv*", "venv", "*.egg-info")
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, source, out) -> str:
    """Returns the path of the sdist or wheel of a source tree, made by pyproject.toml's backend."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist, unpacked."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "clone", ignore=_NOT_SOURCE)
    with tarfile.open(build("sdist", folder / "clone", folder)) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    assert unpacked.name.endswith(f"-{glow_tf.__version__}")
    return unpacked


def test_an_sdist_has_what_the_tests_need(sdist):
    for name in ("glow_tf", "experiments", "tests", "docs"):
        made = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()}
        made = {path for path in made if path.suffix != ".pyc"}
        assert not [path for path in made if not (sdist / path).exists()]
    files = [*ROOT.glob("*.md"), *ROOT.glob("requirements*.txt"), *ROOT.glob("*.yml"), *ROOT.glob("*.toml")]
    names = [path.name for path in files] + ["BUILD", "MODULE.bazel", "CITATION.cff", "LICENSE", ".ci/run"]
    assert not [name for name in names if not (sdist / name).exists()]


def test_a_wheel_of_it_has_the_library_and_the_commands(sdist):
    with zipfile.ZipFile(build("wheel", sdist, sdist.parent)) as wheel:
        held = set(wheel.namelist())
        (about,) = (name for name in held if name.endswith("entry_points.txt"))
        scripts = wheel.read(about).decode()
    made = {
        path.relative_to(ROOT).as_posix()
        for name in ("glow_tf", "experiments")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in held if ".dist-info/" not in name} == made
    assert "glow-train = experiments.cli.script:main" in scripts.splitlines()


def test_names_of_tests_differ():
    """Each file of tests is one of Bazel's targets, which are all in one package."""
    names = [path.stem for path in (ROOT / "tests").rglob("*_test.py")]
    assert len(names) > 50
    assert not {name for name in names if names.count(name) > 1}
