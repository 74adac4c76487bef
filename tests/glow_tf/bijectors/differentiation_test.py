"""Derivatives beyond one gradient: Jacobians, forward mode, second order, in every memory mode of Scan."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf import bijectors
from tests.support import registry

# (memory, keep_bytes, whether the kernel is fused)
MODE = ("reverse", 600, True)  # Some steps are kept, others rebuilt.
STORE = ("store", 0, True)
OTHERS = [STORE, ("recompute", 0, True), ("reverse", 0, True)]
FEW = pytest.mark.parametrize(
    "scan", [pytest.param(STORE, marks=pytest.mark.slow), MODE], indirect=True, ids=str
)
ONE = pytest.mark.parametrize("scan", [STORE], indirect=True, ids=str)


@pytest.fixture(
    scope="module",
    params=[MODE, *[pytest.param(mode, marks=pytest.mark.slow) for mode in OTHERS]],
    ids=lambda mode: "-".join(map(str, mode)),
)
def scan(request):
    memory, keep_bytes, fused = request.param
    return registry.moved(registry.scan("float64", fused=fused, memory=memory, keep_bytes=keep_bytes))


@pytest.fixture(scope="module")
def plain():
    """The same function, from the ordinary bijectors."""
    bijector = registry.moved(registry.scan("float64"))
    return lambda x: [step := x, *[step := bijector.step(k).forward(step) for k in range(3)]][-1]


@pytest.fixture(scope="module")
def x():
    return tf.constant(np.random.default_rng(0).normal(size=(2, 1, 2, 4)))


def jacobian_of(function, x, pfor):
    with tf.GradientTape(persistent=True) as tape:
        x = tf.identity(x)
        tape.watch(x)
        y = function(x)
    return tape.batch_jacobian(y, x, experimental_use_pfor=pfor)


@pytest.fixture(scope="module")
def jacobian(plain, x):
    return jacobian_of(plain, x, False).numpy()


def test_batch_jacobian(scan, x, jacobian):
    np.testing.assert_allclose(jacobian_of(scan.forward, x, True), jacobian, atol=1e-9)


@ONE
def test_batch_jacobian_of_the_inverse(scan, x, jacobian):
    y = tf.identity(scan.forward(x))
    inverse = tf.reshape(jacobian_of(scan.inverse, y, True), [2, 8, 8])
    np.testing.assert_allclose(inverse @ jacobian.reshape(2, 8, 8), [np.eye(8)] * 2, atol=1e-8)


@ONE
def test_jacobian_of_the_log_det_for_the_variables(scan, x):
    with tf.GradientTape(persistent=True) as tape:
        log_det = scan.forward_log_det_jacobian(tf.identity(x))
    for variable in scan.trainable_variables[:1]:
        vectorized, loop = (tape.jacobian(log_det, variable, experimental_use_pfor=p) for p in (True, False))
        np.testing.assert_allclose(vectorized, loop, atol=1e-9)


def test_forward_mode_in_a_function(scan, x, jacobian):
    direction = tf.constant(np.random.default_rng(1).normal(size=x.shape))
    expected = np.einsum("bijkpqr,bpqr->bijk", jacobian, direction)

    @tf.function
    def tangent(x):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            y = scan.forward(x)
        return accumulator.jvp(y)

    np.testing.assert_allclose(tangent(tf.identity(x)), expected, atol=1e-9)


@FEW
def test_second_order(scan, plain, x):
    """Reverse over reverse, and forward over reverse."""

    def gradient(function, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(function(x)))
        return tape.gradient(loss, x)

    def twice(function, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            square = tf.reduce_sum(gradient(function, x) ** 2)
        return tape.gradient(square, x)

    def forward_over_reverse(function, x):
        with tf.autodiff.ForwardAccumulator(x, 2.0 * tf.stop_gradient(gradient(function, x))) as accumulator:
            derivative = gradient(function, x)
        return accumulator.jvp(derivative)

    expected = twice(plain, tf.identity(x))
    np.testing.assert_allclose(twice(scan.forward, tf.identity(x)), expected, atol=1e-8)
    np.testing.assert_allclose(forward_over_reverse(scan.forward, tf.identity(x)), expected, atol=1e-8)


@pytest.mark.parametrize("parameterization", ["dense", "lu"])
def test_vectorized_map_over_the_matrix(parameterization):
    """And over what its gradient is computed from."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 3)))
    new = [bijectors.Invertible1x1Conv(3, parameterization=parameterization, dtype="float64") for _ in "abcd"]
    keys = ["w"] if parameterization == "dense" else ["p", "lower", "upper", "sign_s", "log_s"]
    stacked = [tf.stack([getattr(b, key) for b in new]) for key in keys]

    def run(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            b = bijectors.Invertible1x1Conv(
                parameterization=parameterization, **dict(zip(keys, values, strict=True))
            )
            results = b.forward(x), b.inverse(x), b.forward_log_det_jacobian(x, 1)
            loss = sum(map(tf.reduce_sum, results))
        return [*results, *tape.gradient(loss, values)]

    vectorized = tf.vectorized_map(run, stacked)
    for i in range(4):
        for together, alone in zip(vectorized, run([value[i] for value in stacked]), strict=True):
            np.testing.assert_allclose(together[i], alone, atol=1e-10)
