"""Flags that are lists of numbers."""

import math

from absl import flags

from experiments.cli import UsageError


def integers(name: str) -> list[int]:
    """Returns the integers of a list flag; raises a UsageError if one isn't."""
    return _parse(name, int, "integers")


def floats(name: str) -> list[float]:
    """Returns the numbers of a list flag, at least one; raises a UsageError if one isn't finite."""
    values = _parse(name, float, "numbers")
    wrong = [value for value in values if not math.isfinite(value)]
    if wrong or not values:
        raise UsageError(f"--{name} takes finite numbers, got {wrong[0] if wrong else 'none'}.")
    return values


def _parse(name, kind, description):
    try:
        return [kind(value) for value in flags.FLAGS[name].value]
    except ValueError as error:
        raise UsageError(f"--{name} takes {description}: {error}.") from error
