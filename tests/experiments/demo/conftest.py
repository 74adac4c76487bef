"""A page and a browser for the tests; skipped, with a reason, where these aren't installed."""

import importlib.util

import pytest

import glow_tf  # noqa: F401  First TensorFlow, then what may start threads.
from tests.experiments.demo import browsing

NEEDED = ("gradio", "playwright")


def pytest_collection_modifyitems(items):
    """Skips the tests that use a browser where there is none."""
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    missing += [] if browsing.CHROMIUM else ["a chromium on PATH"]
    reason = f"needs {', '.join(missing)}: pip install -r requirements-demo.txt, apt-get install chromium"
    for item in items:
        if missing and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browsing.CHROMIUM, args=browsing.FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def demo(browser, digits_run):
    """The page, served by the command from a run that it exports; SIGTERM ends it and removes the export."""
    with browsing.demo("--logdir", digits_run) as running:
        yield running
        running.process.terminate()
        assert running.process.wait(60) == 0
        assert not list((running.folder / "temporary").rglob("saved_model.pb"))


@pytest.fixture(scope="session")
def export_dir(demo):
    """The export that the page serves."""
    (found,) = (demo.folder / "temporary").rglob("saved_model.pb")
    return found.parents[1]


@pytest.fixture
def page(browser, demo):
    """The page in the browser; what it logs as an error, and requests to other hosts, fail the test."""
    with browsing.watched_page(browser, demo.address) as opened:
        yield opened
