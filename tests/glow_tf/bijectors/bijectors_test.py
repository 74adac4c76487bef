"""Bad input and special properties of single bijectors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import bijectors
from glow_tf.layers import log_abs_det
from tests.support import registry


def test_actnorm_initialize():
    bijector = bijectors.ActNorm(3)
    x = tf.constant(np.random.default_rng(0).normal(5, 3, (16, 4, 3)), tf.float32)
    before = bijector.forward(x)
    bijector.initialize(x)
    y = bijector.forward(tf.identity(x))
    assert not np.allclose(before, y)
    np.testing.assert_allclose(tf.reduce_mean(y, [0, 1]), 0, atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(y, [0, 1]), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[1.0, 2.0, 3.0]], "don't differ in 3 of 3"),
        ([[1.0, 2.0, 3.0], [4.0, 2.0, 4.0]], "don't differ in 1 of 3"),
        ([[1.0, 2.0, np.nan], [4.0, 3.0, 4.0]], "aren't finite in 1 of 3"),
        ([[1.0, np.inf, 2.0], [4.0, 3.0, 4.0]], "aren't finite in 1 of 3"),
        (np.zeros((0, 3)), "aren't finite in 3 of 3"),
    ],
)
def test_actnorm_is_not_initialized_from_values_without_spread(x, words):
    bijector = bijectors.ActNorm(3)
    with pytest.raises(ValueError, match=words):
        bijector.initialize(x)
    np.testing.assert_array_equal(bijector.b, 0)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((8, 2, 2, 4)), "actnorm of step 0 normalises don't differ in 4 of 4"),
        (np.full((8, 2, 2, 4), np.nan), "actnorm of step 0 normalises aren't finite in 4 of 4"),
        (np.zeros((0, 2, 2, 4)), "actnorm of step 0 normalises aren't finite in 4 of 4"),
        (
            np.where(np.arange(4) == 2, 0, np.random.default_rng(0).normal(size=(8, 2, 2, 4))),
            "in 1 of 4 .*is 2",
        ),
    ],
)
def test_scan_is_not_initialized_from_values_without_spread(x, words):
    scan = registry.scan("float64")
    before = [variable.numpy() for variable in scan.variables]
    with pytest.raises(ValueError, match=words):
        scan.initialize(x)
    for variable, value in zip(scan.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("parameterization", ["dense", "lu"])
def test_1x1_conv_starts_orthogonal(parameterization):
    bijector = bijectors.Invertible1x1Conv(6, parameterization=parameterization, dtype="float64")
    w = bijector.matrix.numpy()
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-12)
    assert len(bijector.trainable_variables) == {"dense": 1, "lu": 3}[parameterization]


def test_parameters_by_keyword():
    variable = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    for w in (variable, tf.constant(variable), tfp.util.DeferredTensor(variable, lambda v: v)):
        bijector = bijectors.Invertible1x1Conv(w=w)
        np.testing.assert_allclose(bijector.forward([[1.0, 0.0]]), [[1.0, 2.0]])
        assert len(bijector.variables) == (0 if isinstance(w, tf.Tensor) else 1)
    actnorm = bijectors.ActNorm(b=tf.constant([1.0]), logs=tf.constant([0.0]))
    np.testing.assert_allclose(actnorm.forward([[1.0]]), [[2.0]])


def test_squeeze_order():
    x = np.arange(2 * 2 * 2).reshape(1, 2, 2, 2)
    y = bijectors.Squeeze().forward(x)
    for c in range(2):
        for row in range(2):
            for column in range(2):
                assert y[0, 0, 0, 4 * c + 2 * row + column] == x[0, row, column, c]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: bijectors.ActNorm(), ValueError, "n_channels must be an integer of at least 1, got None"),
        (lambda: bijectors.ActNorm(0), ValueError, "at least 1, got 0"),
        (lambda: bijectors.ActNorm(2.5), TypeError, "at least 1, got 2.5"),
        (lambda: bijectors.GlowStep(True, 4), TypeError, "at least 1, got True"),
        (lambda: bijectors.GlowStep(4, "4"), TypeError, "width must be an integer of at least 1, got '4'"),
        (lambda: bijectors.ActNorm(b=tf.zeros([2])), ValueError, "logs"),
        (lambda: bijectors.Invertible1x1Conv(-1), ValueError, "at least 1, got -1"),
        (lambda: bijectors.Invertible1x1Conv(2, parameterization="qr"), ValueError, "qr"),
        (lambda: bijectors.Invertible1x1Conv(2, log_s=tf.zeros([2])), ValueError, "log_s"),
        (lambda: bijectors.Invertible1x1Conv(parameterization="lu", p=tf.eye(2)), ValueError, "lower"),
        (lambda: bijectors.AffineCoupling(3), TypeError, "network must be callable, got 3"),
        (lambda: bijectors.AffineCoupling(len, log_scale=2), TypeError, "log_scale must be callable, got 2"),
        (lambda: bijectors.AffineCoupling(lambda x: x).forward(tf.zeros([1, 4])), ValueError, "return 4"),
        (lambda: bijectors.AffineCoupling(lambda x: x).forward(tf.zeros([1, 1])), ValueError, "got 1"),
        (lambda: bijectors.SplitPrior(3), ValueError, "an even number of channels, got 3"),
        (
            lambda: bijectors.TopPrior(2, {"y_emb_W": tf.zeros([3, 4])}),
            ValueError,
            "top_prior depends on labels",
        ),
        (lambda: bijectors.Squeeze().forward_event_shape([3, 4, 1]), ValueError, "height 3"),
        (lambda: bijectors.Squeeze().forward(tf.zeros([1, 4, 5, 1])), ValueError, "width 5"),
        (lambda: bijectors.Squeeze().inverse_event_shape([4, 4, 6]), ValueError, "6"),
        (lambda: bijectors.GlowStep(1, 4), ValueError, "at least 2 channels, got 1"),
        (lambda: bijectors.GlowStep(4, 4, permutation="none"), ValueError, "none"),
        (
            lambda: bijectors.MultiScale([bijectors.ActNorm(2)], [bijectors.SplitPrior(2)]),
            ValueError,
            "1 splits",
        ),
        (
            lambda: bijectors.Scan(lambda p: None, {"b": tf.zeros([2]), "c": tf.zeros([3])}),
            ValueError,
            "depth",
        ),
        (lambda: bijectors.Scan(lambda p: None, {"b": tf.zeros([2])}, memory="all"), ValueError, "all"),
        (lambda: bijectors.Scan(lambda p: None, {"b": tf.zeros([2])}, keep_bytes=-1), ValueError, "-1"),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_no_such_step():
    make = lambda p: bijectors.ActNorm(**p)
    scan = bijectors.Scan(make, {"b": tf.zeros([2, 3]), "logs": tf.zeros([2, 3])})
    assert scan.step(-1).forward(tf.zeros([1, 3])).shape == [1, 3]
    with pytest.raises(IndexError, match="2"):
        scan.step(2)


def test_scan_of_any_bijector():
    """Vectors, a step that isn't Glow's, in a chain."""
    logs = tf.Variable([[0.1, 0.2], [0.3, 0.4]])
    scan = bijectors.Scan(lambda p: bijectors.ActNorm(**p), {"b": tf.ones([2, 2]), "logs": logs})
    y = tfp.bijectors.Chain([tfp.bijectors.Exp(), scan]).forward([[1.0, 1.0]])
    expected = np.exp((2 * np.exp([0.3, 0.6]) + 1) * np.exp([0.9, 1.2]))
    np.testing.assert_allclose(y, [expected], rtol=1e-5)
    np.testing.assert_allclose(scan.forward_log_det_jacobian(tf.ones([1, 2])), [3.0], rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_log_abs_det_and_its_derivatives_are_slogdets(jit_compile, rng):
    """XLA, too, which compiles no `tf.linalg.slogdet`."""

    def derivatives(function, w):
        with tf.GradientTape() as second:
            second.watch(w)
            with tf.GradientTape() as first:
                first.watch(w)
                value = function(w)
            gradient = first.gradient(value, w)
            square = tf.reduce_sum(gradient**2)
        return value, gradient, second.gradient(square, w)

    w = tf.constant(rng.standard_normal((2, 5, 5)))
    wanted = derivatives(lambda w: tf.linalg.slogdet(w).log_abs_determinant, w)
    compiled = tf.function(lambda w: derivatives(log_abs_det, w), jit_compile=jit_compile)
    for got, want in zip(compiled(w), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
