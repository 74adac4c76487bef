"""The data that the page shows."""

import types

import numpy as np
import pytest
from PIL import Image

from experiments.cli import UsageError
from experiments.demo import page_data
from experiments.settings import resolve


@pytest.mark.parametrize("bad", ["00.png", "10.png", "01.png", "11.png"])
def test_a_bad_image_of_a_folder_is_named(tmp_path, bad):
    """Every tenth image is for testing; the others make the directions."""
    for i in range(12):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i:02}.png")
    (tmp_path / bad).write_bytes((tmp_path / bad).read_bytes()[:40])
    hyperparameters = resolve(dict(problem="folder", data_dir=str(tmp_path), image_size=8))
    model = types.SimpleNamespace(
        bits_per_dim=lambda images, labels: np.zeros(len(images), np.float32),
        encode_without_label=lambda images: np.zeros([len(images), images[0].size], np.float32),
    )
    with pytest.raises(UsageError, match=bad):
        page_data.load(model, hyperparameters, 100, None, None)
