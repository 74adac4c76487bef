"""Whatever the shapes of parameters and of networks' outputs: the log-det is right, or they are refused."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from glow_tf import bijectors
from glow_tf.networks import CouplingNetwork, network_initial_values

few = hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
sizes = st.integers(1, 3)
shapes = st.lists(sizes, max_size=3).map(tuple)
values = lambda shape, seed=0: tf.constant(np.random.default_rng(seed).normal(0, 0.5, shape))


def assert_log_det_is_the_jacobians(bijector, event_shape):
    """Compares with the Jacobian, an event for each member of the bijector's batch."""
    n = len(event_shape)
    batch = bijector.experimental_batch_shape(x_event_ndims=n)
    x = values([*batch, *event_shape], 9)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = bijector.forward(tf.identity(x))
        assert y.shape == x.shape
        # Members of the batch don't depend on each other: the sum has the Jacobian of each.
        rows = tf.unstack(tf.reshape(y, [-1, np.prod(event_shape, dtype=int)]), axis=1)
        rows = [tf.reduce_sum(row) for row in rows]
    jacobian = np.stack([tape.gradient(row, x) for row in rows]).reshape([len(rows), -1, len(rows)])
    expected = np.linalg.slogdet(jacobian.transpose(1, 0, 2))[1].reshape(batch)
    log_det = bijector.forward_log_det_jacobian(tf.identity(x), n)
    np.testing.assert_allclose(tf.broadcast_to(log_det, batch), expected, atol=1e-9)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), x, atol=1e-9)


def check(make, event_shape, allowed):
    """Makes a bijector of shapes that are `allowed`, or sees that they are refused in a sentence."""
    if not allowed:
        with pytest.raises(ValueError, match="must have the shapes .*; got "):
            make()
        return
    assert_log_det_is_the_jacobians(make(), event_shape)


def broadcast(*shapes):
    """Whether shapes broadcast."""
    try:
        return np.broadcast_shapes(*shapes) is not None
    except ValueError:
        return False


@few
@hypothesis.given(b=shapes, logs=shapes)
@hypothesis.example(b=(3,), logs=(1,))
@hypothesis.example(b=(1,), logs=(3,))
@hypothesis.example(b=(), logs=())
@hypothesis.example(b=(2, 1, 3), logs=(3, 3))
def test_actnorm(b, logs):
    allowed = b and logs and broadcast(b, logs)
    make = lambda: bijectors.ActNorm(b=values(b), logs=values(logs, 1))
    check(make, (max(b[-1], logs[-1]),) if allowed else (), allowed)


@pytest.mark.parametrize(
    ("b", "logs", "c"), [(3, 1, 3), (1, 3, 3), (1, 1, 1), (3, 3, 3), (1, 1, 3), (3, 3, 1)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("known", ["parameters", "inputs", "neither"])
def test_actnorm_of_shapes_that_only_the_run_knows(b, logs, c, dtype, known):
    """Right, or an error: no log-det of too few terms, no output of more channels than the input."""
    size = lambda shape, what: tf.TensorSpec(shape if known == what else [None] * len(shape), dtype)

    @tf.function(
        input_signature=[size([b], "parameters"), size([logs], "parameters"), size([2, c], "inputs")]
    )
    def run(b, logs, x):
        actnorm = bijectors.ActNorm(b=b, logs=logs)
        y = actnorm.forward(x)
        return y, actnorm.forward_log_det_jacobian(x, 1), actnorm.inverse(tf.identity(y))

    given = [tf.cast(values(shape, i), dtype) for i, shape in enumerate(([b], [logs], [2, c]))]
    if max(b, logs) not in (1, c):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            run(*given)
        return
    y, log_det, back = run(*given)
    np.testing.assert_allclose(y, (given[2] + given[0]) * np.exp(3 * given[1]), rtol=1e-5)
    np.testing.assert_allclose(log_det, 3 * np.sum(np.broadcast_to(given[1], [c])), rtol=1e-5)
    np.testing.assert_allclose(back, given[2], rtol=1e-4)


@few
@hypothesis.given(w=shapes)
def test_dense(w):
    make = lambda: bijectors.Invertible1x1Conv(w=values(w))
    check(make, w[-1:], len(w) >= 2 and w[-1] == w[-2])


@few
@hypothesis.given(
    size=sizes, batches=st.lists(st.sampled_from([(), (), (2,), (1,), (3, 2)]), min_size=5, max_size=5)
)
def test_lu_batches(size, batches):
    make = lambda: lu([(*batch, *[size] * n) for batch, n in zip(batches, (2, 2, 2, 1, 1), strict=True)])
    check(make, (size,), broadcast(*batches))


@few
@hypothesis.given(size=sizes, other=sizes, which=st.integers(0, 4), axis=st.integers(0, 1))
@hypothesis.example(size=3, other=1, which=3, axis=0)
@hypothesis.example(size=3, other=1, which=4, axis=0)
def test_lu_sizes(size, other, which, axis):
    """One sign, and one scale, may stand for all."""
    wanted = [[size, size], [size, size], [size, size], [size], [size]]
    wanted[which][axis % len(wanted[which])] = other
    check(lambda: lu(wanted), (size,), size == other or (which > 2 and other == 1))


def lu(shapes):
    p, lower, upper, sign_s, log_s = (values(shape, i) for i, shape in enumerate(shapes))
    if p.shape.rank >= 2 and p.shape[-1] == p.shape[-2]:
        p = tf.eye(p.shape[-1], batch_shape=p.shape[:-2], dtype=p.dtype)[..., ::-1]
    return bijectors.Invertible1x1Conv(
        parameterization="lu", p=p, lower=lower, upper=upper, sign_s=tf.sign(sign_s), log_s=log_s
    )


@hypothesis.settings(few, max_examples=10)
@hypothesis.given(
    batch=st.sampled_from([(), (2,)]),
    kept=st.lists(st.booleans(), max_size=3),
    additive=st.booleans(),
    event_ndims=st.sampled_from([1, 3]),
)
@hypothesis.example(batch=(2,), kept=[True, False, False], additive=False, event_ndims=3)
@hypothesis.example(batch=(2,), kept=[False, True, True], additive=False, event_ndims=3)
@hypothesis.example(batch=(2,), kept=[], additive=False, event_ndims=3)
def test_coupling_network_that_broadcasts(batch, kept, additive, event_ndims):
    """Its output has fewer axes than its input, or some of size 1."""
    weights = values([1, 2 if additive else 4])

    def network(x1):
        h = tf.tanh(tf.tensordot(x1, weights, 1))
        axes = h.shape.rank - 1
        for axis in range(max(axes - len(kept), 0)):
            del axis
            h = tf.reduce_mean(h, 0)
        for axis, keep in enumerate(kept[: h.shape.rank - 1]):
            h = h if keep else tf.reduce_mean(h, axis, keepdims=True)
        return h

    network.event_ndims = event_ndims
    bijector = bijectors.AffineCoupling(network, additive, dtype="float64")
    x = values([*batch, 1, 2, 3] if event_ndims == 1 else [*batch, 2, 1, 3], 9)
    # One event of everything: members of a batch may depend on each other here.
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = bijector.forward(tf.identity(x))
    jacobian = tape.jacobian(y, x, experimental_use_pfor=False).numpy().reshape([tf.size(x)] * 2)
    log_det = bijector.forward_log_det_jacobian(tf.identity(x), 3)
    assert log_det.shape == batch
    np.testing.assert_allclose(tf.reduce_sum(log_det), np.linalg.slogdet(jacobian)[1], atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 2, 2, 2), (1, 1, 2, 2, 2), (3, 2, 2), (2, 2, 3), (2, 2, 1), ()])
