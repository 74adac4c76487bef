"""The logs of a run: files of JSON lines, the first of which holds the hyperparameters."""

import json
import pathlib
import sys

from experiments.cli import UsageError
from experiments.settings import hps_json

_MOST = 1e300  # Of a number in a row; JSON also has longer ones, and Python's has NaN and Infinity.


def read(path: pathlib.Path, columns=("epoch",)) -> tuple[list[dict], bool]:
    """Reads a log.

    A last line that is cut, as of a process that was killed while it wrote, is left out.

    Args:
        path: of the file, which may be missing.
        columns: names of numbers that every row must have.

    Returns:
        Its objects, the hyperparameters first; and whether the file is whole.

    Raises:
        UsageError: for a line that is none of a log; the message names file and line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], False
    except OSError as error:
        raise UsageError(f"Can't read {path}: {error.strerror}.") from error
    cut = lines.pop()
    objects = []
    for number, line in enumerate(lines, 1):
        value = _parse(line, columns if objects else ())
        if value is None:
            start = line[:60].decode("utf-8", "replace")
            raise UsageError(
                f"{path}, line {number}: this is no line of a run's log: {start!r}. Remove the line, or give "
                "another --logdir."
            )
        objects.append(value)
    if cut:
        print(f"warning: the last line of {path} is cut, and left out.", file=sys.stderr)
    return objects, not cut


def _parse(line, columns):
    """Returns the object of a line, or None if it isn't one with these columns."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < _MOST
    return value if all(number(value.get(column)) for column in columns) else None


class Log:
    """A log of a run that goes on.

    Rows of later steps than the run's, which it is going to make again, are removed when it is opened.

    Attributes:
        rows: the rows but for the first.
    """

    def __init__(self, run, name: str, columns=()):
        """Opens the file, which a resumed run goes on with.

        Args:
            run: whose log it is.
            name: of the file in the logdir.
            columns: names of numbers, besides epoch and n_processed, that are read from the rows.

        Raises:
            UsageError: if the file isn't a log.
        """
        self._run = run
        self._path = run.logdir / name
        objects, whole = read(self._path, ("epoch", "n_processed", *columns))
        if run.step and not objects:
            print(f"warning: {self._path} is missing: the rows of earlier epochs are lost.", file=sys.stderr)
        self._first, rows = (objects or [hps_json.to_json(run.hyperparameters)])[0], objects[1:]
        self.rows = [row for row in rows if row["n_processed"] <= run.n_processed]
        if run.is_chief and not (whole and objects and self.rows == rows):
            self._write_all()

    def add(self, row: dict) -> None:
        """Adds a row, in place of one of the same epoch; puts the file back if it was removed."""
        old, self.rows = self.rows, [r for r in self.rows if r["epoch"] != row["epoch"]] + [row]
        if not self._run.is_chief:
            return
        there = self._path.exists()
        if there and len(self.rows) > len(old):
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            return
        if not there:
            print(f"warning: {self._path} was removed, and is written again.", file=sys.stderr)
        self._write_all()

    def _write_all(self):
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text("".join(json.dumps(line) + "\n" for line in [self._first, *self.rows]))
        new.replace(self._path)
