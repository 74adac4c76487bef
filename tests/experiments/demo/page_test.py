"""Each tab, used as a person would, in a real browser; what it shows is compared pixel by pixel."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import settings
from experiments.data import problems
from tests.experiments.demo import browsing
from tests.experiments.demo.browsing import after, images, open_tab, slider
from tests.support import commands


@pytest.fixture(scope="module")
def signatures(export_dir):
    """The export's own signatures, called as anybody would."""
    model = tf.saved_model.load(str(export_dir / "1"))
    return lambda name, **inputs: {
        key: value.numpy()
        for key, value in model.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()}).items()
    }


@pytest.fixture(scope="module")
def test_set():
    """The images that the page shows."""
    return problems.load(settings.resolve({"problem": "digits"}), "test")


def assert_same(shown, wanted):
    """Asserts that images are equal, but for rounding at the edge of a level in one pixel of a thousand."""
    wanted = wanted.reshape(shown.shape)
    assert (shown != wanted).mean() <= 1e-3, np.abs(shown.astype(int) - wanted).max()


def sampled(signatures, seeds, labels, temperature=0.7):
    n = len(seeds)
    inputs = dict(
        seed=np.int64(seeds), labels=np.int32(labels), temperature=np.full(n, temperature, np.float32)
    )
    return signatures("sample", **inputs)["images"]


def test_sample(page, signatures):
    panel = open_tab(page, "Sample")
    grid = panel.locator("#sample-grid")
    assert_same(images(grid), sampled(signatures, range(30), np.arange(30) % 10))

    shown = after(grid, lambda: slider(panel, "How many").fill("5"))
    assert_same(shown, sampled(signatures, range(5), range(5)))

    def choose_three():
        panel.get_by_label("Label").click()
        page.get_by_role("option", name="3", exact=True).click()

    shown = after(grid, choose_three)
    assert_same(shown, sampled(signatures, range(5), [3] * 5))

    shown = after(grid, lambda: slider(panel, "Temperature").fill("0"))
    assert_same(shown, sampled(signatures, range(5), [3] * 5, temperature=0))
    assert (shown == shown[0]).all()  # At temperature 0 all are the likeliest image.

    slider(panel, "Temperature").fill("1")
    shown = after(grid, lambda: panel.get_by_role("button", name="Again").click())
    page.wait_for_function("() => document.querySelector('#sample-grid img').alt.includes('seed 5,')")
    assert_same(images(grid), sampled(signatures, range(5, 10), [3] * 5, temperature=1))
    assert panel.get_by_label("Seed").input_value() == "5"

    after(grid, lambda: panel.get_by_label("Seed").fill("77"))
    page.wait_for_function("() => document.querySelector('#sample-grid img').alt.includes('seed 77,')")
    assert_same(images(grid), sampled(signatures, range(77, 82), [3] * 5, temperature=1))

    with page.expect_download() as download:
        panel.get_by_role("link", name="Save as PNG").click()
    assert download.value.suggested_filename == "samples.png"
    saved = np.asarray(Image.open(download.value.path()))
    # A tile is 34 pixels, 8 x 4 and a border; the first pixel of each cell.
    cells = saved[1:33:4].reshape(8, 5, 34, 3)[:, :, 1:33:4, 0].transpose(1, 0, 2)
    assert_same(cells, images(grid))


