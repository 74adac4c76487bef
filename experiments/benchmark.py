"""Times and memory of this Glow, beside its peers and beside its convolutions alone.

    python -m experiments.benchmark --out logs/benchmark      # all of it, a quarter of an hour
    python -m experiments.benchmark --quick                   # under two minutes
    python -m experiments.benchmark --profile                 # which operations take the time

Everything runs on one core in one thread: three levels, 32x32x3 images, K steps per level, W hidden
channels, batches of B. Each model has a process of its own; they make their steps in turn, one after the
other, so that whatever else the machine does meets all of them. A cell is the median time of a step, and
in brackets the median of its ratio to the convolutions' step of the same round, with the quartiles.
Peers are measured where they are installed: pip install normflows nflows distrax optax

Prints tables in Markdown; with --out, writes them as benchmark.md, all numbers as benchmark.json, and
benchmark.png, time and memory against the depth.
"""

import json
import pathlib

from absl import flags
from tqdm.auto import tqdm

from experiments import cli
from experiments.bench import models, profile, tables
from experiments.bench.measuring import measure
from experiments.bench.models import CONVOLUTIONS, DEFAULT, MODELS

FLAGS = flags.FLAGS

TRAIN8 = dict(task="train", depth=8, width=128, batch=16)
COLUMNS = {
    "train K=8 W=128 B=16": TRAIN8,
    "train K=32 W=128 B=16": TRAIN8 | dict(depth=32),
    "train K=8 W=512 B=8": TRAIN8 | dict(width=512, batch=8),
    "log_prob K=8 W=128 B=16": TRAIN8 | dict(task="log_prob"),
    "sample": TRAIN8 | dict(task="sample"),
    "encode": TRAIN8 | dict(task="encode"),
    "decode": TRAIN8 | dict(task="decode"),
}
DEPTHS = (4, 8, 16, 32, 64)
LARGE_BATCH = 144


def define_flags():
    flags.DEFINE_string("out", None, "Folder for benchmark.md, benchmark.json and benchmark.png.")
    flags.DEFINE_integer("rounds", 11, "Timed steps of each model.", lower_bound=3)
    flags.DEFINE_bool("quick", False, "Only training and log_prob at K=8, and of the peers only tfb.Glow.")
    flags.DEFINE_bool("profile", False, "Print the operations of a training step and their times instead.")


def full(rounds: int) -> tuple[str, dict]:
    """Measures everything; returns the tables, and all numbers: `columns`, `sweep` and `large`."""
    specs = {title: models.specs_of(column, MODELS) for title, column in COLUMNS.items()}
    specs_of_depth = {}
    for depth in DEPTHS:
        if depth not in (8, 32):  # Those are columns.
            names = [CONVOLUTIONS, "Glow, store", DEFAULT] + (["tfb.Glow"] if depth < 32 else [])
            specs_of_depth[depth] = models.specs_of(TRAIN8 | dict(depth=depth), names)
    large_specs = {
        depth: models.specs_of(TRAIN8 | dict(depth=depth, batch=LARGE_BATCH), ["Glow, store", DEFAULT])
        for depth in (8, 64)
    }
    groups = [*specs.values(), *specs_of_depth.values(), *large_specs.values()]
    with tqdm(total=sum(map(len, groups)), unit="model") as progress:
        columns = {title: measure(group, rounds, progress) for title, group in specs.items()}
        sweep = {depth: measure(group, 5, progress) for depth, group in specs_of_depth.items()}
        # One model at a time: these need memory.
        large = {
            depth: {name: measure({name: spec}, 1, progress)[name] for name, spec in group.items()}
            for depth, group in large_specs.items()
        }
    sweep |= {8: columns["train K=8 W=128 B=16"], 32: columns["train K=32 W=128 B=16"]}
    sweep = {depth: sweep[depth] for depth in DEPTHS}
    text = tables.of_times(columns) + "\n\n" + tables.of_depths(sweep, large)
    return text, dict(columns=columns, sweep=sweep, large=large)


def quick(rounds: int) -> tuple[str, dict]:
    """Measures a part; returns the table and its numbers, `columns`."""
    names = {
        "train K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT, "Glow, reverse, mixed_bfloat16", "tfb.Glow"],
        "log_prob K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT],
    }
    specs = {title: models.specs_of(COLUMNS[title], group) for title, group in names.items()}
    with tqdm(total=sum(map(len, specs.values())), unit="model") as progress:
        columns = {title: measure(group, rounds, progress) for title, group in specs.items()}
    return tables.of_times(columns), dict(columns=columns)


def main(argv):
    del argv
    if FLAGS.profile:
        for name in (CONVOLUTIONS, DEFAULT):
            print(f"{name}, train K=8 W=128 B=16\n{profile.table(TRAIN8 | MODELS[name])}\n")
        return
    text, numbers = quick(FLAGS.rounds) if FLAGS.quick else full(FLAGS.rounds)
    print(text)
    if FLAGS.out:
        out = pathlib.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "benchmark.md").write_text(text + "\n")
        (out / "benchmark.json").write_text(json.dumps(numbers, indent=1) + "\n")
        if "sweep" in numbers:
            tables.plot(numbers["sweep"], out / "benchmark.png")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
