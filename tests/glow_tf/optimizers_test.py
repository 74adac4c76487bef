"""The optimizers against their formulas in NumPy, and their configurations as Keras keeps them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from glow_tf.optimizers import Adam, Adamax, WarmUp

GRADIENTS = np.random.default_rng(0).normal(size=(3, 2, 3)) * [[[1], [100]], [[1e-3], [0]], [[-1], [2]]]
START = np.random.default_rng(1).normal(size=(2, 3))


def by_formula(kind, rates, beta_1, beta_2, weight_decay, epsilon=1e-8):
    """Returns the weights, moments and averages after each step, in float64, as the original writes them."""
    w, average, m, v = START, START, np.zeros_like(START), np.zeros_like(START)
    for t, (rate, g) in enumerate(zip(rates, GRADIENTS, strict=True), 1):
        step = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        m = beta_1 * m + (1 - beta_1) * g
        if kind is Adamax:
            v = np.maximum(beta_2 * v, np.abs(g))
            root = v
        else:
            v = beta_2 * v + (1 - beta_2) * g**2
            root = np.sqrt(v)
        w = weight_decay * w - step * m / (root + epsilon)
        average = average - (1 - beta_2) * (average - w)
        yield w, average


@pytest.mark.parametrize("kind", [Adam, Adamax])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rate", "rates"),
    [(0.1, [0.1, 0.1, 0.1]), (WarmUp(0.1, 2), [0, 0.05, 0.1]), (WarmUp(0.1, 0), [0.1, 0.1, 0.1])],
    ids=["constant", "warm_up", "no_warm_up"],
)
@pytest.mark.parametrize(
    ("beta_1", "beta_2", "weight_decay"), [(0.9, 0.999, 1.0), (0.5, 0.75, 0.9), (0.0, 0.9, 1.0)], ids=str
)
def test_three_steps(kind, dtype, rate, rates, beta_1, beta_2, weight_decay):
    variable = tf.Variable(START, dtype=dtype)
    optimizer = kind(rate, beta_1, beta_2, weight_decay)
    expected = by_formula(kind, rates, beta_1, beta_2, weight_decay)
    for gradient, (w, average) in zip(GRADIENTS, expected, strict=True):
        optimizer.apply_gradients([(tf.constant(gradient, dtype), variable)])
        # Keras keeps a rate in float32; 1 - 0.999^t has few of its digits.
        tolerance = dict(rtol=1e-4, atol=1e-6) if dtype == "float32" else dict(rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(variable, w, **tolerance)
        np.testing.assert_allclose(optimizer.polyak_average(variable), average, **tolerance)
    with optimizer.averaged_weights([variable]):
        np.testing.assert_allclose(variable, average, **tolerance)
    np.testing.assert_allclose(variable, w, **tolerance)


RATES = [
    0.01,
    WarmUp(0.01, 5),
    tf_keras.optimizers.schedules.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=3),
    tf_keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.2]),
]


@pytest.mark.parametrize("kind", [Adam, Adamax])
@pytest.mark.parametrize("rate", RATES, ids=lambda rate: type(rate).__name__)
def test_optimizers_and_their_configurations(kind, rate):
    optimizer = kind(rate, 0.8, 0.98, 0.999, 1e-6, name="mine", global_clipnorm=3.0)
    serialize, deserialize = tf_keras.optimizers.serialize, tf_keras.optimizers.deserialize
    others = [
        kind.from_config(optimizer.get_config()),
        deserialize(serialize(optimizer)),
        deserialize(serialize(optimizer, use_legacy_format=True), use_legacy_format=True),
        tf_keras.saving.deserialize_keras_object(tf_keras.saving.serialize_keras_object(optimizer)),
    ]

    def steps(optimizer):
        variable = tf.Variable([1.0, 2.0])
        for k in range(4):
            optimizer.apply_gradients([(tf.constant([0.1, -0.2 * k]), variable)])
        return variable.numpy()

    expected = steps(optimizer)
    for other in others:
        assert type(other) is kind and other.get_config() == optimizer.get_config()
        np.testing.assert_array_equal(steps(other), expected)
