"""hps.json, the hyperparameters of a run in its logdir: keys and numbers are the original's.

A word of `Hyperparameters` that the original numbers (flow_permutation, flow_coupling) is its number here.
"""

import dataclasses
import json
import os
import pathlib

from experiments.cli import UsageError
from experiments.data.problems import ALL, PROBLEMS
from experiments.settings import earlier
from experiments.settings.hyperparameters import ENTRIES, GIVEN, Hyperparameters, glow_config, resolve

# A run may be longer, look more often, find its data elsewhere: it is the same run.
_FREE = {"epochs", "epochs_full_valid", "epochs_full_sample", "data_dir", "n_batch_test"}

# Who only reads a run may have its data elsewhere, fewer of them, and other batches; a seed is the command's.
_FREE_IN_READING = ("data_dir", "n_test", "n_batch_test")

_MEND = "Put back what the run wrote there, or give another --logdir."


def to_json(hyperparameters: Hyperparameters) -> dict:
    """Returns what hps.json holds of hyperparameters."""
    values = dataclasses.asdict(hyperparameters)
    values |= {name: entry.number(values[name]) for name, entry in ENTRIES.items()}
    classes = values.pop("classes")
    return values | ({} if classes is None else {"classes": list(classes)})


def from_json(values: dict, where: str, mend: str = "") -> Hyperparameters:
    """Returns the hyperparameters that an object like hps.json's holds; what is unknown in it is left out.

    Args:
        values: the object.
        where: what it is called in a sentence.
        mend: a sentence on what to do.

    Raises:
        UsageError: if a key is missing, or a value isn't allowed.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{where} must be a JSON object, got {type(values).__name__}. {mend}".rstrip())
    values = {name: entry.default for name, entry in GIVEN.items() if entry.own} | values
    missing = [name for name in ENTRIES if name not in values]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(map(repr, missing))}. {mend}".rstrip())
    known = {name: entry.word(values[name]) for name, entry in ENTRIES.items()}
    for name, value in known.items():
        ENTRIES[name].require(value, f"{where}: {name!r}")
    classes = values.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UsageError(f"{where}: 'classes' must be a list of names, got {classes!r}. {mend}".rstrip())
    if "classes" in values and len(classes) != known["n_y"]:
        raise UsageError(
            f"{where}: 'classes' are {len(classes)} names, but 'n_y' is {known['n_y']}. {mend}".rstrip()
        )
    read = Hyperparameters(**known, classes=tuple(classes) if "classes" in values else None)
    try:
        glow_config(read)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return read


def exists(logdir: pathlib.Path) -> bool:
    """Returns whether a logdir holds a run."""
    return os.path.lexists(_file(logdir))


def load(logdir: pathlib.Path, world_size: int | None = None) -> Hyperparameters:
    """Reads hps.json of a logdir.

    Args:
        logdir: with a run.
        world_size: int, of an earlier run that didn't keep it, if what it did keep leaves a choice; the least
            that is possible unless given.

    Raises:
        UsageError: if there is none, or it isn't what a run writes; the message names the file and the key.
    """
    values = _read(logdir)
    read = from_json(values, str(_file(logdir)), _MEND)
    if "world_size" in values:
        return read
    possible = earlier.world_sizes(read, logdir)
    size = world_size if world_size in possible else next(iter(possible), read.world_size)
    return dataclasses.replace(read, world_size=size)


def save(hyperparameters: Hyperparameters, logdir: pathlib.Path) -> None:
    """Writes hps.json to a logdir; raises a UsageError if it holds a run with other ones."""
    if exists(logdir):
        _require_same(hyperparameters, logdir)
        if _read(logdir) == to_json(hyperparameters):
            return
    text = json.dumps(to_json(hyperparameters), indent=2) + "\n"
    new = _file(logdir).with_name("hps.json.new")
    new.write_text(text)
    new.replace(_file(logdir))  # Whole or not at all.


def as_begun(hyperparameters: Hyperparameters, logdir: pathlib.Path) -> Hyperparameters:
    """Returns hyperparameters without classes, if the run in a logdir was begun before folders had them."""
    if hyperparameters.classes is None or not exists(logdir):
        return hyperparameters
    there = load(logdir)
    if there.classes is not None:
        return hyperparameters
    return dataclasses.replace(hyperparameters, classes=None, n_y=there.n_y)


def going_on(logdir: pathlib.Path | None, given: dict) -> Hyperparameters:
    """Resolves the hyperparameters of a training; what isn't given is as in the run that it goes on with.

    Args:
        logdir: with or without a run; None is a new one.
        given: as `resolve`.

    Raises:
        UsageError: as `resolve` and `load`; if the run there is another; and if it is of an earlier version,
            and nothing says how many replicas it had.
    """
    if logdir is None or not exists(logdir):
        return resolve(given)
    given = {name: value for name, value in given.items() if value is not None}
    there = load(logdir, given.get("world_size"))
    if "world_size" not in _read(logdir) and "world_size" not in given:
        earlier.require_one(there, logdir)
    resolved = resolve({name: getattr(there, name) for name in GIVEN} | given)
    resolved = as_begun(resolved, logdir)
    _require_same(resolved, logdir)
    return resolved


def for_reading(logdir: pathlib.Path, given: dict) -> Hyperparameters:
    """Returns the hyperparameters of a run that is read, not trained.

    Args:
        logdir: of the run.
        given: what the flags say. Where the data are, and how many there are and are read at once, may differ
            from the run's; a seed is the command's own.

    Raises:
        UsageError: if anything else is given otherwise than the run has it; and as `load`.
    """
    there = load(logdir, given.get("world_size"))
    for name, value in given.items():
        entry = GIVEN[name]
        word = entry.word(value)
        entry.require(word, f"--{name}")
        is_the_problems = value == -1 and entry.minus_one
        if name not in (*_FREE_IN_READING, "seed") and not is_the_problems and word != getattr(there, name):
            raise UsageError(
                f"--{name} {value} is given, but the run in {logdir} has {getattr(there, name)!r}. Leave it "
                "out: the run's own hyperparameters are taken."
            )
    changes = {name: given[name] for name in _FREE_IN_READING if name in given}
    if changes.get("n_test", there.n_test) == ALL:
        changes["n_test"] = PROBLEMS[there.problem].n_test
    return dataclasses.replace(there, **changes)


def _file(logdir):
    return logdir / "hps.json"


def _read(logdir):
    """Returns the JSON value of hps.json in a logdir; raises a UsageError that names it if it has none."""
    file = _file(logdir)
    if not exists(logdir):
        raise UsageError(f"There is no run in {logdir}: no file {file}.")
    if file.is_fifo():  # Reading it would wait for ever.
        raise UsageError(f"Can't read {file}: it is a pipe. {_MEND}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Can't read {file}: {error.strerror}. {_MEND}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{file}, line {error.lineno}: this is no JSON: {error.msg}. {_MEND}") from error
    except (ValueError, RecursionError) as error:  # No UTF-8, numbers of thousands of digits, and the like.
        raise UsageError(f"{file}: this is no JSON: {error}. {_MEND}") from error


def _require_same(hyperparameters, logdir):
    """Raises a UsageError if the run in a logdir is another; what is unknown in its hps.json makes it one."""
    there, new = load(logdir, hyperparameters.world_size), to_json(hyperparameters)
    old = _read(logdir) | to_json(there)
    names = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k) and k not in _FREE)
    if names:
        changes = ", ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} here" for k in names)
        raise UsageError(
            f"{logdir} holds a run with other hyperparameters ({changes}). Give another --logdir, or the "
            "same hyperparameters to go on with that run; --logdir alone takes them from there."
        )
