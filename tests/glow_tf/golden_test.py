"""The model, its initialisation and its training against the original's recorded numbers."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf import optimizers
from glow_tf.openai_checkpoint import _names as original_names
from glow_tf.openai_checkpoint import _squeezed
from tests.support.golden import CASES, Case, relative_error, require_cases

pytestmark = require_cases
N_STEPS = 25


@pytest.fixture(params=CASES)
def case(request):
    """Each recorded case."""
    return Case(request.param)


def by_original_name(model, value_of):
    """Yields (the original's name, the value of `value_of(variable)`, unstacked)."""
    for name, (variable, step) in original_names(model).items():
        if variable.trainable:
            value = np.asarray(value_of(variable))
            yield name, value if step is None else value[step]


def assert_weights(model, value_of, reference_of, tolerance):
    """Compares every trainable weight with the recorded one, by the original's name."""
    errors = {
        name: relative_error(value, reference_of(name)) for name, value in by_original_name(model, value_of)
    }
    worst = max(errors, key=errors.get)
    assert errors[worst] < tolerance, (worst, errors[worst])


def test_bits(case):
    losses = case.model("trained").losses(
        *case.batch("eval")[:2], case.hps["weight_y"], case.batch("eval")[2]
    )
    for ours, recorded in (
        ("bits_x", "eval_bits_x"),
        ("bits_y", "eval_bits_y"),
        ("pred_loss", "eval_class_error"),
    ):
        np.testing.assert_allclose(losses[ours], case.arrays[recorded], atol=2e-5, rtol=0)


def test_bits_per_dim(case):
    bits = case.model("trained").bits_per_dim(*case.batch("eval"))
    np.testing.assert_allclose(bits, case.arrays["eval_bits_x"], atol=2e-5, rtol=0)


def test_log_prob_of_distribution(case):
    model = case.model("trained")
    images, labels, noise = case.batch("eval")
    log_prob = model.distribution(labels).log_prob(model.dequantize(images, noise))
    n_dims, n_bits = model.config.n_dims, model.config.n_bits_x
    bits = n_bits - np.asarray(log_prob) / (n_dims * np.log(2))
    np.testing.assert_allclose(bits, case.arrays["eval_bits_x"], atol=2e-5, rtol=0)


def test_latents(case):
    model = case.model("trained")
    eps = model.encode(*case.batch("eval"))
    assert [list(e.shape[1:]) for e in eps] == case.meta["eps_shapes"]
    assert relative_error(model.flatten_latents(eps), case.arrays["eval_eps_flat"]) < 2e-5


@pytest.mark.parametrize("which", ["eval_dec", "sample"])
def test_decode(case, which):
    model = case.model("trained")
    if which == "sample":
        flat, labels = case.arrays["sample_eps_flat"], case.arrays["sample_y"]
    else:
        flat, labels = case.arrays["eval_eps_flat"], case.batch("eval")[1]
    labels = labels if model.config.ycond else None
    eps = model.unflatten_latents(flat)
    floats = model.decode_float(eps, labels)
    assert relative_error(floats, case.arrays[f"{which}_float"]) < 2e-5
    difference = np.abs(model.decode(eps, labels).numpy().astype(int) - case.arrays[f"{which}_uint8"])
    assert difference.max() <= 2 ** (8 - model.config.n_bits_x)
    assert (difference > 0).mean() <= 5e-4


def test_inverse_on_trained_weights(case):
    model = case.model("trained")
    images, labels, noise = case.batch("eval")
    restored = model.decode_float(model.encode(images, labels, noise), labels)
    assert np.abs(restored - model.dequantize(images, noise)).max() < 1e-4


def test_data_dependent_initialization(case):
    model = case.model("raw")
    model.initialize(*case.batch("init"))
    reader = tf.train.load_checkpoint(case.checkpoint("init"))
    # Means of what is centred already are rounding noise around 0: hence the floor, 1e-2.
    for name, value in by_original_name(model, lambda v: v):
        assert relative_error(value, reader.get_tensor(name), floor=1e-2) < 1e-4, name


# As the recorded models are small, "reverse" rebuilds only where nothing is kept.
MEMORY = {
    "store": dict(memory="store"),
    "recompute": dict(memory="recompute"),
    "reverse": dict(memory="reverse"),
    "reverse, nothing kept": dict(memory="reverse", keep_bytes=0),
}


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("name", [n for n in CASES if any("grad0/" in a for a in Case(n).arrays)])
def test_gradients(name, memory):
    case = Case(name)
    model = case.model("init", **MEMORY[memory])
    images, labels, noise = case.batch("train", 0)
    with tf.GradientTape() as tape:
        losses = model.losses(images, labels, case.hps["weight_y"], noise)
        loss = tf.reduce_mean(losses["loss"])
    variables = model.trainable_variables
    gradients = {v.ref(): g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)}
    assert_weights(model, lambda v: gradients[v.ref()], lambda n: case.arrays[f"grad0/{n}"], 1e-3)


