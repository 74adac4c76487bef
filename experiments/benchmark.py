"""Times and memory of this Glow, beside its peers and beside its convolutions alone.

    python -m experiments.benchmark --out logs/benchmark      # all of it, half an hour
    python -m experiments.benchmark --part cores              # one part of it
    python -m experiments.benchmark --quick                   # under two minutes
    python -m experiments.benchmark --profile                 # which operations take the time

Three levels, 32x32x3 images, K steps per level, W hidden channels, batches of B. Each model has a process of
its own; they make their steps in turn, one after the other, so that whatever else the machine does meets all
of them. A cell is the median time of a step, and in brackets the median of its ratio to the convolutions'
step of the same round, with the quartiles. The parts:

one_core  everything on one core in one thread
depth     start-up and memory against the depth, on one core
cores     all cores, each peer with as many threads; the ratios are to the convolutions on as many cores
shares    one Glow's steps with a batch in other numbers of shares, and as TensorFlow uses threads
memory    peak memory of the first training step of large images, on all cores; an hour, and only if asked for

Peers are measured where they are installed: pip install normflows nflows distrax optax

Prints tables in Markdown; with --out, writes them as benchmark.md, all numbers as benchmark.json, and
benchmark.png, time and memory against the depth, cores.png, time against the number of cores, and
memory.png, memory against the images' size and the depth.
"""

import json
import os
import pathlib

from absl import flags
from tqdm.auto import tqdm

from experiments import cli
from experiments.bench import models, profile, tables
from experiments.bench.measuring import Worker, measure
from experiments.bench.models import CONVOLUTIONS, DEFAULT, MODELS, PEERS

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
CORE_COLUMNS = [title for title in COLUMNS if title not in ("train K=32 W=128 B=16", "encode", "decode")]
DEPTHS = (4, 8, 16, 32, 64)
LARGE_BATCH = 144
SHARE_BATCHES, SHARE_WIDTHS = (1, 16, 64), (64, 128, 512)
LARGE = dict(task="train", batch=8, width=256)
LARGE_SIZES = (512, 768, 1024)  # At K=16.
LARGE_DEPTHS = (4, 8, 16, 32, 64)  # At 256x256.
NORMFLOWS_FITS = [(256, 4), (256, 8), (256, 16)]  # In 24 GB.
PARTS = ("one_core", "depth", "cores", "shares", "memory")


def define_flags():
    flags.DEFINE_string("out", None, "Folder for benchmark.md, benchmark.json and the pictures.")
    flags.DEFINE_integer("rounds", 11, "Timed steps of each model.", lower_bound=3)
    flags.DEFINE_multi_enum(
        "part", PARTS[:-1], PARTS, "Which parts; may be given several times. Default: all but memory."
    )
    flags.DEFINE_bool("quick", False, "Only training and log_prob at K=8, and of the peers only tfb.Glow.")
    flags.DEFINE_bool("profile", False, "Print the operations of a training step and their times instead.")


def one_core(rounds: int) -> tuple[str, dict]:
    """Measures all models on one core; returns the table and the results by column."""
    groups = {title: models.specs_of(column, MODELS) for title, column in COLUMNS.items()}
    columns = _measure(groups, rounds)
    return tables.of_times(columns), columns


def depth(rounds: int) -> tuple[str, dict]:
    """Measures start-up and memory against the depth; returns the table, and `sweep` and `large`."""
    del rounds  # Times are beside the point.
    names = [CONVOLUTIONS, "Glow, store", DEFAULT]
    peers = {8: [*PEERS], 32: [*PEERS], 64: []}
    groups = {k: models.specs_of(TRAIN8 | dict(depth=k), names + peers.get(k, ["tfb.Glow"])) for k in DEPTHS}
    sweep = _measure(groups, 3)
    # One model at a time: these need memory.
    large = {
        k: {name: _measure({name: models.specs_of(column, [name])}, 1)[name][name] for name in names[1:]}
        for k, column in ((k, TRAIN8 | dict(depth=k, batch=LARGE_BATCH)) for k in (8, 64))
    }
    return tables.of_depths(sweep, large), dict(sweep=sweep, large=large)