def test_mix(page, signatures, test_set):
    panel = open_tab(page, "Mix")
    result, strip = panel.locator("#mix-result"), panel.locator("#mix-strip")

    def mixed(first, second, points):
        rows = dict(first=test_set.images[[first]], second=test_set.images[[second]])
        return signatures("interpolate", **rows, points=np.float32([points]))["images"][0]

    assert_same(images(result), mixed(2, 5, [0.5]))
    assert_same(images(strip), mixed(2, 5, np.linspace(0, 1, 9)))
    percent = slider(panel, "From first to second, %")
    shown = after(result, lambda: percent.fill("0"))
    assert_same(shown, mixed(2, 5, [0]))
    # The model's own 16 levels of the 17 that the data have.
    assert_same(shown, test_set.images[2] // 16 * 16)
    shown = after(strip, lambda: slider(panel, "First: test image").fill("11"))
    assert_same(shown, mixed(11, 5, np.linspace(0, 1, 9)))
    assert_same(images(result), mixed(11, 5, [0]))

    # A large picture of a test image: what is uploaded is cropped and resized to that image again.
    digit = test_set.images[20, ..., 0].repeat(30, 0).repeat(30, 1)
    picture = Image.fromarray(np.pad(digit, ((0, 0), (50, 50)), constant_values=255))
    with io.BytesIO() as file:
        picture.save(file, "PNG")
        payload = {"name": "digit.png", "mimeType": "image/png", "buffer": file.getvalue()}
    shown = after(strip, lambda: browsing.upload(panel, "Second: upload a picture", payload))
    assert_same(shown, mixed(11, 20, np.linspace(0, 1, 9)))
    said = browsing.sentence(panel, "status")
    assert "340 by 240, cropped to its middle square, resized to 8 by 8" in said


def test_manipulate(page, signatures, test_set):
    panel = open_tab(page, "Manipulate")
    result, strip = panel.locator("#manipulate-result"), panel.locator("#manipulate-strip")
    train = problems.load(settings.resolve({"problem": "digits"}), "train")
    n = len(train.labels)
    encoded = signatures("encode", images=train.images, labels=np.zeros(n, np.int32))
    mean = lambda y: encoded["latents_without_label"][train.labels == y].mean(0)

    def moved(image, direction):
        rows = dict(images=test_set.images[[image]], direction=np.float32(direction)[None])
        return signatures("manipulate", **rows, alphas=np.float32([np.linspace(0, 1, 7)]))["images"][0]

    own = test_set.labels[7]
    towards = lambda y: mean(y) - mean(own)
    assert_same(images(strip), moved(7, 2 * towards(8)))
    assert_same(images(result), moved(7, 2 * towards(8))[-1:])
    shown = after(strip, lambda: slider(panel, "Towards 3").fill("1.5"))
    assert_same(shown, moved(7, 2 * towards(8) + 1.5 * towards(3)))  # All sliders together.
    shown = after(strip, lambda: panel.get_by_role("button", name="Reset").click())
    assert_same(shown, moved(7, np.zeros(64)))
    assert slider(panel, "Towards 3").input_value() == "0"
    shown = after(strip, lambda: slider(panel, "Test image").fill("12"))
    assert_same(shown[0], test_set.images[12] // 16 * 16)


def test_explain(page, signatures, test_set):
    panel = open_tab(page, "Explain")
    bits, levels = panel.locator("#explain-bits"), panel.locator("#explain-levels")

    def bits_of(image, label):
        rows = dict(images=test_set.images[[image]], labels=np.int32([label]))
        return signatures("bits_per_dim", **rows)["bits_per_dim"][0]

    def rebuilt(image, label):
        labels = np.int32([label])
        latents = signatures("encode", images=test_set.images[[image]], labels=labels)["latents"]
        # The level that is split off first comes first: half of an 8x8 image's numbers.
        rows = [np.zeros_like(latents), np.concatenate([0 * latents[:, :32], latents[:, 32:]], 1), latents]
        return signatures("decode", latents=np.concatenate(rows), labels=labels.repeat(3))["images"]

    label = test_set.labels[0]
    assert f"{bits_of(0, label):.3f} bits per dimension" in bits.inner_text()
    shown = images(levels).reshape(3, 6, 8, 8)
    assert_same(shown[:, 0], rebuilt(0, label))
    assert (shown[2] == shown[2, 0]).all()  # With all levels kept nothing is drawn at random.
    assert (shown[0, 1:] != shown[0, 0]).any() and (shown[1, 1:] != shown[1, 0]).any()
    histogram = bits.get_by_role("img")
    assert "360 test images" in histogram.get_attribute("aria-label")

    shown = after(levels, lambda: slider(panel, "Test image").fill("4"))
    assert_same(shown.reshape(3, 6, 8, 8)[:, 0], rebuilt(4, test_set.labels[4]))
    wrong = (test_set.labels[4] + 1) % 10

    def tell_wrong():
        panel.get_by_label("The model takes this for a").click()
        page.get_by_role("option", name=str(wrong), exact=True).click()

    shown = after(levels, tell_wrong)
    assert_same(shown.reshape(3, 6, 8, 8)[:, 0], rebuilt(4, wrong))
    assert f"{bits_of(4, wrong):.3f} bits per dimension" in bits.inner_text()


def test_by_keyboard_alone(page, signatures, test_set):
    page.get_by_role("tab", name="Sample").focus()
    page.keyboard.press("Tab")
    for _ in range(3):  # To the tab Mix, by Tab and Enter.
        if page.evaluate("() => document.activeElement.innerText") == "Mix":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    result = page.locator("#mix-result")
    result.locator("img").wait_for()
    slider(page, "From first to second, %").focus()
    for _ in range(3):  # A step may leave each pixel of 4 bits as it was: the alternative text tells.
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#mix-result img').alt.startsWith('47% first')")
    rows = dict(first=test_set.images[[2]], second=test_set.images[[5]], points=np.float32([[0.53]]))
    assert_same(images(result), signatures("interpolate", **rows)["images"][0])


def test_small_images_are_enlarged_without_smoothing(page):
    grid = open_tab(page, "Sample").locator("#sample-grid")
    first = grid.locator("img").first
    on_screen = np.asarray(Image.open(io.BytesIO(first.screenshot())).convert("L"))
    side = len(on_screen)
    assert side >= 80
    middles = ((np.arange(8) + 0.5) * side / 8).astype(int)
    corner = np.s_[1:7]  # Those of the image's round corners left out.
    np.testing.assert_array_equal(on_screen[middles][:, middles][corner], images(grid)[0][corner])
    # Beside the middles too: a smoothed pixel is its own colour in the middle alone.
    np.testing.assert_array_equal(on_screen[middles + 3][:, middles - 3][corner], images(grid)[0][corner])


def test_on_a_telephone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Mix", "Manipulate", "Sample", "Explain"):  # No tab is hidden in a menu.
        panel = open_tab(page, name)
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    # Each level's text is beside its image.
    places = panel.locator(".levels > :is(div:not(.head, .strip), figure)").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map(box => [box.left, box.top + box.height / 2])"
    )
    places = np.reshape(places, [3, 2, 2])
    assert (places[:, 0, 0] < places[:, 1, 0]).all()
    np.testing.assert_allclose(places[:, 0, 1], places[:, 1, 1], atol=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--logdir", "--export_dir", "--server"]),
        (["--export_dir", "{tmp}"], ["no export in {tmp}"]),
        (["--server", "http://127.0.0.1:1", "--time_limit", "2"], ["127.0.0.1:1"]),
    ],
)
def test_mistakes_are_told_in_a_paragraph(browser, arguments, words, tmp_path):
    message = commands.run("demo", *(a.format(tmp=tmp_path) for a in arguments), fails=True)
    assert "Traceback" not in message, message
    for word in words:
        assert word.format(tmp=tmp_path) in message, message
