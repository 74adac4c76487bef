"""The front page's model, in a browser: it answers as the SavedModel did, and asks nobody."""

import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.experiments.demo import browsing
from tests.glow_tf.serving import runtimes_test
from tests.support import commands
from tests.support.documents import DOCS, ROOT

if not browsing.CHROMIUM:
    pytest.skip("needs a chromium on PATH: apt-get install chromium", allow_module_level=True)
yaml = pytest.importorskip("yaml", reason="needs requirements-docs.txt")
playwright = pytest.importorskip("playwright.sync_api", reason="needs requirements-demo.txt")
pytest.importorskip("mkdocs", reason="needs requirements-docs.txt")

ANSWERS = json.loads((DOCS / "play" / "answers.json").read_text())
SIDE = 8


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> pathlib.Path:
    """A folder with the front page, built as the whole site is."""
    folder = tmp_path_factory.mktemp("front")
    excluded = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["exclude_docs"]
    config = dict(INHERIT=str(ROOT / "mkdocs.yml"), docs_dir=str(DOCS), strict=False, hooks=[])
    # The other pages aren't built, nor what leads to them looked at.
    config |= dict(
        nav=["index.md"], plugins=["search", "offline"], validation={"links": {"not_found": "ignore"}}
    )
    config |= dict(exclude_docs=f"{excluded}*.md\n!/index.md\n")
    (folder / "mkdocs.yml").write_text(json.dumps(config))  # JSON is YAML.
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "-f",
        folder / "mkdocs.yml",
        "-d",
        folder / "site",
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder / "site"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browsing.CHROMIUM, args=browsing.FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(browser, site):
    """The front page, opened from its folder, once its model has answered; one for tests that use it."""
    with browsing.watched_page(browser, (site / "index.html").as_uri()) as opened:
        answered(opened)
        yield opened


def answered(page):
    page.wait_for_function("() => document.querySelector('.play-bits').value.includes('.')")


def levels(texts) -> np.ndarray:
    """Returns images of hexadecimal digits as levels, int [N, 64]."""
    return np.array([[int(level, 16) for level in text] for text in texts])


def shown(page, selector) -> np.ndarray:
    """Returns the levels on canvases, int [N, 64]."""
    pixels = page.locator(selector).evaluate_all(
        f"all => all.map(c => [...c.getContext('2d').getImageData(0, 0, {SIDE}, {SIDE}).data])"
    )
    pixels = np.array(pixels).reshape(len(pixels), -1, 4)
    assert (pixels[..., 3] == 255).all() and (pixels[..., :1] == pixels[..., :3]).all()
    return pixels[..., 0] // 17


def assert_same(images, wanted):
    """Asserts that images are equal, but for one level in one pixel of a thousand."""
    images, wanted = np.reshape(images, [-1]), np.reshape(wanted, [-1])
    assert np.abs(images - wanted).max() <= 1
    assert (images != wanted).mean() <= 1e-3


