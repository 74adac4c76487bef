"""Times and memory of this Glow, beside its peers and beside its convolutions alone.

    python -m experiments.benchmark --out logs/benchmark      # all of it, a quarter of an hour
    python -m experiments.benchmark --quick                   # under two minutes
    python -m experiments.benchmark --profile                 # which operations take the time

Everything runs on one core in one thread: three levels, 32x32x3 images, K steps a level, W hidden
channels, batches of B. Each model has a process of its own; they make their steps in turn, one after the
other, so that whatever else the machine does meets all of them. A cell is the median time of a step, and
in brackets the median of its ratio to the convolutions' step of the same round, with the quartiles.
Peers are measured where they are installed: pip install normflows nflows distrax optax

Prints tables in Markdown; with --out, writes them as benchmark.md, all numbers as benchmark.json, and
benchmark.png, time and memory against the depth.
"""

import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys

import matplotlib
from absl import flags
from tqdm.auto import tqdm

from experiments import cli
from experiments.bench import profile

FLAGS = flags.FLAGS

CONVOLUTIONS = "convolutions alone"
DEFAULT = "Glow, reverse"
OURS = {
    "Glow, store": dict(model="glow", memory="store"),
    "Glow, recompute": dict(model="glow", memory="recompute"),
    DEFAULT: dict(model="glow", memory="reverse"),
    "Glow, reverse, mixed_bfloat16": dict(model="glow", memory="reverse", dtype="mixed_bfloat16"),
}
# By the module that is imported, which is this package's name for it too but for tfb_glow.
PEERS = {
    "tfb.Glow": "tfb_glow",
    "normflows": "normflows",
    "nflows": "nflows",
    "distrax": "distrax",
}
MODELS = {CONVOLUTIONS: dict(model="convolutions")} | OURS | {k: dict(model=v) for k, v in PEERS.items()}

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
    """Defines the flags of the command."""
    flags.DEFINE_string("out", None, "Folder for benchmark.md, benchmark.json and benchmark.png.")
    flags.DEFINE_integer("rounds", 11, "Timed steps of each model.", lower_bound=3)
    flags.DEFINE_bool("quick", False, "Only training and log_prob at K=8, and of the peers only tfb.Glow.")
    flags.DEFINE_bool("profile", False, "Print the operations of a training step and their times instead.")


class Worker:
    """A process with one model, which makes a step whenever it is told to."""

    def __init__(self, spec: dict):
        """Starts it, and waits for its first step."""
        threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = dict.fromkeys(threads, "1") | dict(
            XLA_FLAGS="--xla_cpu_multi_thread_eigen=false",
            TF_CPP_MIN_LOG_LEVEL="3",
            CUDA_VISIBLE_DEVICES="",
            JAX_PLATFORMS="cpu",
        )
        core = {max(os.sched_getaffinity(0))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )
        self.result = spec | self._answer() | dict(seconds=[])

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A measurement failed:\n{self._process.communicate()[1]}")
        return json.loads(line)

    def step(self):
        """Makes a step."""
        print(file=self._process.stdin, flush=True)
        self.result["seconds"].append(self._answer()["seconds"])

    def stop(self) -> dict:
        """Ends the process; returns everything that was measured."""
        self._process.stdin.close()
        self.result |= self._answer()
        self._process.wait()
        return self.result


def measure(specs: dict[str, dict], rounds: int, progress) -> dict[str, dict]:
    """Measures models side by side: by name, from each one's spec to its result."""
    workers = {}
    for name, spec in specs.items():
        progress.set_postfix_str(f"{name}, K={spec['depth']}: starting")
        workers[name] = Worker(spec)
        progress.update()
    progress.set_postfix_str("timing")
    for _ in range(rounds):
        for worker in workers.values():
            worker.step()
    return {name: worker.stop() for name, worker in workers.items()}


def specs_of(column: dict, names) -> dict[str, dict]:
    """Returns the specs of the models that can do a column's task and are installed."""
    specs = {}
    for name in names:
        model = MODELS[name]["model"]
        inference = column["task"] != "train"
        if inference and name in OURS and MODELS[name]["memory"] != "reverse":
            continue  # They differ in training alone.
        if column["task"] in ("encode", "decode") and name in PEERS:
            continue
        if name in PEERS and name != "tfb.Glow" and importlib.util.find_spec(model) is None:
            continue
        specs[name] = column | MODELS[name]
    return specs


def ratios(results: dict, name: str) -> list[float]:
    """Returns the ratios of a model's steps to the convolutions' of the same rounds."""
    pairs = zip(results[name]["seconds"], results[CONVOLUTIONS]["seconds"], strict=True)
    return [ours / floor for ours, floor in pairs]


def time_table(columns: dict[str, dict]) -> str:
    """Returns the Markdown table of step times."""
    names = [name for name in MODELS if any(name in results for results in columns.values())]
    rows = [["seconds a step (ratio to the convolutions alone, quartiles)", *columns]]
    for name in names:
        row = [name]
        for results in columns.values():
            if name not in results:
                row.append("")
                continue
            cell = f"{statistics.median(results[name]['seconds']):.4f}"
            if name != CONVOLUTIONS:
                low, middle, high = statistics.quantiles(ratios(results, name), n=4)
                cell += f" (**{middle:.2f}**, {low:.2f}-{high:.2f})"
            row.append(cell)
        rows.append(row)
    return _markdown(rows)


