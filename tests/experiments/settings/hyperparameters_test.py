"""Entries, and what they resolve to."""

import dataclasses
import math
import re

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import train
from experiments.cli import UsageError, command
from experiments.data.problems import PROBLEMS
from experiments.settings import given_flags, glow_config, resolve
from experiments.settings.hyperparameters import ENTRIES, GIVEN


@pytest.fixture(scope="module", autouse=True)
def training_flags():
    """The flags of the training command, in this process."""
    with flagsaver.flagsaver():
        train.define_flags()
        yield


def parsed(*arguments) -> dict:
    """Returns what a command line gives."""
    with flagsaver.flagsaver():
        command.parse(["train", *arguments])
        return {name: value for name, value in given_flags().items() if value is not None}


def allowed(entry) -> list:
    """Returns values that an entry allows, the bounds among them."""
    if entry.words:
        return list(entry.words)
    if entry.kind is str:
        return ["", "a b"]
    if entry.kind is bool:
        return [True, False]
    return [entry.least, entry.most] + ([-1] if entry.minus_one else [])


def refused(entry) -> list:
    """Returns values that an entry doesn't allow, of its type and of others."""
    others = [None, [], {}, b"x", *([3] if entry.kind is str else ["three"])]
    if entry.words:
        return [*others, "", entry.words[0].upper(), f"{entry.words[0]} "]
    if entry.kind is str:
        return others
    if entry.kind is bool:
        return [*others, 0, 1, "true"]
    below = [-2 if entry.minus_one else entry.least - 1]
    return [*others, True, math.nan, -math.inf, math.inf, *below, entry.most * 2 + 1]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_takes_its_bounds_and_nothing_beyond(name):
    entry = ENTRIES[name]
    for value in allowed(entry):
        assert entry.wrong(value) is None, value
    for value in refused(entry):
        with pytest.raises(UsageError, match=f"--{name} must be .*, got {re.escape(repr(value))}"):
            entry.require(value, f"--{name}")


@pytest.mark.parametrize("name", GIVEN)
def test_a_flag_is_its_entry(name):
    """Its values by words and numbers; its help has the default, and a problem's own."""
    entry, text = GIVEN[name], flags.FLAGS[name].help
    assert f" Default: {entry.default!r}" in text
    for problem, about in PROBLEMS.items():
        assert (f", {problem}: {about.defaults.get(name)!r}" in text) == (name in about.defaults)
    for value in allowed(entry):
        typed = f"--{name}={value}"
        assert parsed(typed) == {name: value}, typed
    for number, word in enumerate(entry.words if entry.numbered else ()):
        assert parsed(f"--{name}={number}") == parsed(f"--{name}", word) == {name: word}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_an_entry(problem):
    """Its defaults are allowed, and the others are the original's."""
    about = PROBLEMS[problem]
    resolved = resolve(dict(problem=problem))
    for name, entry in GIVEN.items():
        value = getattr(resolved, name)
        expected = getattr(about, name, about.defaults.get(name, entry.default))
        assert value == (problem if name == "problem" else expected), name
    assert resolved.n_y == about.n_y
    for n_channels in (1, 3):
        given = dict(problem=problem, n_channels=n_channels)
        if n_channels in about.allowed_channels:
            assert glow_config(resolve(given)).n_channels == n_channels
        else:
            with pytest.raises(UsageError, match=f"--n_channels of {problem} must be"):
                resolve(given)


def test_words_and_their_numbers_are_the_same():
    for name, entry in GIVEN.items():
        for number, word in enumerate(entry.words if entry.numbered else ()):
            assert resolve({name: number}) == resolve({name: str(number)}) == resolve({name: word})
            assert getattr(resolve({name: number}), name) == word
            assert getattr(glow_config(resolve({name: number})), name) == word


def test_what_follows_from_others():
    """As the original's README has it for CIFAR-10, of eight workers; batches shrink with the area."""
    cifar10 = resolve(dict(problem="cifar10", world_size=8))
    assert (cifar10.local_batch_train, cifar10.local_batch_init, cifar10.train_its) == (64, 256, 98)
    assert cifar10.batch_size == 512 and cifar10.beta2 == 1 - 1 / 98
    faces = resolve(dict(problem="celeba", n_levels=6))
    assert (faces.local_batch_train, faces.local_batch_init, faces.train_its) == (1, 4, 782)
    assert faces.batch_size == 1
    with pytest.raises(UsageError, match="--world_size 2147483647 times 64 images"):
        resolve(dict(world_size=2**31 - 1))


def test_hyperparameters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolve({}).depth = 2