def after(page, selector, action) -> np.ndarray:
    """Does something, and returns the levels on canvases once the page has answered."""
    action()
    page.evaluate("() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    return shown(page, selector)


def slide(page, name, value):
    page.locator(f".play [name={name}]").fill(str(value))


def assert_answers(page, answers):
    """Asserts that the page's model answers what was recorded of a SavedModel."""
    asked = answers["decode"]
    latents = np.ravel(asked["latents"]).tolist()
    found = page.evaluate("([x, y]) => [...glow.decode(Float32Array.from(x), y)]", [latents, asked["labels"]])
    assert_same(found, levels(asked["images"]))

    asked = answers["bits_per_dim"]
    images = levels(asked["images"]).ravel().tolist()
    found = page.evaluate("([x, y]) => [...glow.bits(x, y)]", [images, asked["labels"]])
    np.testing.assert_allclose(found, asked["bits_per_dim"], rtol=0, atol=1e-4)

    asked = answers["interpolate"]
    digits = shown(page, ".play-digits[data-name=first] canvas")
    points = "([a, b, points]) => { const at = glow.line(a, b); return points.map(p => [...at(p)]); }"
    found = [
        page.evaluate(points, [digits[a].tolist(), digits[b].tolist(), asked["points"]])
        for a, b in asked["pairs"]
    ]
    assert_same(found, [levels(line) for line in asked["images"]])


def test_answers_are_the_saved_models(page):
    assert_answers(page, ANSWERS)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm isn't installed")
def test_made_again(browser, site, digits_run, tmp_path):
    """From the export of another run, with what PyPI and npm have."""
    commands.run("export", "--logdir", digits_run, "--export_dir", tmp_path / "served")
    packages = runtimes_test.installed_by(DOCS / "runtimes" / "with_tfjs.mjs", "pip")
    converter = runtimes_test.environment(tmp_path / "venv", packages) / "tensorflowjs_converter"
    folder = pathlib.Path(shutil.copytree(site, tmp_path / "site"))
    made = ["--export", tmp_path / "served" / "1", "--converter", converter, "--out", folder / "play"]
    subprocess.run([sys.executable, "-m", "docs.play", *made], check=True, cwd=ROOT)
    answers = json.loads((folder / "play" / "answers.json").read_text())
    assert answers["decode"]["images"] != ANSWERS["decode"]["images"]
    with browsing.watched_page(browser, (folder / "index.html").as_uri()) as page:
        answered(page)
        assert_answers(page, answers)


def test_samples(page):
    tiles = ".play-samples canvas"
    first = shown(page, tiles)
    assert first.shape == (20, 64) and len(np.unique(first, axis=0)) == 20
    again = after(page, tiles, page.get_by_role("button", name="Redraw").click)
    assert (again != first).any(1).all()
    hotter = after(page, tiles, lambda: slide(page, "temperature", 1))
    assert (hotter != again).any(1).all()
    assert (after(page, tiles, lambda: slide(page, "temperature", 0.7)) == again).all()
    # At temperature 0 all of a label are its likeliest image.
    means = after(page, tiles, lambda: slide(page, "temperature", 0))
    zeros = page.evaluate("() => [...glow.decode(new Float32Array(640), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]")
    np.testing.assert_array_equal(means, np.tile(np.reshape(zeros, [10, 64]), [2, 1]))
    threes = after(page, tiles, lambda: page.locator(".play [name=label]").select_option("3"))
    np.testing.assert_array_equal(threes, np.tile(means[3], [20, 1]))
    assert "20 of the digit 3" in page.locator(".play-samples").get_attribute("aria-label")


def test_from_one_digit_to_another(page):
    asked, canvas = ANSWERS["interpolate"], ".play-between canvas"
    digits = shown(page, ".play-digits[data-name=first] canvas")
    for (a, b), line in zip(asked["pairs"][:3], asked["images"], strict=False):
        for name, y in (("first", a), ("second", b)):
            page.locator(f".play-digits[data-name={name}] label").nth(y).click()
        found = [after(page, canvas, lambda p=p: slide(page, "point", p)) for p in asked["points"]]
        assert_same(found, levels(line))
        assert_same([found[0], found[-1]], digits[[a, b]])


def drawn(page) -> np.ndarray:
    """Returns the levels of the digit that is being drawn, int [64], from what each pixel is said to be."""
    labels = page.locator(".play-grid [role=gridcell]").evaluate_all("all => all.map(c => c.ariaLabel)")
    return np.array([int(label.rsplit(" of ")[0].rsplit(" ")[-1]) for label in labels])


def said(page) -> float:
    return float(page.locator(".play-bits").inner_text())


def likeliest(page, image) -> float:
    """Returns the least bits per dimension that any label gives."""
    image = image.tolist()
    return min(page.evaluate("x => Array.from({ length: 10 }, (_, y) => glow.bits(x, [y])[0])", image))


def test_a_digit_by_mouse(page):
    grid = page.locator(".play-grid")
    page.locator(".play [name=clear]").click()
    assert (drawn(page) == 0).all()
    box = grid.bounding_box()
    at = lambda x, y: (box["x"] + box["width"] * x / SIDE, box["y"] + box["height"] * y / SIDE)
    after(page, ".play-between canvas", lambda: stroke(page, at(4, 1), at(4, 7)))
    image = drawn(page).reshape(SIDE, SIDE)
    assert (image[1:7, 3:5] >= 10).all() and (image[:, [0, 1, 6, 7]] == 0).all()
    assert said(page) == pytest.approx(likeliest(page, image.ravel()), abs=6e-4)
    page.get_by_label("Erase").check()
    after(page, ".play-between canvas", lambda: stroke(page, at(4, 1), at(4, 7)))
    assert (drawn(page) <= 6).all()  # The ends of a stroke are soft.
    page.get_by_role("button", name="A test digit").click()
    assert_same(drawn(page), shown(page, ".play-digits[data-name=first] canvas")[4])


def stroke(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


NAMES = (
    *("Temperature", "Label", "Redraw", "Between the two", "2", "5", "row 1, column 1: 0 of 15"),
    *("Clear", "A test digit", "Erase"),
)


def test_by_keyboard_alone(page):
    for name, y in (("first", 2), ("second", 5)):
        page.locator(f".play-digits[data-name={name}] label").nth(y).click()
    page.get_by_role("slider", name="Temperature").focus()
    before = shown(page, ".play-samples canvas")
    assert (after(page, ".play-samples canvas", lambda: page.keyboard.press("End")) != before).any()
    # All that can be used, by its name, each one Tab from the next.
    name = "() => { const e = document.activeElement; return e.ariaLabel ?? (e.labels?.[0] ?? e).innerText; }"
    names = [page.evaluate(name)]
    for _ in NAMES[1:]:
        page.keyboard.press("Tab")
        names.append(page.evaluate(name).split("\n")[0].strip())
    assert tuple(names) == NAMES
    page.keyboard.press("Tab")
    assert not page.evaluate("() => document.activeElement.closest('.play')")

    page.locator(".play [name=clear]").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")  # Back to the grid.
    for key in ("ArrowUp", "ArrowDown", "ArrowRight", "Space", "ArrowRight", "+", "ArrowDown", "Space", "-"):
        page.keyboard.press(key)
    wanted = np.zeros([SIDE, SIDE], int)
    wanted[1, 1], wanted[1, 2], wanted[2, 2] = 15, 3, 12
    np.testing.assert_array_equal(drawn(page).reshape(SIDE, SIDE), wanted)
    page.keyboard.press("Space")
    wanted[2, 2] = 0
    np.testing.assert_array_equal(drawn(page).reshape(SIDE, SIDE), wanted)
    after(page, ".play-between canvas", lambda: None)
    assert said(page) == pytest.approx(likeliest(page, wanted.ravel()), abs=6e-4)


def test_on_a_telephone(browser, site):
    """Nothing heavy is loaded before it is seen, and nothing is wider than the screen."""
    page = browser.new_page(viewport={"width": 390, "height": 200}, color_scheme="dark")
    asked = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/")[-1]))
    page.goto((site / "index.html").as_uri())
    page.wait_for_timeout(300)
    heavy = {"model.js", "tfjs.js"}
    assert not heavy & set(asked)
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".play").scroll_into_view_if_needed()
    answered(page)
    assert heavy <= set(asked)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    parts = page.locator(".play :is(canvas, input, button, select, svg, .play-grid)")
    edges = parts.evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map(box => [box.left, box.right])"
    )
    assert len(edges) > 50 and np.min(edges) >= 0 and np.max(edges) <= 390
    page.close()


