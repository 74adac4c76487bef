"""The examples of the documentation: run in full by `pytest -m slow`, their bars checked."""

import os

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

from docs.examples import chains, class_mixture, inpainting, out_of_distribution, two_moons, vae  # noqa: E402


@pytest.mark.parametrize("make", [chains.volume, chains.part_of_a_vector])
def test_log_prob_of_chains_is_that_of_autodiff(make):
    assert chains.disagreement(make()) < 1e-3


def test_two_moons_flows_have_as_many_parameters(rng):
    """The others have more, so that a better Glow isn't the larger one."""
    ours, *others = (
        two_moons.n_parameters(make(two_moons.DEPTH, width, rng)) for _, make, width, _ in two_moons.FLOWS
    )
    assert all(ours <= n < 1.1 * ours for n in others)


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
    ],
    ids=lambda value: getattr(value, "__name__", "").rpartition(".")[2] or "bar",
)
def test_example(module, bar, tmp_path):
    results = module.main(tmp_path)
    assert bar(results), results
    name = module.__name__.rpartition(".")[2]
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
