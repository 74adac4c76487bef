"""The benchmark measures and prints; how fast anything is, is no matter of tests."""

import pytest
from tqdm import tqdm

from experiments.bench import measuring, models, tables

TINY = dict(depth=1, width=4, batch=2)
NAMES = [models.CONVOLUTIONS, models.DEFAULT]


@pytest.fixture(scope="module")
def results():
    """Of the convolutions and this Glow, on two cores (if there are)."""
    specs = models.specs_of(TINY | dict(task="train"), NAMES, 2)
    with tqdm(disable=True) as progress:
        return measuring.measure(specs, 3, progress)


@pytest.mark.slow
def test_models_take_turns(results):
    assert list(results) == NAMES
    for result in results.values():
        assert len(result["seconds"]) == 3 and min(result["seconds"]) > 0
        assert result["peak_rss_mb"] > 100
        assert result["shares"] == result["cores"] and result["threads"] == 1


@pytest.mark.slow
def test_tables_and_pictures(results, tmp_path):
    table = tables.of_times({"a task": results}).splitlines()
    assert [row.split("|")[1].strip() for row in table[2:]] == NAMES
    table = tables.of_ways({"a task": results}).splitlines()
    assert [cell.strip() for cell in table[0].split("|")[2:-1]] == NAMES
    assert table[2].startswith("| a task |") and table[2].count("**") == 2  # The fastest one is bold.
    table = tables.of_memory({"a size": results}).splitlines()
    assert [row.split("|")[1].strip() for row in table[2:]] == NAMES
    larger = {models.DEFAULT: results[models.DEFAULT] | dict(batch=4)}
    larger[models.DEFAULT]["peak_rss_mb"] += 3
    table = tables.of_depths({1: results}, {1: larger}).splitlines()
    assert len(table) == 2 + 2 * len(NAMES) + 1
    assert table[-1] == f"| activations per image, MiB: {models.DEFAULT} | 1.50 |"
    sized = {name: result | dict(size=256, depth=16) for name, result in results.items()}
    tables.plot_memory({"a size": sized}, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").stat().st_size > 10_000
    for name, plot in (("cores.png", tables.plot_cores), ("benchmark.png", tables.plot_depths)):
        plot({1: results, 2: results}, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000


def test_peers_have_as_many_threads():
    column = TINY | dict(task="train")
    ours, peer = models.specs_of(column, [models.DEFAULT, "tfb.Glow"], 4).values()
    assert [ours[key] for key in ("cores", "threads", "shares")] == [4, 1, 4]
    assert [peer[key] for key in ("cores", "threads", "shares")] == [4, 4, 1]


def test_failure_is_told():
    with pytest.raises(RuntimeError, match="no_such_module"):
        measuring.Worker(TINY | dict(task="train", model="no_such_module", cores=1, threads=1))
