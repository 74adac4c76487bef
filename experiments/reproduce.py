r"""The rows of the paper: their commands, what they cost, and what was measured; and the ablation.

    python -m experiments.reproduce                                   # the table of all rows, as Markdown
    python -m experiments.reproduce --row cifar10 --data_dir DIR -- --micro_batch 64
    python -m experiments.reproduce --ablation --seeds 0,1,2 --logdir logs/ablation --data_dir DIR

A training step of a row has the paper's number of images, whatever the devices are; the table estimates how
many of them one GPU can compute at once. "measured" is of the run in --logdir/ROW, if there is one. --row
runs `experiments.train` there with the row's flags; --ablation runs figure 3's six models (3 permutations x
2 couplings) for each seed, one after the other, goes on with what is missing when it is started again, and
draws --logdir/ablation.png. What follows `--` is handed to `experiments.train`, after the row's own flags:

    python -m experiments.reproduce --ablation --logdir logs/small --data_dir DIR -- --depth 4 --width 32
"""

import pathlib
import signal
import subprocess
import sys

import matplotlib
from absl import flags

from experiments import cli, settings
from experiments.cli import UsageError, number_lists
from experiments.runs import interruptions, logs
from experiments.settings import parameter_count
from experiments.settings.rows import ABLATED_COUPLINGS, ABLATED_PERMUTATIONS, ROWS

FLAGS = flags.FLAGS
_GPUS = (16, 24, 80)  # GB.
_MICRO_BATCH = f"--micro_batch at {', '.join(map(str, _GPUS))} GB"
_COLUMNS = (
    "row",
    "paper",
    "L, K, width",
    "bits",
    "parameters",
    "images per step",
    _MICRO_BATCH,
    "measured",
    "epoch",
)


def define_flags():
    flags.DEFINE_enum("row", None, list(ROWS), "Run this row.")
    flags.DEFINE_bool("ablation", False, "Run the ablation of figure 3.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the ablation.")
    flags.DEFINE_string("logdir", "logs/paper", "Where the runs are, a folder per row.")
    flags.DEFINE_string("data_dir", "", "Where the dataset is.")


def command(row: str, logdir, data_dir: str = "", extra=()) -> list[str]:
    """Returns the training command of a row.

    Args:
        row: a key of `ROWS`.
        logdir: where the run is written.
        data_dir: where the dataset is; TFDS' default if empty.
        extra: further flags, which win.
    """
    given = ROWS[row].flags | dict(logdir=logdir) | (dict(data_dir=data_dir) if data_dir else {})
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
    return ["-m", "experiments.train", *words, *extra]


def measured(logdir: pathlib.Path) -> tuple[float, int] | None:
    """Returns the best test bits per dimension of a run's raw weights, and its epoch; None without a run."""
    rows = curve(logdir)
    return min(((row["bits_x"], row["epoch"]) for row in rows), default=None)


def curve(logdir: pathlib.Path) -> list[dict]:
    """Returns the rows of a run's test.txt, none without a run."""
    return logs.read(logdir / "test.txt", ("epoch", "bits_x"))[0][1:]


def table(logdir: pathlib.Path) -> str:
    """Returns the table of all rows in Markdown, and their commands."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS)]
    for row, entry in ROWS.items():
        hyperparameters = settings.resolve(entry.flags)
        config = settings.glow_config(hyperparameters)
        result, micro_batch = measured(logdir / row), parameter_count.micro_batch
        lines.append(
            [
                row,
                entry.bits_per_dim or "",
                f"{config.n_levels}, {config.depth}, {config.width}",
                config.n_bits_x,
                f"{parameter_count.parameters(config) / 1e6:.1f}M",
                hyperparameters.batch_size,
                ", ".join(str(micro_batch(config, hyperparameters.batch_size, gpu * 1e9)) for gpu in _GPUS),
                f"{result[0]:.4f}" if result else "",
                result[1] if result else "",
            ]
        )
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    commands = "\n".join(f"# {row}\npython {' '.join(command(row, logdir / row))}" for row in ROWS)
    return f"{text}\n\n{commands}"


def run(row: str, logdir, extra) -> None:
    """Trains a row to its end; raises a UsageError if the training fails.

    A signal is handed on, and awaited: the training saves, and this command ends as it does.
    """
    process = subprocess.Popen([sys.executable, *command(row, logdir, FLAGS.data_dir, extra)])
    # Always as SIGTERM: the terminal sends Ctrl-C to both, and a second one would end the training at once.
    hand_on = lambda number, frame: process.terminate()
    before = {n: signal.signal(n, hand_on) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code == interruptions.TERMINATED:
        sys.exit(code)
    if code:
        raise UsageError(
            f"Training of {row} in {logdir} ended with the exit code {code}, see above. The same command "
            "goes on with it."
        )


def ablation(logdir: pathlib.Path, seeds: list[int], extra) -> None:
    """Trains the six models of figure 3 for each seed, those that aren't done, and draws their curves."""
    runs = {}
    for seed in seeds:
        for permutation in ABLATED_PERMUTATIONS:
            for coupling in ABLATED_COUPLINGS:
                row = f"ablation_{permutation}_{coupling}"
                runs[permutation, coupling, seed] = logdir / f"{permutation}_{coupling}_{seed}"
                run(row, runs[permutation, coupling, seed], [f"--seed={seed}", *extra])
                draw({key: curve(path) for key, path in runs.items()}, logdir / "ablation.png")
    print(f"Wrote {logdir / 'ablation.png'}.")
    for permutation in ABLATED_PERMUTATIONS:
        for coupling in ABLATED_COUPLINGS:
            last = [curve(runs[permutation, coupling, seed])[-1]["bits_x"] for seed in seeds]
            print(f"{permutation:8} {coupling:9} {sum(last) / len(last):.4f} bits/dim at the end, {last}")


def draw(curves: dict, path) -> None:
    """Draws the test curves, one panel per coupling, as figure 3.

    Args:
        curves: from (permutation, coupling, seed) to rows of test.txt.
        path: of the picture.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(ABLATED_COUPLINGS), figsize=(10, 4), sharey=True, layout="constrained"
    )
    colours = dict(zip(ABLATED_PERMUTATIONS, ("tab:red", "tab:orange", "tab:blue"), strict=True))
    for (permutation, coupling, _), rows in curves.items():
        axis = axes[ABLATED_COUPLINGS.index(coupling)]
        label = permutation if permutation not in axis.get_legend_handles_labels()[1] else None
        x, y = [row["n_images"] / 1000 for row in rows], [row["bits_x"] for row in rows]
        axis.plot(x, y, color=colours[permutation], label=label, linewidth=1, marker=".", markersize=4)
    for axis, coupling in zip(axes, ABLATED_COUPLINGS, strict=True):
        axis.set(title=coupling, xlabel="thousand training images")
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0].set_ylabel("test bits per dimension")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main(argv):
    if not FLAGS.logdir:
        raise UsageError("--logdir must name a folder, got ''.")
    logdir = pathlib.Path(FLAGS.logdir)
    if FLAGS.row and FLAGS.ablation:
        raise UsageError("Give --row or --ablation, not both.")
    if FLAGS.row:
        run(FLAGS.row, logdir / FLAGS.row, argv[1:])
    elif FLAGS.ablation:
        ablation(logdir, number_lists.integers("seeds"), argv[1:])
    else:
        print(table(logdir))


if __name__ == "__main__":
    define_flags()
    cli.run(main, takes_arguments=True)
