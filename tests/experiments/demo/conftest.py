"""A page and a browser for the tests; skipped, with a reason, where these aren't installed."""

import importlib.util

import pytest

import glow_tf  # noqa: F401  First TensorFlow, then what may start threads.
from tests.experiments.demo import browsing
from tests.support import commands

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
def export_dir(digits_run, tmp_path_factory):
    """An export of the short run."""
    directory = tmp_path_factory.mktemp("served") / "glow"
    commands.run("export", "--logdir", digits_run, "--export_dir", directory)
    return directory


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browsing.CHROMIUM, args=browsing.FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def demo(browser, export_dir):
    """The page, served by the command from an export."""
    with browsing.demo("--export_dir", export_dir) as running:
        yield running


@pytest.fixture
def page(browser, demo):
    """The page in the browser; what it logs as an error, and requests to other hosts, fail the test."""
    with browsing.watched_page(browser, demo.address) as opened:
        yield opened
