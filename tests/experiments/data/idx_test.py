"""MNIST's own files, whole and damaged."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.cli import UsageError
from experiments.data import idx, problems
from experiments.settings import resolve


def packed(array):
    """Returns the bytes of a file with such values."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def write(folder, images, labels, split="t10k", zipped=True):
    """Writes a split, packed or not."""
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{split}-{name}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(packed(array)) if zipped else packed(array))


@pytest.fixture
def images(rng):
    """Four of them."""
    return rng.integers(0, 256, (4, 28, 28), np.uint8)


LABELS = np.array([3, 0, 9, 3], np.uint8)


def load(folder, split="test"):
    return problems.load(resolve(dict(problem="fashion_mnist", data_dir=str(folder), n_test=4)), split)


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_is_padded_and_gray(tmp_path, images, zipped):
    write(tmp_path, images, LABELS, zipped=zipped)
    write(tmp_path, images[:2], LABELS[:2], "train", zipped)
    data = load(tmp_path)
    assert data.images.shape == (4, 32, 32, 1)
    np.testing.assert_array_equal(data.images[:, 2:-2, 2:-2, 0], images)
    assert data.images.sum(dtype=int) == images.sum(dtype=int), "the padding is black"
    np.testing.assert_array_equal(data.labels, LABELS)
    assert len(load(tmp_path, "train")) == 2


def test_without_files_it_is_a_dataset_of_tfds(tmp_path, images):
    write(tmp_path, images, LABELS, "train")  # No test images.
    with pytest.raises(UsageError, match="TFDS dataset 'fashion_mnist'.*--download"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("images-idx3", b"", "format IDX"),
        ("images-idx3", bytes([0, 0, 13, 3]) + bytes(12), "format IDX of uint8 with 3 axes"),
        ("images-idx3", packed(np.zeros([4, 28], np.uint8)), "with 3 axes"),
        ("images-idx3", packed(np.zeros([4, 28, 28], np.uint8))[:-1], "should have 3136 .* only 3135"),
        ("images-idx3", packed(np.zeros([4, 28, 28], np.uint8)) + b"x", "should have 3136 .* more"),
        ("images-idx3", bytes([0, 0, 8, 3]) + struct.pack(">3i", 2**20, 2**20, 1), "1099511627776 values"),
        ("images-idx3", bytes([0, 0, 8, 3]) + struct.pack(">3i", -1, 28, 28), "format IDX"),
        ("images-idx3", packed(np.zeros([3, 28, 28], np.uint8)), "3 images, and .* 4 labels"),
        (
            "labels-idx1",
            packed(np.array([3, 0, 10, 255], np.uint8)),
            "the label 10, and labels must be 0 to 9",
        ),
    ],
)
def test_damaged_files(tmp_path, images, file, content, words):
    write(tmp_path, images, LABELS, zipped=False)
    (tmp_path / f"t10k-{file}-ubyte").write_bytes(content)
    with pytest.raises(UsageError, match=f"{file}-ubyte.*{words}"):
        load(tmp_path)


@settings(derandomize=True, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_sentence(tmp_path_factory, data):
    """Bytes of a packed file that are cut off or flipped: what is read is of the right form, or refused."""
    folder = tmp_path_factory.mktemp("idx")
    write(folder, np.zeros([2, 3, 3], np.uint8), LABELS[:2])
    path = data.draw(st.sampled_from(idx.find(folder, "test")))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = idx.read(idx.find(folder, "test"), 10)
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert read.images.ndim == 4 and read.labels.max() < 10