@pytest.mark.parametrize(
    ("name", "kind", "memory"),
    [
        pytest.param(name, "adamax", memory, marks=[pytest.mark.slow] * (memory != "reverse"))
        for name in CASES[:1]
        for memory in MEMORY
    ]
    + [
        pytest.param(name, "adamax", "reverse, nothing kept", marks=[pytest.mark.slow] * (k > 0))
        for k, name in enumerate(CASES[1:])
    ]
    + [(name, "adam", "reverse") for name in CASES[:1]],
)
def test_training_steps(name, kind, memory):
    """One model in each memory mode, and each model in that which rebuilds its steps."""
    case, suffix = Case(name), {"adamax": "", "adam": "_adam"}[kind]
    hps = case.hps
    # The Polyak average starts before data-dependent initialisation.
    model = case.model("raw", **MEMORY[memory])
    optimizer = {"adamax": optimizers.Adamax, "adam": optimizers.Adam}[kind](
        optimizers.WarmUp(hps["lr"], 64 / 16),
        beta_1=hps["beta1"],
        beta_2=1 - 1 / (N_STEPS * hps["polyak_epochs"]),
        weight_decay=hps["weight_decay"],
    )
    optimizer.build(model.trainable_variables)
    start = case.model("init")
    for variable, value in zip(model.variables, start.variables, strict=True):
        variable.assign(value)

    @tf.function
    def step(images, labels, noise):
        with tf.GradientTape() as tape:
            losses = model.losses(images, labels, hps["weight_y"], noise)
            loss = tf.reduce_mean(losses["loss"])
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [step(*case.batch("train", k)) for k in range(N_STEPS)]
    recorded = case.arrays[f"train_stats{suffix}"][:, 0]
    np.testing.assert_allclose(losses, recorded, atol=1e-4, rtol=0)
    reader = tf.train.load_checkpoint(case.checkpoint(f"trained{suffix}"))
    assert_weights(model, lambda v: v, reader.get_tensor, 1e-2)
    if kind == "adamax":
        ema = lambda name: case.arrays[f"ema_after/{name}"]
        assert_weights(model, optimizer.polyak_average, ema, 1e-3)


def test_mixed_precision(case):
    images, labels, noise = case.batch("eval")
    exact, mixed = (case.model("trained", dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    bits = [model.bits_per_dim(images, labels, noise) for model in (exact, mixed)]
    np.testing.assert_allclose(*bits, atol=2e-3)
    x = mixed.dequantize(images, noise)
    back = mixed.decode_float([tf.identity(e) for e in mixed.encode(images, labels, noise)], labels)
    # A network that sees an input 1e-7 beside the forward pass's may round it to the next bfloat16.
    np.testing.assert_allclose(back, x, atol=5e-3)
    assert np.sqrt(np.mean((back - x) ** 2)) < 2e-4


def test_intermediate_values():
    """The separate bijectors, one by one, against the values inside the original."""
    case = Case(CASES[0])
    model = case.model("trained")
    images, _, noise = (x if x is None else x[:4] for x in case.batch("eval"))
    step = model.flow().flows[0].bijectors[0].step(0)
    squeeze = model.flow().flows[0].bijectors[1]
    x = squeeze.forward(model.dequantize(images, noise))
    objective = -np.log(2.0**model.config.n_bits_x) * model.config.n_dims + np.zeros(4)
    stages = [
        ("in", None),
        ("step0_actnorm", step.actnorm),
        ("step0_invconv", step.permutation),
        ("step0_coupling", step.coupling),
    ]
    for stage, bijector in stages:
        if bijector is not None:
            objective = objective + bijector.forward_log_det_jacobian(x, event_ndims=3)
            x = bijector.forward(x)
        assert relative_error(x, case.arrays[f"inter_{stage}_z"]) < 2e-5, stage
        np.testing.assert_allclose(objective, case.arrays[f"inter_{stage}_objective"], rtol=2e-6)


def test_vectors_are_stored_with_leading_ones():
    assert _squeezed([1, 1, 1, 12], 1) == [12]
    assert _squeezed([1, 1, 12, 12], 4) == [1, 1, 12, 12]
