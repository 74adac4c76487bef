"""What runs Glow: training, evaluation and sampling from the command line."""

import sys

_excepthook = sys.excepthook


def _end(kind, error, trace):
    """Ctrl-C while a command's modules are still imported, which takes seconds, is a line too."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted.", file=sys.stderr)
    else:
        _excepthook(kind, error, trace)


if sys.argv[0] == "-m":  # As `python -m experiments.COMMAND` has it now.
    sys.excepthook = _end
