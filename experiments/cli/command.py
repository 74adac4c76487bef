"""What is around a command's main: its flags are read, and every end but a fault of the program is a line."""

import contextlib
import os
import re
import signal
import sys

from absl import app, flags, logging

from experiments.cli import help
from experiments.cli.errors import UsageError, explain

FLAGS = flags.FLAGS

MISTAKE = 2  # The exit code after a UsageError, or what the machine refuses.
INTERRUPTED = 128 + signal.SIGINT  # As shells say it.

# What absl passes on of a value that can't be parsed, and what it must be.
_ALLOWED = {
    r"\('Non-boolean argument to boolean flag', .*\)": "it must be true or false",
    r"invalid literal for int\(\) with base \d+: .*": "it must be an integer",
    r"could not convert string to float: .*": "it must be a number",
}


def run(main, takes_arguments: bool = False, first: str | None = None):
    """Runs a command's main(argv) and ends the process.

    A mistake of the user's, and what the operating system, a file or the memory refuses, is a paragraph on
    stderr and the exit code 2; Ctrl-C is a line and 130. Anything else is a fault of this program's, with a
    traceback.

    Args:
        main: a function of the arguments that are no flags, the command's name first.
        takes_arguments: whether there may be any.
        first: names of the flags that --help shows on top, a space between; those of the command's own file
            unless given.
    """

    def guarded(argv):
        logging.set_verbosity(logging.WARNING)  # Not a line for every checkpoint.
        if len(argv) > 1 and not takes_arguments:
            raise UsageError(f"Unexpected arguments: {argv[1:]}. Flags are --NAME VALUE; see --help.")
        main(argv)
        sys.stdout.flush()  # Now, when it can still be said that nobody reads it.

    def parse_with_help(argv):
        help.define(first)
        return parse(argv)

    try:
        app.run(guarded, flags_parser=parse_with_help)
    except UsageError as error:
        _end(MISTAKE, f"error: {error}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "interrupted.")
    except Exception as error:
        reason = explain(error)
        if reason is None:
            raise
        _end(MISTAKE, f"error: {reason}")


def end_as_by_ctrl_c() -> None:
    """Makes SIGTERM and SIGHUP what Ctrl-C is, for a command that has a temporary folder to remove."""

    def interrupt(number, frame):
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # As nohup has it.
            signal.signal(number, interrupt)


def parse(argv: list[str]) -> list[str]:
    """Reads the flags; returns the arguments that are none.

    Unique beginnings of a flag's name are accepted, as by the original's argparse.

    Raises:
        UsageError: for a flag that isn't known, or a value that isn't allowed.
    """
    for argument in argv:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"Arguments must be UTF-8, got {argument!r}.") from error
    argv = [*argv[:1], *_spelled_out(argv[1:])]
    try:
        arguments = FLAGS(argv)
    except (flags.Error, ValueError) as error:
        raise UsageError(f"{_in_words(str(error)).rstrip('.')}. See --help.") from error
    except SystemExit as end:
        # absl ends with 1 after --helpfull.
        raise SystemExit(0 if end.code == 1 else end.code) from end
    if "logdir" in FLAGS and FLAGS["log_dir"].present:
        raise UsageError("--log_dir is absl's own, for its log files; a run is in --logdir.")
    return arguments


def _in_words(text):
    """Returns a message of absl's with what is allowed in place of what Python says."""
    for pattern, words in _ALLOWED.items():
        text = re.sub(pattern, words, text, flags=re.DOTALL)
    return text


def _spelled_out(arguments):
    """Returns the arguments with unique beginnings of flags' names made whole."""
    whole = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return whole + arguments[i:]
        name, equals, value = argument.partition("=")
        known = {flag for flag in FLAGS if name.startswith("--") and flag.startswith(name[2:])}
        if len({FLAGS[flag].name for flag in known}) == 1 and name[2:] not in known:
            name = f"--{known.pop()}"
        whole.append(name + equals + value)
    return whole


def _end(code, line):
    """Ends the process with a line, also where nobody reads it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try again, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
