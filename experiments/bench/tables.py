"""What was measured, as tables in Markdown and as pictures."""

import contextlib
import pathlib
import statistics

import matplotlib

from experiments.bench.models import CONVOLUTIONS, DEFAULT, PEERS


def ratios(results: dict, name: str) -> list[float]:
    """Returns the ratios of a model's steps to the convolutions' of the same rounds."""
    pairs = zip(results[name]["seconds"], results[CONVOLUTIONS]["seconds"], strict=True)
    return [ours / floor for ours, floor in pairs]


def of_times(columns: dict[str, dict]) -> str:
    """Returns the Markdown table of step times."""
    names = list(dict.fromkeys(name for results in columns.values() for name in results))
    rows = [["seconds per step (ratio to the convolutions alone, quartiles)", *columns]]
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


def of_depths(sweep: dict[int, dict], large: dict[int, dict]) -> str:
    """Returns the Markdown table of start-up and memory against depth."""
    names = [CONVOLUTIONS, "Glow, store", DEFAULT, *PEERS]
    rows = [["W=128 B=16", *(f"K={depth}" for depth in sweep)]]
    for title, value in (
        ("seconds to build and make the first step", lambda r: f"{r['build_s'] + r['first_step_s']:.1f}"),
        ("peak RSS, MiB", lambda r: f"{r['peak_rss_mb']:.0f}"),
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
        rows.append([f"activations per image, MiB: {name}", *cells])
    return _markdown(rows)


def of_ways(groups: dict[str, dict]) -> str:
    """Returns the Markdown table of one model's step times, run in several ways."""
    ways = list(next(iter(groups.values())))
    rows = [["milliseconds per step", *ways]]
    for title, results in groups.items():
        medians = [1e3 * statistics.median(results[way]["seconds"]) for way in ways]
        cells = [f"**{m:.1f}**" if m == min(medians) else f"{m:.1f}" for m in medians]
        rows.append([title, *cells])
    return _markdown(rows)


def of_memory(results: dict[str, dict]) -> str:
    """Returns the Markdown table of peak memory."""
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    rows = [["peak RSS, GiB", *results]]
    for name in names:
        cells = (found.get(name) for found in results.values())
        rows.append([name, *(f"{cell['peak_rss_mb'] / 1024:.1f}" if cell else "" for cell in cells)])
    return _markdown(rows)


def activations(small: dict, large: dict) -> float:
    """Returns the memory that one more image takes, in MiB."""
    return (large["peak_rss_mb"] - small["peak_rss_mb"]) / (large["batch"] - small["batch"])


def _markdown(rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


@contextlib.contextmanager
def _figure(file, title, **size_and_axes):
    """Gives a new figure's axes, each with a grid and from 0 up, and saves the figure."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(layout="constrained", **size_and_axes)
    yield axes
    for ax in figure.axes:
        ax.set(ylim=(0, None))
        ax.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def _style(name):
    return dict(marker="o", label=name, color="grey" if name == CONVOLUTIONS else None)


def _seconds(result):
    return statistics.median(result["seconds"])


def plot_depths(sweep: dict[int, dict], file: pathlib.Path):
    """Draws time and memory against the depth."""
    title = "32x32x3, three levels, width 128, batch 16, float32, one core"
    with _figure(file, title, ncols=2, figsize=(10, 4)) as (times, memory):
        for name in (CONVOLUTIONS, "Glow, store", DEFAULT, "tfb.Glow"):
            found = {depth: results[name] for depth, results in sweep.items() if name in results}
            times.plot(list(found), list(map(_seconds, found.values())), **_style(name))
            memory.plot(list(found), [r["peak_rss_mb"] for r in found.values()], **_style(name))
        label = "depth K (steps of flow per level)"
        times.set(xlabel=label, title="seconds per training step")
        memory.set(xlabel=label, title="peak RSS, MiB")


def plot_cores(sweep: dict[int, dict], file: pathlib.Path):
    """Draws the time of a training step against the number of cores."""
    with _figure(file, "32x32x3, three levels, K=8, width 128, batch 16, float32", figsize=(5, 4)) as axes:
        for name in sweep[1]:
            axes.plot(list(sweep), [_seconds(results[name]) for results in sweep.values()], **_style(name))
        axes.set(xlabel="cores", title="seconds per training step", xticks=list(sweep))


def plot_memory(results: dict[str, dict], file: pathlib.Path):
    """Draws peak memory against the depth and against the images' size."""
    found = [r for results_of in results.values() for r in results_of.values()]
    title = "three levels, width 256, batch 8, float32"
    with _figure(file, title, ncols=2, figsize=(10, 4), sharey=True) as axes:
        for ax, x, label, fixed in (
            (axes[0], "depth", "depth K (steps of flow per level), 256x256", dict(size=256)),
            (axes[1], "size", "height and width, K=16", dict(depth=16)),
        ):
            for model in dict.fromkeys(r["model"] for r in found):
                points = sorted(
                    (r[x], r["peak_rss_mb"] / 1024)
                    for r in found
                    if r["model"] == model and fixed.items() <= r.items()
                )
                ax.plot(*zip(*points, strict=True), **_style(model))
            ax.set(xlabel=label)
        axes[0].set(ylabel="peak RSS of a training step, GiB")
