"""The datasets by their names."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from experiments.cli import UsageError
from experiments.data import problems
from experiments.settings import resolve


def test_digits_are_split():
    train, test = (problems.load(resolve({}), split) for split in ("train", "test"))
    assert len(train) == 1437 and len(test) == 360
    assert train.images.dtype == np.uint8 and train.images.shape[1:] == (8, 8, 1)
    assert set(train.labels) == set(test.labels) == set(range(10))
    assert train.images.max() == 255 and len(np.unique(train.images // 16)) == 16


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(problem="cifar10", data_dir="/nowhere"), "/nowhere"),
        (dict(problem="celeba"), "celeba"),
        (dict(n_test=361), "361"),
        (dict(image_size=16), "8"),
    ],
)
def test_bad_data(given, words):
    with pytest.raises(UsageError, match=words):
        problems.load(resolve(given), "test")


def store(data_dir, images, labels, name="mnist", version="3.0.1"):
    """Writes images and labels as the test split of a dataset of TFDS'; what else it has is empty texts."""
    others = set(tfds.builder(name, data_dir=data_dir).info.features) - {"image", "label"}
    texts = {key: [""] * len(labels) for key in others}
    examples = tf.data.Dataset.from_tensor_slices(dict(image=images, label=labels, **texts))
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version=version,
        features=tfds.features.FeaturesDict(
            dict(
                image=tfds.features.Image(shape=images.shape[1:]),
                label=tfds.features.Scalar(np.int64),
                **{key: tfds.features.Text() for key in others},
            )
        ),
        split_datasets=dict(test=examples),
        data_dir=data_dir,
    )


def mnist_hps(data_dir):
    """Returns the hyperparameters of four test images."""
    return resolve(dict(problem="mnist", data_dir=str(data_dir), n_test=4))


def test_mnist_is_padded_and_tiled(tmp_path, rng):
    images, labels = rng.integers(0, 256, (4, 28, 28, 1), np.uint8), np.array([3, 1, 4, 1])
    store(tmp_path, images, labels)
    data = problems.load(mnist_hps(tmp_path), "test")
    inside = data.images[:, 2:-2, 2:-2]
    assert data.images.shape == (4, 32, 32, 3)
    assert data.images.sum(dtype=int) == inside.sum(dtype=int), "the padding is black"
    order = np.argsort(data.labels, kind="stable")  # TFDS shuffles.
    np.testing.assert_array_equal(data.labels[order], [1, 1, 3, 4])
    np.testing.assert_array_equal(inside[order[-2:]], np.repeat(images[[0, 2]], 3, -1))


def test_cifar10(tmp_path, rng):
    images, labels = rng.integers(0, 256, (4, 32, 32, 3), np.uint8), np.array([3, 1, 4, 9])
    store(tmp_path, images, labels, "cifar10", "3.0.2")
    data = problems.load(resolve(dict(problem="cifar10", data_dir=str(tmp_path), n_test=4)), "test")
    order = [list(data.labels).index(label) for label in labels]  # TFDS shuffles.
    np.testing.assert_array_equal(data.images[order], images)


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("dataset_info.json", lambda whole: whole[: len(whole) // 2], "dataset_info.json is damaged"),
        ("dataset_info.json", lambda whole: b"", "dataset_info.json is damaged"),
        ("dataset_info.json", lambda whole: b"\xff\x00", "dataset_info.json is damaged"),
        ("dataset_info.json", lambda whole: b"null", "dataset_info.json is damaged"),
        ("dataset_info.json", lambda whole: b"{}", "version"),
        ("dataset_info.json", lambda whole: whole.replace(b"3.0.1", b"2.0.0"), "version"),
        ("dataset_info.json", lambda whole: whole.replace(b'"test"', b'"exam"'), "split 'test'.*'exam'"),
        ("dataset_info.json", lambda whole: None, "its dataset_info.json is missing"),
        ("mnist-test.tfrecord-00000-of-00001", lambda whole: whole[:-9], "truncated record"),
        ("mnist-test.tfrecord-00000-of-00001", lambda whole: b"no records, but long enough", "corrupted"),
        ("mnist-test.tfrecord-00000-of-00001", lambda whole: None, "No such file"),
    ],
)
def test_damaged_tfds(tmp_path, file, damage, words):
    store(tmp_path, np.zeros((4, 28, 28, 1), np.uint8), np.arange(4))
    path = tmp_path / "mnist" / "3.0.1" / file
    whole = path.read_bytes()
    path.unlink()
    new = damage(whole)
    if new is not None:
        path.write_bytes(new)
    with pytest.raises(UsageError, match=f"TFDS dataset 'mnist'.*{words}.*--download"):
        problems.load(mnist_hps(tmp_path), "test")


def test_another_version_and_other_labels(tmp_path):
    store(tmp_path, np.zeros((4, 28, 28, 1), np.uint8), np.array([0, 9, 10, 3]))
    with pytest.raises(UsageError, match="the label 10, and labels must be 0 to 9"):
        problems.load(mnist_hps(tmp_path), "test")
    (tmp_path / "mnist" / "3.0.1").rename(tmp_path / "mnist" / "2.0.0")
    with pytest.raises(UsageError, match=r"mnist/3.0.1, but version 2.0.0\. .*--download"):
        problems.load(mnist_hps(tmp_path), "test")
