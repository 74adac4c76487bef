"""The commands as pip installs them."""

import json
import sys
import tomllib

import pytest
from absl.testing import flagsaver

from experiments.cli import script
from tests.support.commands import ROOT

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def test_every_command_has_a_script():
    modules = [path for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text()]
    names = {path.stem for path in modules} | {"demo"}
    assert {f"glow-{name.replace('_', '-')}": "experiments.cli.script:main" for name in names} == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_its_command(monkeypatch, name):
    started = []
    monkeypatch.setattr(script.runpy, "run_module", lambda module, **how: started.append((module, how)))
    for path in (f"/usr/bin/{name}", f"C:/scripts/{name}.exe"):
        monkeypatch.setattr(sys, "argv", [path])
        script.main()
    module = f"experiments.{name.removeprefix('glow-').replace('-', '_')}"
    assert started == [(module, dict(run_name="__main__", alter_sys=True))] * 2
    assert (ROOT / f"{module.replace('.', '/')}.py").exists() or module == "experiments.demo"


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    def run_module(*arguments, **how):
        raise ModuleNotFoundError("No module named 'gradio'", name="gradio")

    monkeypatch.setattr(script.runpy, "run_module", run_module)
    monkeypatch.setattr(sys, "argv", ["glow-demo"])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 2 and "glow-tf[demo]" in capsys.readouterr().err


def test_a_script_prints_what_the_command_prints(monkeypatch, capsys):
    """In this process, to its end."""
    with flagsaver.flagsaver():
        monkeypatch.delitem(sys.modules, "experiments.train", raising=False)
        monkeypatch.setattr(sys, "argv", ["glow-train", "--dry_run", "--depth=3"])
        with pytest.raises(SystemExit) as end:
            script.main()
    assert not end.value.code and json.loads(capsys.readouterr().out)["depth"] == 3