def depth_table(sweep: dict[int, dict], large: dict[int, dict]) -> str:
    """Returns the Markdown table of start-up and memory against depth."""
    names = [CONVOLUTIONS, "Glow, store", DEFAULT, *PEERS]
    rows = [["W=128 B=16", *(f"K={depth}" for depth in sweep)]]
    for title, value in (
        ("seconds to build and make the first step", lambda r: f"{r['build_s'] + r['first_step_s']:.1f}"),
        ("peak RSS, MB", lambda r: f"{r['peak_rss_mb']:.0f}"),
    ):
        for name in names:
            cells = [value(results[name]) if name in results else "" for results in sweep.values()]
            if any(cells):
                rows.append([f"{title}: {name}", *cells])
    for name in large[min(large)]:
        cells = [
            f"{activations(sweep[depth][name], large[depth][name]):.2f}" if depth in large else ""
            for depth in sweep
        ]
        rows.append([f"activations an image, MB: {name}", *cells])
    return _markdown(rows)


def activations(small: dict, large: dict) -> float:
    """Returns the memory that one more image takes, in MB."""
    return (large["peak_rss_mb"] - small["peak_rss_mb"]) / (large["batch"] - small["batch"])


def _markdown(rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def plot(sweep: dict[int, dict], file: pathlib.Path):
    """Draws time and memory against the depth."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in (CONVOLUTIONS, "Glow, store", DEFAULT, "tfb.Glow"):
        depths = [depth for depth, results in sweep.items() if name in results]
        results = [sweep[depth][name] for depth in depths]
        style = dict(marker="o", label=name, color="grey" if name == CONVOLUTIONS else None)
        times.plot(depths, [statistics.median(r["seconds"]) for r in results], **style)
        memory.plot(depths, [r["peak_rss_mb"] for r in results], **style)
    for axes, title in ((times, "seconds a training step"), (memory, "peak RSS, MB")):
        axes.set(xlabel="depth K (steps of flow a level)", title=title, ylim=(0, None))
        axes.grid(alpha=0.3)
    times.legend()
    figure.suptitle("32x32x3, three levels, width 128, batch 16, float32, one core")
    figure.savefig(file, dpi=120)


def full(rounds: int) -> tuple[str, dict, dict]:
    """Measures everything; returns the tables, all numbers, and the sweep over depths."""
    columns = {title: specs_of(column, MODELS) for title, column in COLUMNS.items()}
    swept = {}
    for depth in DEPTHS:
        if depth not in (8, 32):  # Those are columns.
            names = [CONVOLUTIONS, "Glow, store", DEFAULT] + (["tfb.Glow"] if depth < 32 else [])
            swept[depth] = specs_of(TRAIN8 | dict(depth=depth), names)
    large = {
        depth: specs_of(TRAIN8 | dict(depth=depth, batch=LARGE_BATCH), ["Glow, store", DEFAULT])
        for depth in (8, 64)
    }
    groups = [*columns.values(), *swept.values(), *large.values()]
    with tqdm(total=sum(map(len, groups)), unit="model") as progress:
        columns = {title: measure(specs, rounds, progress) for title, specs in columns.items()}
        swept = {depth: measure(specs, 5, progress) for depth, specs in swept.items()}
        # One model at a time: these need memory.
        large = {
            depth: {n: measure({n: spec}, 1, progress)[n] for n, spec in specs.items()}
            for depth, specs in large.items()
        }
    swept |= {8: columns["train K=8 W=128 B=16"], 32: columns["train K=32 W=128 B=16"]}
    swept = {depth: swept[depth] for depth in DEPTHS}
    tables = time_table(columns) + "\n\n" + depth_table(swept, large)
    return tables, dict(columns=columns, sweep=swept, large=large), swept


def quick(rounds: int) -> tuple[str, dict]:
    """Measures a part; returns the table and its numbers."""
    names = {
        "train K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT, "Glow, reverse, mixed_bfloat16", "tfb.Glow"],
        "log_prob K=8 W=128 B=16": [CONVOLUTIONS, DEFAULT],
    }
    columns = {title: specs_of(COLUMNS[title], models) for title, models in names.items()}
    with tqdm(total=sum(map(len, columns.values())), unit="model") as progress:
        columns = {title: measure(specs, rounds, progress) for title, specs in columns.items()}
    return time_table(columns), dict(columns=columns)


def main(argv):
    """Runs the command."""
    del argv
    if FLAGS.profile:
        for name in (CONVOLUTIONS, DEFAULT):
            print(f"{name}, train K=8 W=128 B=16\n{profile.table(TRAIN8 | MODELS[name])}\n")
        return
    sweep = None
    if FLAGS.quick:
        tables, numbers = quick(FLAGS.rounds)
    else:
        tables, numbers, sweep = full(FLAGS.rounds)
    print(tables)
    if FLAGS.out:
        out = pathlib.Path(FLAGS.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "benchmark.md").write_text(tables + "\n")
        (out / "benchmark.json").write_text(json.dumps(numbers, indent=1) + "\n")
        if sweep:
            plot(sweep, out / "benchmark.png")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