@pytest.mark.parametrize("name", ["tfjs.js", "model.js"])
def test_a_file_that_cant_be_read_is_told(browser, site, name):
    page = browser.new_page()
    page.route(f"**/{name}", lambda route: route.abort())
    page.goto((site / "index.html").as_uri())
    page.get_by_role("status").get_by_text("can't be run here").wait_for()
    assert f"{name} can't be read" in page.locator(".play-status").inner_text()
    page.close()


MOVE = """async name => {
  const slider = document.querySelector(`.play [name=${name}]`), times = [];
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    slider.value = i / 20;
    slider.dispatchEvent(new Event("input"));
    await new Promise(requestAnimationFrame);  // Asked for after the answer's, and so called after it.
    times.push(performance.now() - start);
  }
  return times;
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(site):
    """The address of a server of the built folder."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def test_from_a_server_fast_and_small(browser, site, server):
    with browsing.watched_page(browser, server) as page:
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.reload()
        answered(page)
        metrics = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
        assert metrics["TaskDuration"] < 2, metrics  # Seconds of a core, until all three parts have answered.
        for name in ("temperature", "point"):
            # The least: the machine may be busy with others' work.
            assert min(page.evaluate(MOVE, name)) < 50, name
    assert sum(file.stat().st_size for file in (site / "play").iterdir()) < 6e6
