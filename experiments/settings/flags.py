"""A flag in one entry: its default, help and bounds make the absl flag, the check, and a mistake's sentence.

`hyperparameters.Hyperparameters` has the entries, as its fields.
"""

import dataclasses
from typing import Any

from absl import flags

from experiments.cli import UsageError, help

COUNT = 2**31 - 1  # The most that anything is counted to, with room for sums of them in int64.


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of a hyperparameter.

    Attributes:
        name: the original's.
        kind: str, bool, int or float.
        default: where neither the user nor the problem gives a value; None of what is derived from others.
        help: a sentence, without what the other attributes say.
        least, most: bounds of a number, both allowed. NaN is within none.
        words: the allowed values of a str; any unless given.
        numbered: whether the place of a word in `words` stands for it, as in the original: on the command
            line besides the word, in hps.json instead of it.
        minus_one: what -1 stands for, where that is allowed.
        own: whether it is this project's own, which hps.json of an earlier run may lack.
        group: where --help shows it, a key of `help.TITLES`.
    """

    name: str
    kind: type
    default: Any
    help: str
    least: float
    most: float
    words: tuple[str, ...]
    numbered: bool
    minus_one: str | None
    own: bool
    group: str

    def wrong(self, value) -> str | None:
        """Returns what a value must be, or None if it is."""
        if self.kind is str:
            taken = isinstance(value, str) and (not self.words or value in self.words)
            wanted = f"one of {', '.join(self.words)}" if self.words else "a string"
            if self.numbered:
                wanted = f"an integer from 0 to {len(self.words) - 1}, or {' or '.join(self.words)}"
        elif self.kind is bool:
            taken, wanted = isinstance(value, bool), "true or false"
        else:
            is_number = isinstance(value, int if self.kind is int else (int, float))
            within = is_number and not isinstance(value, bool) and self.least <= value <= self.most
            taken = within or (is_number and value == -1 and self.minus_one is not None)
            wanted = f"{'an integer' if self.kind is int else 'a number'} from {self.least:g} to {self.most}"
            if self.minus_one:
                wanted += f", or -1 for {self.minus_one}"
        return None if taken else wanted

    def require(self, value, called: str) -> None:
        """Raises a UsageError for a value that isn't allowed; `called` is what its sentence calls it."""
        wanted = self.wrong(value)
        if wanted:
            raise UsageError(f"{called} must be {wanted}, got {value!r}.")

    def word(self, value):
        """Returns the word that a number, an int or its digits, stands for; any other value as it is."""
        if not self.numbered or isinstance(value, bool):
            return value
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        return self.words[number] if isinstance(number, int) and 0 <= number < len(self.words) else value

    def number(self, value):
        """Returns the number that stands for a word; any other value as it is."""
        return self.words.index(value) if self.numbered else value

    def define(self, defaults: dict) -> None:
        """Defines the absl flag, whose value is None where it isn't given.

        Args:
            defaults: by the name of a problem, where its default is another.
        """
        help_text = self.help
        if self.minus_one:
            help_text += f" -1 is {self.minus_one}."
        if self.numbered:
            help_text += f" {', '.join(f'{i} {word}' for i, word in enumerate(self.words))}; or the word."
        help.set_group(self.name, self.group)
        others = "".join(f", {problem}: {value!r}" for problem, value in defaults.items())
        help_text += f" Default: {self.default!r}{others}."
        if self.words:
            numbers = [str(i) for i in range(len(self.words))] if self.numbered else []
            flags.DEFINE_enum(self.name, None, [*numbers, *self.words], help_text)
        else:
            kinds = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float}
            kinds.get(self.kind, flags.DEFINE_string)(self.name, None, help_text)


def flag(
    default,
    help_text: str,
    least: float = 1,
    most: float = COUNT,
    words: tuple[str, ...] = (),
    numbered: bool = False,
    minus_one: str | None = None,
    own: bool = False,
    group: str = "run",
):
    """Returns the dataclass field of a hyperparameter that has a flag; see `Entry`."""
    about = dict(least=least, most=most, words=words, numbered=numbered, minus_one=minus_one, own=own)
    return dataclasses.field(metadata=dict(default=default, help=help_text, group=group, **about))


def derived(help_text: str, least: float = 1, most: float = COUNT):
    """Returns the dataclass field of a hyperparameter that follows from others, and has no flag."""
    return flag(None, help_text, least, most)


def entries(kind: type) -> dict[str, Entry]:
    """Returns the entries of a dataclass by their names, in its order."""
    return {f.name: Entry(f.name, f.type, **f.metadata) for f in dataclasses.fields(kind) if f.metadata}


# The original's flags that decide no result, and what to do instead.
_NOT_HERE = dict(
    restore_path="a run that was stopped goes on when the same command, or --logdir alone, is given again; "
    "an OpenAI checkpoint is read by `evaluate --openai_checkpoint PREFIX`, and so by sample and export",
    inference="use the commands evaluate, sample, interpolate, manipulate and export, as in `python -m "
    "experiments.evaluate --logdir L`",
    verbose="leave it out: a progress bar shows each step, train.txt and TensorBoard each epoch",
    fmap="leave it out: tf.data decides how many threads read files",
    pmap="leave it out: tf.data decides how many threads prepare images",
    rnd_crop="leave it out: --problem lsun_realnvp takes random crops, the others none, as there",
    debug_init="leave it out: the data-dependent initialisation is always made",
)


class _NotHere(flags.ArgumentParser):
    """Of a flag that the original has and this doesn't: every value is answered."""

    def __init__(self, answer):
        """Takes what to do instead."""
        super().__init__()
        self._answer = answer

    def parse(self, argument):
        """Raises ValueError with the answer."""
        raise ValueError(f"the original's flag, which isn't needed here: {self._answer}")


def define_not_here() -> None:
    """Defines the original's flags that aren't needed here: to give one is a mistake, and is answered."""
    for name, answer in _NOT_HERE.items():
        text = f"The original's; here: {answer}."
        help.set_group(name, help.HIDDEN)
        # Boolean, so that --NAME without a value, and --noNAME, are answered too.
        flags.DEFINE_flag(flags.Flag(_NotHere(answer), None, name, None, text, boolean=True))
