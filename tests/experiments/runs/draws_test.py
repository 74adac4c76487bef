"""Bits per dimension over several draws of noise."""

import math

import numpy as np
import pytest

from experiments.data import batches, problems
from experiments.runs import Run
from experiments.runs.draws import Draws, Moments
from experiments.settings import resolve

N, K, N_BATCH = 23, 4, 10


@pytest.fixture(scope="module")
def run():
    """A model of a few digits, of any weights."""
    run = Run(resolve(dict(depth=1, width=4, n_levels=1, n_test=N, n_batch_test=N_BATCH)), "none")
    rng = np.random.default_rng(0)
    for variable in run.model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape))
    return run


def test_draws_by_hand(run):
    """The first draw is the evaluation's; the bound is of the mean of p."""
    hyperparameters = run.hyperparameters
    data = problems.load(hyperparameters, "test")
    test = batches.test(data, hyperparameters, N_BATCH)
    images, labels, noise = (np.concatenate(parts) for parts in zip(*test, strict=True))
    bits = [run.glow.bits_per_dim(images, labels, noise).numpy()]
    for draw in range(1, K):
        noise = [
            batches.test_noise([min(N_BATCH, N - start), 8, 8, 1], hyperparameters, np.int64(step), draw)
            for step, start in enumerate(range(0, N, N_BATCH))
        ]
        bits.append(run.glow.bits_per_dim(images, labels, np.concatenate(noise)).numpy())
    bits = np.array(bits, np.float64)
    assert len(np.unique(bits, axis=0)) == K
    nats = 64 * math.log(2)
    bounds = (math.log(K) - np.logaddexp.reduce(-nats * bits)) / nats
    error = lambda values: values.std(ddof=1) / math.sqrt(len(values))
    expected = [bits.mean(), error(bits.mean(1)), bounds.mean(), error(bounds)]
    np.testing.assert_allclose(list(Draws(run, data, K).measure().values()), expected, rtol=1e-4)
    assert bounds.mean() < bits.mean() - 1e-3

    one = Draws(run, data, 1).measure()
    evaluated = run.model.evaluate(test, verbose=0, return_dict=True)["bits_x"]
    np.testing.assert_allclose([one["bits_x"], one["importance_weighted_bound"]], evaluated, rtol=1e-6)
    assert math.isnan(one["bits_x_error"]) and one["importance_weighted_bound_error"] > 0


def test_moments(rng):
    values = rng.normal(3.0, 1e-3, 1000)
    moments = Moments()
    for group in np.split(values, [1, 10, 11, 500]):
        moments.add(group)
    np.testing.assert_allclose(moments.mean, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(moments.standard_error, values.std(ddof=1) / math.sqrt(1000), rtol=1e-9)
