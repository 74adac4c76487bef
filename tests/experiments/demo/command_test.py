"""How the command of the page ends."""

import pathlib

import pytest

from tests.experiments.demo import browsing

RUN = pathlib.Path(__file__).parents[1] / "earlier" / "run"


def test_sigterm_ends_the_page_and_removes_its_export():
    pytest.importorskip("gradio")
    with browsing.demo("--logdir", RUN, "--n_images", 20) as running:
        exports = lambda: list((running.folder / "temporary").rglob("saved_model.pb"))
        assert len(exports()) == 1
        running.process.terminate()
        assert running.process.wait(60) == 0
        assert not exports()
