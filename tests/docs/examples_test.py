"""The examples of the documentation: run in full by `pytest -m slow`, their bars checked."""

import os

import numpy as np
import pytest
import tensorflow as tf

os.environ.setdefault("MPLBACKEND", "Agg")

from docs.examples import (  # noqa: E402
    amortized_inpainting,
    chains,
    class_mixture,
    digits,
    inpainting,
    out_of_distribution,
    posterior,
    super_resolution,
    two_moons,
    vae,
    variational_dequantization,
)


@pytest.mark.parametrize("make", [chains.volume, chains.part_of_a_vector])
def test_log_prob_of_chains_is_that_of_autodiff(make):
    assert chains.disagreement(make()) < 1e-3


def test_two_moons_flows_have_as_many_parameters(rng):
    """The others have more, so that a better Glow isn't the larger one."""
    ours, *others = (
        two_moons.n_parameters(make(two_moons.DEPTH, width, rng)) for _, make, width, _ in two_moons.FLOWS
    )
    assert all(ours <= n < 1.1 * ours for n in others)


def test_flows_of_the_posterior_have_as_many_parameters(rng):
    glow, maf = (make(depth, width, rng) for _, make, depth, width, _, _ in posterior.FLOWS)
    ours, others = (two_moons.n_parameters(flow) for flow in (glow, maf))
    assert ours <= others < 1.1 * ours


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_true_posterior_is_what_simulations_near_the_observation_have(seed):
    """Simulations near the observation agree about each half of the posterior: its share, and its mean."""
    rng = np.random.default_rng(seed)
    observation = posterior.simulate(1, rng)[1][0]
    parameters, observations = posterior.simulate(2_000_000, rng)
    near = parameters[np.linalg.norm(observations - observation, axis=-1) < 0.02]
    exact = posterior.true_posterior(20_000, observation, rng)
    assert len(near) > 100
    share = lambda x: np.mean(x.sum(-1) > 0)
    assert share(exact) == pytest.approx(share(near), abs=5 * 0.5 / np.sqrt(len(near)))
    for positive in (True, False):
        halves = [x[(x.sum(-1) > 0) == positive] for x in (near, exact)]
        np.testing.assert_allclose(*(half.mean(0) for half in halves), atol=0.05)


def test_hidden_and_visible_halves_are_the_image(rng):
    images = digits.load()[0][:8]
    hidden, visible = amortized_inpainting.hidden_and_visible(images, rng)
    whole = np.concatenate([visible, inpainting.to_float(hidden)], 2)
    np.testing.assert_array_equal(whole, inpainting.to_float(images))


def test_variational_bound_is_of_the_noise_of_its_bins():
    """A new flow's noise is inside the bins, and its log-density is what TFP finds from the noise alone."""
    images = digits.load()[0][:8]
    q = variational_dequantization.noise_given(variational_dequantization.noise_flow(seed=0), images)
    u, log_q = q.experimental_sample_and_log_prob(seed=0)
    assert u.shape == images.shape
    assert np.min(u) >= 0
    assert np.max(u) <= variational_dequantization.BIN
    np.testing.assert_allclose(q.log_prob(tf.identity(u)), log_q, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "bar"),
    [
        (two_moons, lambda r: r["Glow"] >= r["RealNVP"] and r["Glow"] >= r["MAF"]),
        (vae, lambda r: r["Glow as prior"] < r["plain"] and r["Glow as likelihood"] < r["plain"] - 0.3),
        (class_mixture, lambda r: r["accuracy"] > 0.75 and r["bits_per_dim"] < 2.7),
        (inpainting, lambda r: r["posterior mean"] < 0.9 * r["mean digit"] and r["accepted"] > 0.4),
        (chains, lambda r: r["lowest"] >= 0 and r["highest"] <= 1 and r["after"] > r["before"] + 1),
        (
            out_of_distribution,
            # The caveat is part of the example: smooth images are more likely than the model's own data.
            lambda r: r["digits against patches"] > 0.95 and r["patches against smooth"] < 0.5,
        ),
        (posterior, lambda r: 0.45 < r["Glow"] < r["MAF"]),
        (
            super_resolution,
            lambda r: (
                r["bits given the small image"] < r["bits without"] - 0.4
                and abs(r["sharpness of samples"] - 1) < 0.5 * abs(r["sharpness of bicubic"] - 1)
                and r["error of samples"] < 0.8 * r["error of bicubic"]
            ),
        ),
        (
            amortized_inpainting,
            lambda r: (
                r["error of the conditional Glow"] < 1.1 * r["error of HMC"] < r["error of the mean digit"]
                and r["seconds of the conditional Glow"] < 0.1 * r["seconds of HMC"]
            ),
        ),
        (variational_dequantization, lambda r: r["variational"] < r["uniform"]),
    ],
    ids=lambda value: getattr(value, "__name__", "").rpartition(".")[2] or "bar",
)
def test_example(module, bar, tmp_path):
    results = module.main(tmp_path)
    assert bar(results), results
    name = module.__name__.rpartition(".")[2]
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