def cores(rounds: int) -> tuple[str, dict]:
    """Measures on all cores, and training on fewer; returns the table, and `columns` and `sweep`."""
    n = len(os.sched_getaffinity(0))
    ours, peers = [CONVOLUTIONS, DEFAULT], [name for name in PEERS if name != "tfb.Glow"]
    alone = lambda column: {f"{DEFAULT}, one core": models.specs_of(column, [DEFAULT])[DEFAULT]}
    groups = {
        title: models.specs_of(COLUMNS[title], ours + peers, n) | alone(COLUMNS[title])
        for title in CORE_COLUMNS
    }
    columns = _measure(groups, rounds)
    numbers = sorted({1, n} | {2**i for i in range(10) if 2**i < n})
    sweep = _measure({k: models.specs_of(TRAIN8, [*ours, "normflows"], k) for k in numbers}, rounds)
    return tables.of_times(columns), dict(columns=columns, sweep=sweep)


def shares(rounds: int) -> tuple[str, dict]:
    """Measures numbers of shares for small and large batches and networks; returns the table and results."""
    n = len(os.sched_getaffinity(0))
    ways = {"one share": dict(shares=1, threads=1)} | {
        f"{k} shares": dict(shares=k, threads=1) for k in sorted({2, n, 2 * n})
    }
    ways["one share, TensorFlow's threads"] = dict(shares=1, threads=n)
    groups = {}
    for task in ("train", "log_prob"):
        for batch in SHARE_BATCHES:
            for width in SHARE_WIDTHS:
                column = TRAIN8 | dict(task=task, batch=batch, width=width, depth=4)
                spec = models.specs_of(column, [DEFAULT], n)[DEFAULT]
                groups[f"{task} B={batch} W={width}"] = {name: spec | way for name, way in ways.items()}
    results = _measure(groups, rounds)
    return tables.of_ways(results), results


def memory(rounds: int) -> tuple[str, dict]:
    """Measures the memory of large images; returns the table, and the results by size and depth."""
    del rounds
    n = len(os.sched_getaffinity(0))
    results = {}
    for size, k in tqdm([(256, k) for k in LARGE_DEPTHS] + [(size, 16) for size in LARGE_SIZES]):
        names = [DEFAULT] + ["normflows"] * ((size, k) in NORMFLOWS_FITS)
        specs = models.specs_of(LARGE | dict(depth=k, size=size), names, n)
        # One at a time, and its first step alone, which takes minutes.
        results[f"{size}x{size} K={k}"] = {name: Worker(spec).stop() for name, spec in specs.items()}
    return tables.of_memory(results), results


def _measure(groups, rounds):
    with tqdm(total=sum(map(len, groups.values())), unit="model") as progress:
        return {title: measure(group, rounds, progress) for title, group in groups.items()}


def quick(rounds: int) -> tuple[str, dict]:
    """Measures a few models in a few tasks; returns the table and the results by column."""
    names = {
        "train K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT, "Glow, reverse, mixed_bfloat16", "tfb.Glow"],
        "log_prob K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT],
    }
    columns = _measure({k: models.specs_of(COLUMNS[k], group) for k, group in names.items()}, rounds)
    return tables.of_times(columns), columns


def main(argv):
    del argv
    if FLAGS.profile:
        for name in (CONVOLUTIONS, DEFAULT):
            print(f"{name}, train K=8 W=128 B=16\n{profile.table(TRAIN8 | MODELS[name])}\n")
        return
    measures = dict(quick=quick, one_core=one_core, depth=depth, cores=cores, shares=shares, memory=memory)
    measured = {}
    for part in ("quick",) if FLAGS.quick else [part for part in PARTS if part in FLAGS.part]:
        measured[part] = measures[part](FLAGS.rounds)
        print(measured[part][0] + "\n", flush=True)
        if FLAGS.out:
            _write(measured, pathlib.Path(FLAGS.out))  # After each part: the next may take half an hour.


def _write(measured, out):
    """Writes the tables, the numbers and the pictures of the parts that have been measured."""
    out.mkdir(parents=True, exist_ok=True)
    numbers = {part: results for part, (_, results) in measured.items()}
    (out / "benchmark.md").write_text("\n\n".join(table for table, _ in measured.values()) + "\n")
    (out / "benchmark.json").write_text(json.dumps(numbers, indent=1) + "\n")
    if "depth" in numbers:
        tables.plot_depths(numbers["depth"]["sweep"], out / "benchmark.png")
    if "cores" in numbers:
        tables.plot_cores(numbers["cores"]["sweep"], out / "cores.png")
    if "memory" in numbers:
        tables.plot_memory(numbers["memory"], out / "memory.png")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
