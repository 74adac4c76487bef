"""How the command of the page ends."""

import pathlib
import signal

import pytest

from tests.experiments.demo import browsing

RUN = pathlib.Path(__file__).parents[1] / "earlier" / "run"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_page_and_removes_its_export(number):
    pytest.importorskip("gradio")
    with browsing.demo("--logdir", RUN, "--n_images", 20) as running:
        exports = lambda: list((running.folder / "temporary").rglob("saved_model.pb"))
        assert len(exports()) == 1
        running.process.send_signal(number)
        assert running.process.wait(60) == 0
        assert not exports()
