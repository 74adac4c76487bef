"""How fast the page answers, and ten people at once; `pytest -m slow -s` on this file prints the numbers."""

import contextlib
import itertools
import os
import statistics

import numpy as np
import pytest

from tests.experiments.demo import browsing
from tests.experiments.demo.browsing import after, open_tab, slider
from tests.support import commands, prediction_server

# A slider of each tab, the values that it is set to (not the one it has at the start), and what it changes.
SLIDERS = {
    "Sample": ("Temperature", np.arange(0.75, 1.5, 0.05)),
    "Mix": ("From first to second, %", np.arange(51, 101)),
    "Manipulate": ("Towards 3", np.arange(0.05, 3, 0.05)),
    "Explain": ("Test image", np.arange(1, 360)),
}
CHANGED = {
    "Sample": "#sample-grid",
    "Mix": "#mix-result",
    "Manipulate": "#manipulate-result",
    "Explain": "#explain-levels",
}

# Sets a slider, and tells after how many milliseconds there are other images on the page.
MOVE = """
window.move = (label, value, changed, timeout = 20000) => new Promise((resolve, reject) => {
  const handles = document.querySelectorAll(`input[type=range][aria-label="range slider for ${label}"]`);
  const handle = [...handles].find(one => one.offsetParent);  // The one of the tab that is open.
  const block = document.querySelector(changed);
  const sources = () => [...block.querySelectorAll('img')].map(image => image.alt + image.src).join();
  const before = sources();
  const start = performance.now();
  const late = setTimeout(() => { observer.disconnect(); reject(`${label} ${value}: no answer`); }, timeout);
  const observer = new MutationObserver(() => {
    if (sources() && sources() !== before) {
      clearTimeout(late); observer.disconnect(); resolve(performance.now() - start);
    }
  });
  observer.observe(block, {childList: true, subtree: true, attributes: true, characterData: true});
  handle.value = value;
  handle.dispatchEvent(new Event('input', {bubbles: true}));
});
// Goes on moving it, without a pause, until the time is over.
window.play = async (label, values, changed, seconds) => {
  const end = performance.now() + 1000 * seconds, times = [];
  for (let i = 0; performance.now() < end; i++)
    times.push(await move(label, values[i % values.length], changed));
  return times;
};
"""


def moves(tab):
    """Returns the values of a tab's slider in random order, each once."""
    return np.random.default_rng(0).permutation(SLIDERS[tab][1]).round(2).tolist()


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """A run of the default model, whose size is what takes time; an epoch is enough."""
    logdir = tmp_path_factory.mktemp("runs") / "default"
    commands.run("train", "--logdir", logdir, "--epochs", 1)
    return logdir


@pytest.mark.slow
def test_slider_latency(browser, default_run, capsys):
    lines = []
    with (
        browsing.demo("--logdir", default_run) as demo,
        browsing.watched_page(browser, demo.address) as page,
    ):
        page.evaluate(MOVE)
        for tab, (label, *_) in SLIDERS.items():
            open_tab(page, tab)
            order = itertools.islice(itertools.cycle(moves(tab)), 60)
            times = [page.evaluate("a => move(...a)", [label, value, CHANGED[tab]]) for value in order]
            times = sorted(times[10:])
            lines.append(f"{tab}: median {statistics.median(times):.0f} ms, 95% within {times[47]:.0f} ms")
    with capsys.disabled():
        print(
            "\nFrom a slider's move to the page's change, "
            f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}:"
        )
        print("\n".join(lines))


@pytest.mark.slow
def test_ten_clients_for_a_minute(browser, default_run, capsys):
    with browsing.demo("--logdir", default_run) as demo, contextlib.ExitStack() as stack:
        pages = []
        for i in range(10):
            page = stack.enter_context(browsing.watched_page(browser, demo.address))
            tab = list(SLIDERS)[i % len(SLIDERS)]
            open_tab(page, tab)
            page.evaluate(MOVE)
            pages.append((page, tab))
        for page, tab in pages:
            arguments = [SLIDERS[tab][0], moves(tab), CHANGED[tab], 60]
            page.evaluate("arguments => { window.playing = play(...arguments); }", arguments)
        memory = []
        for _ in range(13):
            memory.append(demo.memory())
            pages[0][0].wait_for_timeout(5000)
        times = [time for page, _ in pages for time in page.evaluate("() => window.playing")]
        toasts = [page.get_by_test_id("toast-body").count() for page, _ in pages]
    with capsys.disabled():
        print(
            f"\nTen clients, a minute, without a pause: {len(times)} answers, median "
            f"{statistics.median(times):.0f} ms, slowest {max(times):.0f} ms; memory "
            f"{', '.join(f'{m:.0f}' for m in memory)} MB."
        )
    assert not any(toasts)
    # Each step of the pages keeps nothing: after the first 15 seconds, which fill caches, nothing grows.
    assert max(memory[-3:]) - memory[3] < 0.03 * memory[3]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [0, 1], ids=["grpc", "rest"])
def test_from_a_server(protocol, browser, export_dir):
    """The page of a model on a server, which draws what the server draws."""
    with contextlib.ExitStack() as stack:
        addresses = stack.enter_context(prediction_server.stand_in(export_dir))
        demo = stack.enter_context(browsing.demo("--server", addresses[protocol]))
        page = stack.enter_context(browsing.watched_page(browser, demo.address))
        for tab, (label, _) in SLIDERS.items():
            panel = open_tab(page, tab)
            block = panel.locator(CHANGED[tab])
            after(block, lambda panel=panel, label=label: slider(panel, label).fill("1"))
