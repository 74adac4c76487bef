"""What --context makes of images and labels."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from experiments.cli import UsageError
from experiments.data import batches, contexts, problems
from experiments.settings import glow_config, resolve


def test_the_image_made_smaller(rng):
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)
    for factor in (2, 4, 8):
        size = 8 // factor
        context = contexts.LowResolution(size, 3)
        means = images.reshape(5, size, factor, size, factor, 3).mean((2, 4))
        made = context(images, None).numpy()
        np.testing.assert_array_equal(made, np.float32(np.floor(means) / 256 - 0.5))
        assert made.shape[1:] == context.shape and made.dtype == np.float32
        np.testing.assert_array_equal(contexts.of_pixels(context.shrunk(images)), made)


def test_the_label():
    context = contexts.Label(4)
    np.testing.assert_array_equal(context(None, tf.constant([3, 0])), [[0, 0, 0, 1], [1, 0, 0, 0]])
    assert context.shape == (4,)


def test_of_a_run():
    shape = lambda **given: glow_config(resolve(given)).context_shape
    assert shape() == shape(context="") == ()
    assert shape(context="label") == (10,)
    assert shape(context="lowres:2") == (4, 4, 1) and shape(context="lowres:8") == (1, 1, 1)
    assert shape(problem="lsun", image_size=96, context="lowres:32") == (3, 3, 3)
    assert not resolve(dict(ycond=False)).labelled
    assert resolve(dict(ycond=False, context="label")).labelled


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("labels", "label, lowres:K or empty, got 'labels'"),
        ("lowres", "label, lowres:K or empty, got 'lowres'"),
        ("Label", "got 'Label'"),
        ("label:2", "got 'label:2'"),
        *(
            (f"lowres:{k}", "2, 4, 8, got 'lowres:")
            for k in ("", "1", "3", "16", "-2", "2.0", "02", " 2", "²")
        ),
        ("lowres:" + "9" * 5000, "2, 4, 8, got"),
        ("lowres:2:2", "2, 4, 8, got"),
    ],
)
def test_values_that_are_none(value, words):
    with pytest.raises(UsageError, match=f"--context.*{words}"):
        resolve(dict(context=value))


@pytest.mark.parametrize("context", ["", "label", "lowres:4"])
def test_the_context_of_a_share_is_that_of_the_whole_batch(context, two_replicas):
    """As the model gets it: in training, where each worker makes its share, and in the evaluation."""
    flags = dict(context=context, n_batch_train=10, n_batch_test=10, n_test=15, dal=1, ycond=False)
    hyperparameters = resolve(flags)
    train, test = (problems.load(hyperparameters, split) for split in ("train", "test"))
    as_model = batches.for_model(hyperparameters)
    whole = next(iter(batches.train(train, hyperparameters, 10, 3).map(as_model)))
    shares = [
        next(iter(batches.train(train, hyperparameters, 10, 3, first, 5).map(as_model))) for first in (0, 5)
    ]
    joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *shares)
    tf.nest.map_structure(np.testing.assert_array_equal, joined, tf.nest.map_structure(np.asarray, whole))

    distributed, n = batches.distributed_test(two_replicas, test, hyperparameters)
    assert n == 2
    alone = list(batches.test(test, hyperparameters, 10).map(as_model))
    for batch, one in zip(distributed, alone, strict=True):
        images, *_, weights = tf.nest.map_structure(
            lambda x: np.concatenate(two_replicas.experimental_local_results(x)), batch
        )
        for there, wanted in zip(tf.nest.flatten(images), tf.nest.flatten(one[0]), strict=True):
            np.testing.assert_array_equal(there[weights > 0], wanted)


def test_classes_of_a_folder_are_read_for_the_label(tmp_path, monkeypatch):
    folder = dataclasses.replace(problems.PROBLEMS["folder"], classes=lambda data_dir: ["cats", "dogs"])
    monkeypatch.setitem(problems.PROBLEMS, "folder", folder)
    resolved = resolve(dict(problem="folder", data_dir=str(tmp_path), context="label"))
    assert resolved.classes == ("cats", "dogs") and glow_config(resolved).context_shape == (2,)
    assert resolve(dict(problem="folder", data_dir=str(tmp_path), context="lowres:2")).classes is None
