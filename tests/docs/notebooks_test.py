"""The notebooks are their pages, and the outputs that they keep are those of running them."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")  # Of requirements-docs.txt, as nbclient.

from docs.notebooks import __main__ as notebooks  # noqa: E402

_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


def committed(name):
    return nbformat.read(notebooks.HERE / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_notebook_is_its_page(name):
    kept, made = committed(name), notebooks.make(name)
    nbformat.validate(kept)
    what = lambda notebook: [(cell.cell_type, cell.id, cell.source) for cell in notebook.cells]
    assert what(kept) == what(made), f"python -m docs.notebooks {name}"


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_outputs_are_those_of_a_run(name, tmp_path):
    run = notebooks.execute(notebooks.make(name), tmp_path)
    pictures = 0
    for kept, cell in zip(committed(name).cells, run.cells, strict=True):
        for expected, output in zip(kept.get("outputs", []), cell.get("outputs", []), strict=True):
            _assert_text_alike(_text(expected), _text(output))
            data = [out.get("data", {}).get("image/png") for out in (expected, output)]
            assert all(data) or not any(data)
            if all(data):
                pictures += 1
                # Threads round otherwise each time, and training carries that on to whole samples.
                (one, size), (other, other_size) = map(_gray, data)
                assert size == other_size
                assert one.mean() == pytest.approx(other.mean(), abs=8)
                assert one.std() == pytest.approx(other.std(), abs=8)
    assert pictures


def _gray(data):
    """Returns the gray levels of a PNG in base64, and its size in pixels."""
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("L")
    return np.asarray(picture, float), picture.size


def _text(output):
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")


def _assert_text_alike(expected, text):
    """The same words; whole numbers the same, decimal ones nearly."""
    assert _NUMBER.sub("#", text) == _NUMBER.sub("#", expected)
    for one, other in zip(_NUMBER.findall(expected), _NUMBER.findall(text), strict=True):
        if one.lstrip("-").isdigit():
            assert one == other
        else:
            assert float(other) == pytest.approx(float(one), rel=0.2, abs=0.1)
