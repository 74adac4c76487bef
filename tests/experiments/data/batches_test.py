"""Batches for training, initialisation and testing."""

import numpy as np
import pytest

from experiments.data import batches, problems, sources
from experiments.settings import resolve


@pytest.fixture
def hyperparameters():
    """The digits' hyperparameters."""
    return resolve({})


def test_training_batches_are_permutations_and_resume(hyperparameters):
    data = sources.Images(
        np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1) * np.ones((1, 8, 8, 1), np.uint8), np.arange(12)
    )
    take = lambda first, n: list(batches.train(data, hyperparameters, 4, first).take(n))
    taken = take(0, 6)
    for epoch in (taken[:3], taken[3:]):
        assert sorted(int(i) for _, labels, _ in epoch for i in labels) == list(range(12))
    assert [list(b[1]) for b in taken[:3]] != [list(b[1]) for b in taken[3:]]
    for ours, theirs in zip(take(4, 2), taken[4:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_noise_is_uniform_in_a_bin(hyperparameters):
    _, _, noise = batches.init(problems.load(hyperparameters, "train"), hyperparameters)
    assert noise.numpy().min() >= 0 and noise.numpy().max() < 1 / 16
    assert abs(noise.numpy().mean() - 1 / 32) < 1e-3


def test_every_test_image_once_and_the_same_each_time(hyperparameters):
    data = problems.load(hyperparameters, "test")
    first, second = (list(batches.test(data, hyperparameters, 50)) for _ in range(2))
    images = np.concatenate([b[0] for b in first])
    np.testing.assert_array_equal(images, data.images)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


def test_smaller_images_are_block_means(hyperparameters):
    data = problems.load(hyperparameters, "test")
    small = resolve(dict(image_size=4, n_levels=1))
    images = next(iter(batches.test(data, small, 3)))[0]
    blocks = data.images[:3].reshape(3, 4, 2, 4, 2, 1).mean((2, 4))
    np.testing.assert_array_equal(images, np.floor(blocks))


@pytest.mark.parametrize("problem", problems.PROBLEMS)
def test_augmentation_goes_as_far_as_the_problem_lets_it(problem, rng):
    """MNIST's level 2 is its level 1, as in the original; of the others it is another."""
    shape = (8, 8, problems.PROBLEMS[problem].n_channels)
    data = sources.Images(rng.integers(0, 256, (16, *shape), np.uint8), np.zeros(16, np.int32))
    made = [
        next(iter(batches.train(data, resolve(dict(problem=problem, image_size=8, dal=dal)), 16)))[0].numpy()
        for dal in range(3)
    ]
    assert (made[0] != made[1]).any()
    assert (made[1] != made[2]).any() == (problem != "mnist")
