"""How a command starts, reports a user's mistake, and ends."""

from experiments.cli.command import run
from experiments.cli.errors import UsageError, explain

__all__ = ["UsageError", "explain", "run"]
