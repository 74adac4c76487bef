"""How the command of the page ends."""

import pathlib

import pytest
from absl.testing import flagsaver

import glow_tf
from experiments.cli import UsageError, command
from experiments.demo import __main__ as demo
from experiments.runs import Run
from experiments.settings import hps_json, resolve
from tests.experiments.demo import browsing

RUN = pathlib.Path(__file__).parents[1] / "earlier" / "run"


@pytest.mark.slow
def test_sigterm_ends_the_page_and_removes_its_export():
    """Without a browser; with one, the page of the other tests ends so."""
    pytest.importorskip("gradio")
    with browsing.demo("--logdir", RUN, "--n_images", 20) as running:
        exports = lambda: list((running.folder / "temporary").rglob("saved_model.pb"))
        assert len(exports()) == 1
        running.process.terminate()
        assert running.process.wait(60) == 0
        assert not exports()


def test_a_model_with_a_context_is_refused(tmp_path, monkeypatch):
    """A run's, and an export that the library made, which names no hyperparameters."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")  # TensorFlow has started: its cores stay as they are.
    tiny = resolve(dict(context="label", depth=1, width=4, n_levels=1))
    run = Run(tiny, tmp_path / "run")
    run.save("last")
    hps_json.save(tiny, tmp_path / "run")
    glow_tf.serving.export(run.glow, tmp_path / "served")
    for flag in (f"--logdir={tmp_path / 'run'}", f"--export_dir={tmp_path / 'served'}"):
        with flagsaver.flagsaver(), pytest.raises(UsageError, match="conditioned on a context.*10"):
            demo.define_flags()
            command.parse(["demo", flag])
            demo.find_model(tmp_path)
