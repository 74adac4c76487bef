"""--help: the flags of a command in groups, those that people need first on top."""

import shutil
import sys
import textwrap

from absl import app, flags

FLAGS = flags.FLAGS

TITLES = {
    "first": "Needed first",
    "data": "Data",
    "model": "Model",
    "optimisation": "Optimisation",
    "run": "Run",
}
HIDDEN = "hidden"  # The group of what --helpfull alone shows.
_WIDEST = 110  # Columns.

_groups: dict[str, str] = {}


def set_group(name: str, group: str) -> None:
    """Says in which group a flag is shown; unless said, it is with the data or the run, by its file."""
    _groups[name] = group


def define(first: str | None) -> None:
    """Defines --help and -h, and --helpshort and -?, in the place of absl's, which sort by file and name.

    Args:
        first: names of the flags on top, a space between; those of the command's own file unless given.
    """
    kinds = (_Help, _HelpShort)
    for name in [name for kind in kinds for name in (kind.NAME, kind.SHORT_NAME)]:
        if name in FLAGS:
            delattr(FLAGS, name)
    for kind in kinds:
        flags.DEFINE_flag(kind(first))


class _Help(app.HelpFlag):
    """Shows the help and ends the process."""

    SHORT_NAME = "h"

    def __init__(self, first):
        super().__init__()
        self._first = first

    def parse(self, argument):
        if self.parser.parse(argument):
            print(text(self._first))
            raise SystemExit(0)


class _HelpShort(_Help):
    NAME, SHORT_NAME = "helpshort", "?"


def text(first: str | None) -> str:
    """Returns what --help shows, the command's docstring and its flags; `first` as in `define`."""
    own = sys.argv[0]
    names = (name for name in FLAGS if FLAGS[name].name == name)  # Once, not by a short name too.
    modules = {name: FLAGS.find_module_defining_flag(name) for name in names}
    first = [name for name, module in modules.items() if module == own] if first is None else first.split()
    groups = {group: [] for group in TITLES} | {"first": first}
    for name, module in modules.items():
        if not (module.startswith("experiments.") or module == own) or name in ("help", "helpshort"):
            continue
        group = _groups.get(name, "data" if module.startswith("experiments.data.") else "run")
        if name not in first and group != HIDDEN:
            groups[group].append(name)
    titles = dict(TITLES)
    if "openai_checkpoint" in FLAGS:
        titles["model"] += ", of an --openai_checkpoint; a run knows its own"
    parts = [(sys.modules["__main__"].__doc__ or "").strip()]
    for group, names in groups.items():
        if names:
            parts.append("\n".join([f"{titles[group]}:", *map(_line, names)]))
    parts.append(
        "--helpfull shows all flags, also absl's, and those of the original's that aren't needed here."
    )
    return "\n\n".join(parts)


def _line(name):
    flag = FLAGS[name]
    words = " ".join((flag.help or "").split())
    if flag.default is not None and "Default: " not in words:
        default = flag.default
        words += f" Default: {','.join(default) if isinstance(default, list) else repr(default)}."
    head = f"--[no]{name}" if flag.boolean else f"--{name}"
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    indents = dict(initial_indent=f"  {head}  ", subsequent_indent=" " * 6)
    return textwrap.fill(words, width, break_on_hyphens=False, **indents)
