"""The benchmark measures and prints; how fast anything is, is no matter of tests."""

import pytest
from tqdm import tqdm

from experiments.bench import measuring, models, tables

TINY = dict(depth=1, width=4, batch=2)


@pytest.mark.parametrize("task", ["train", "decode"])
def test_models_take_turns(task):
    names = [models.CONVOLUTIONS, models.DEFAULT]
    specs = models.specs_of(TINY | dict(task=task), names)
    with tqdm(disable=True) as progress:
        results = measuring.measure(specs, 3, progress)
    assert list(results) == names
    for result in results.values():
        assert len(result["seconds"]) == 3 and min(result["seconds"]) > 0
        assert result["peak_rss_mb"] > 100
    table = tables.of_times({task: results}).splitlines()
    assert [row.split("|")[1].strip() for row in table[2:]] == names


def test_failure_is_told():
    with pytest.raises(RuntimeError, match="no_such_module"):
        measuring.Worker(TINY | dict(task="train", model="no_such_module"))
