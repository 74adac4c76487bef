"""Flags of every command with values of every kind: an answer or a sentence, never a traceback."""

import pathlib
import random

import numpy as np
from PIL import Image

from tests.support import commands

_CASES = 12  # Of each command; fewer where it has hardly a flag.

# What is typed by mistake, or comes out of a script's empty variable; {names} are paths.
_VALUES = [
    *(
        "",
        "-1",
        "0",
        "1",
        "3",
        "nan",
        "-inf",
        "1e400",
        "9" * 30,
        "-" + "9" * 30,
        "1.5",
        "0x10",
        "1_000",
        "True",
    ),
    *(
        "None",
        "--",
        "-",
        "'",
        ",",
        ",,1",
        "0,nan",
        "1,x",
        "a=b",
        "%s{}",
        "[",
        "\\",
        "🎲",
        "\udcff",
        "\n",
        "\x01",
    ),
    *(
        "x" * 300,
        "{nothing}",
        "{folder}",
        "{file}",
        "{picture}",
        "/dev/null",
        "/dev/null/x",
        "/proc/x.png",
        "~",
    ),
]

# What each command is asked first, and what comes after the mistakes so that nothing is trained or served.
_RUN = (["--logdir={run}"], [])
_ASKED = {
    "train": (["--logdir={nothing}"], ["--dry_run"]),
    "evaluate": _RUN,
    "sample": (["--logdir={run}", "--rows=1", "--out={out}.png"], []),
    "interpolate": (["--logdir={run}", "--out={out}.gif"], []),
    "manipulate": (["--logdir={run}", "--out={out}.png", "--directions={out}.npz"], []),
    "export": (["--logdir={run}", "--export_dir={out}"], []),
    "client": (["--server=127.0.0.1:1", "--timeout=1", "--out={out}.png"], []),
    "records": (["--images={folder}", "--data_dir={out}"], []),
    "reproduce": (["--logdir={nothing}"], ["--row=cifar10", "--ablation"]),
    "benchmark": ([], ["and no such argument"]),
    "serving_benchmark": ([], ["and no such argument"]),
    "pipeline_benchmark": ([], ["and no such argument"]),
    "demo": (["--logdir={nothing}"], []),
}


def mistaken(name: str, value: str, draw: random.Random) -> list[str]:
    """Returns the words of a flag with a value, or of one that is written in a wrong way."""
    return draw.choices(
        [
            [f"--{name}={value}"],
            [f"--{name}", value],
            [f"-{name}={value}"],
            [f"--no{name}={value}"],
            [f"--{name}s={value}"],
            [f"--{name[:4]}", value],
            [f"--{name}"],
            [value],
        ],
        [12, 3, 1, 1, 1, 1, 1, 1],
    )[0]


def lines_of(command: str) -> list[list[str]]:
    """Returns command lines, the same each time, in each of which one or two flags are mistaken."""
    draw, names = random.Random(command), commands.flags_of(command)
    # As often one of its own as one of the model's, which all that read a run have.
    own = sorted(set(names) - set(commands.flags_of("train"))) or names
    first, last = _ASKED[command]
    lines = []
    for _ in range(min(_CASES, 8 * len(names))):
        chosen = [draw.choice(draw.choice([own, names])) for _ in range(draw.choice([1, 1, 2]))]
        words = [word for name in chosen for word in mistaken(name, draw.choice(_VALUES), draw)]
        lines.append([command, *first, *words, *last])
    return lines


def test_flags_of_every_command(digits_run, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(bytes(range(256)))
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    for path in (tmp_path / "picture.png", tmp_path / "folder" / "picture.png"):
        Image.fromarray(picture).save(path)
    paths = {name: tmp_path / name for name in ("nothing", "folder", "file", "out")}
    paths |= dict(run=digits_run, picture=tmp_path / "picture.png")

    def fill(word):
        for name, path in paths.items():
            word = word.replace(f"{{{name}}}", str(path))
        return word

    lines = [[fill(word) for word in line] for command in _ASKED for line in lines_of(command)]
    results = commands.run_many(lines, cwd=tmp_path)
    for line, (code, out, err) in zip(lines, results, strict=True):
        assert code in (0, 2, 75) and "Traceback" not in out + err, (line, code, out, err)
        assert code != 2 or err.rpartition("error: ")[2].strip(), (line, err)
    assert sum(code == 2 for code, _, _ in results) > len(lines) / 2


def test_every_command_is_here():
    folder = pathlib.Path(commands.ROOT) / "experiments"
    found = {path.stem for path in folder.glob("[!_]*.py")}
    assert found | {path.parent.name for path in folder.glob("*/__main__.py")} == set(_ASKED)
