"""--help: every flag in one group, those that are needed first on top."""

import re

from experiments import train
from experiments.cli import help
from experiments.settings.flags import _NOT_HERE
from experiments.settings.hyperparameters import GIVEN
from tests.support import commands

COMMANDS = ("train", "sample", "interpolate", "manipulate", "evaluate", "export", "reproduce", "records")


def sections(text: str) -> dict[str, list[str]]:
    """Returns the names of the flags of each section of what --help printed, by its title."""
    parts = [part.splitlines() for part in text.split("\n\n")]
    flag = re.compile(r"  --(?:\[no\])?(\w+)  \S")
    found = {
        part[0].rstrip(":"): [m[1] for line in part if (m := flag.match(line))] for part in parts if part
    }
    return {title: names for title, names in found.items() if names}


def test_help():
    results = commands.run_many([[command, "--help"] for command in COMMANDS])
    for command, (code, out, err) in zip(COMMANDS, results, strict=True):
        assert code == 0 and not err, (command, err)
        found = sections(out)
        shown = [name for names in found.values() for name in names]
        assert len(set(shown)) == len(shown), (command, found)
        assert next(iter(found)) == help.TITLES["first"]
        first = found.pop(help.TITLES["first"])
        assert 1 <= len(first) <= 12
        assert f"python -m experiments.{command}" in out, "what one types"
        assert not set(_NOT_HERE) & set(shown) and "helpfull" in out
        if command not in ("reproduce", "records"):
            assert set(GIVEN) <= set(shown)
            groups = {title.partition(",")[0]: names for title, names in found.items()}
            for entry in GIVEN.values():
                assert entry.name in first + groups[help.TITLES[entry.group]], (command, entry.name)


def test_help_of_the_training():
    short, whole = commands.run_many([["train", "-h"], ["train", "--helpfull"]])
    found = sections(short[1])
    assert found["Needed first"] == train.FIRST.split() and len(train.FIRST.split()) == 10
    assert list(found) == list(help.TITLES.values())
    assert {"download", "dal"} <= set(found["Data"]) and {"cores", "save_every"} <= set(found["Run"])
    assert {"lr", "clip_norm"} <= set(found["Optimisation"]) and "flow_coupling" in found["Model"]
    assert all(len(line) <= 110 for line in short[1].splitlines())
    assert whole[0] == 0 and "--restore_path" in whole[1].replace("[no]", "") and "--verbosity" in whole[1]