def test_coupling_network_whose_output_does_not_fit(shape):
    coupling = bijectors.AffineCoupling(lambda x: tf.zeros(shape))
    with pytest.raises(ValueError, match="The coupling network must return") as error:
        coupling.forward(tf.zeros([1, 2, 2, 2]))
    assert str(tf.TensorShape(shape)) in str(error.value)


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "a tensor, got None"),
        ({}, "a tensor, got {}"),
        ("x", "float32, as its input is, got string"),
        ([[1.0], [1.0, 2.0]], "a tensor, got"),
        (tf.zeros([1, 2, 2, 4], tf.float64), "float32, as its input is, got float64"),
        (tf.zeros([1, 2, 2, 4], tf.int32), "float32, as its input is, got int32"),
        (tf.ragged.constant([[1.0]]), "a tensor, got"),
    ],
    ids=str,
)
def test_coupling_network_that_returns_something_else(output, words, additive):
    coupling = bijectors.AffineCoupling(lambda x: output, additive)
    for call in (coupling.forward, coupling.inverse):
        with pytest.raises(ValueError, match=f"The coupling network must return {words}"):
            call(tf.zeros([1, 2, 2, 4]))


def test_coupling_network_of_numpy():
    output = np.random.default_rng(0).normal(size=(3, 4))
    x = tf.ones([3, 4])
    of_numpy = bijectors.AffineCoupling(lambda x: output)
    expected = bijectors.AffineCoupling(lambda x: tf.constant(output, tf.float32)).forward(x)
    np.testing.assert_array_equal(of_numpy.forward(x), expected)


PRIORS = {"w": (3, 3, 3, 4), "b": (4,), "logs": (4,)}
TOP = {key: value.shape for key, value in bijectors.TopPrior.initial_values(2, True, 3).items()}
NETWORK = {
    key: value.shape for key, value in network_initial_values(2, 4, 5, np.random.default_rng(0)).items()
}
STEP = {
    key: value.shape
    for key, value in bijectors.GlowStep.initial_values(
        4, 5, "invconv", False, np.random.default_rng(0)
    ).items()
}


@few
@hypothesis.given(
    part=st.sampled_from(["split", "top", "network", "step"]), which=st.integers(0, 11), shape=shapes
)
def test_parameters_of_networks_have_their_shapes(part, which, shape):
    wanted, make = {
        "split": (PRIORS, lambda p: bijectors.SplitPrior(**p)),
        "top": (TOP, lambda p: bijectors.TopPrior(2, p, [0, 1])),
        "network": (NETWORK, lambda p: CouplingNetwork(parameters=p)),
        "step": (STEP, lambda p: bijectors.GlowStep(parameters=p)),
    }[part]
    key = sorted(wanted)[which % len(wanted)]
    make({k: tf.zeros(s) + tf.eye(*s) if k == "invconv_W" else tf.zeros(s) for k, s in wanted.items()})
    if shape != wanted[key]:
        with pytest.raises(ValueError, match="must have the shapes .*; got "):
            make({k: tf.zeros(shape if k == key else s) for k, s in wanted.items()})


@pytest.mark.parametrize("shape", [(), (4,), (2, 4)])
def test_coupling_network_of_a_low_rank(shape):
    network = CouplingNetwork(4, 4, 5)
    with pytest.raises(ValueError, match="at least 3 axes"):
        network(tf.zeros(shape))
