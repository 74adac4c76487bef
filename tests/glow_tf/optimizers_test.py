"""The optimizers against their formulas in NumPy, and their configurations as Keras keeps them."""

import json
import re

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


@pytest.mark.parametrize("kind", [Adam, Adamax])
@pytest.mark.parametrize("name", ["learning_rate", "beta_1", "beta_2", "weight_decay", "epsilon"])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "0.1", None, True, [0.1], 1j], ids=repr)
def test_numbers_that_are_refused(kind, name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{re.escape(repr(value))}"):
        kind(**{name: value})


@pytest.mark.parametrize("beta", [1, 1.0, 2])
def test_decays_of_1_are_refused(beta):
    for name in ("beta_1", "beta_2"):
        with pytest.raises(ValueError, match=f"{name} must be .*less than 1, got {beta}"):
            Adamax(**{name: beta})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, "3", None, False, WarmUp(0.1, 2)])
def test_warm_ups_that_are_refused(value):
    with pytest.raises(ValueError, match="learning_rate must be a finite number of at least 0"):
        WarmUp(value, 3)
    with pytest.raises(ValueError, match="warmup_steps must be a finite number"):
        WarmUp(0.1, value)


@pytest.mark.parametrize("convert", [float, np.float32, np.float64, np.float16, np.int64])
def test_numbers_of_every_type_are_kept_as_json(convert):
    """And tensors and variables are rates."""
    number = convert(3) if convert is np.int64 else convert(0.125)
    warm_up = WarmUp(number, number)
    assert WarmUp.from_config(json.loads(json.dumps(warm_up.get_config())))(1) == warm_up(1)
    optimizer = Adamax(warm_up, weight_decay=number, epsilon=number)
    if convert is not np.int64:
        optimizer = Adamax(warm_up, number, number, number, number)
    text = json.dumps(optimizer.get_config())
    assert json.dumps(Adamax.from_config(json.loads(text)).get_config()) == text
    for rate in (number, tf.constant(number), tf.Variable(number)):
        assert Adam(rate).get_config()["learning_rate"] == float(number)


def test_variables_without_weight_decay():
    """As Keras' own optimizers have them, by the variable or its name."""
    for exclude in (dict(var_list=[0]), dict(var_names=["bias"])):
        variables = [tf.Variable([1.0], name="bias"), tf.Variable([1.0], name="kernel")]
        optimizer = Adamax(0.0, weight_decay=0.5)
        exclude = dict(var_list=[variables[0]]) if "var_list" in exclude else exclude
        optimizer.exclude_from_weight_decay(**exclude)
        optimizer.build(variables)
        optimizer.apply_gradients([(tf.constant([1.0]), variable) for variable in variables])
        assert [float(variable[0]) for variable in variables] == [1.0, 0.5]


def test_an_average_of_what_isnt_trained_is_told():
    optimizer, variable = Adam(), tf.Variable(1.0, name="mine")
    for _ in range(2):
        with pytest.raises(ValueError, match="isn't built for 'mine:0'"):
            optimizer.polyak_average(variable)
        optimizer.build([tf.Variable(1.0)])
