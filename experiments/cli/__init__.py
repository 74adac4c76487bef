"""How a command starts, reports a user's mistake, and ends."""

from experiments.cli.command import end_as_by_ctrl_c, run
from experiments.cli.errors import UsageError, explain

__all__ = ["UsageError", "end_as_by_ctrl_c", "explain", "run"]
