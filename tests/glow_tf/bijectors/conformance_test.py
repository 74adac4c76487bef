"""What every bijector must do, whichever it is: over all of `tests.support.registry`."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS
from tests.support.registry import REGISTRY, flat, moved, scan

tfb = tfp.bijectors
DTYPES = ["float32", "float64"]


@pytest.fixture(params=REGISTRY)
def entry(request):
    """Each entry of the registry."""
    return REGISTRY[request.param]


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_det_is_that_of_the_autodiff_jacobian(entry, dtype):
    bijector, x = entry.make(dtype), entry.inputs(dtype, 2)

    @tf.function  # The backward pass is built once, not run from Python for each of the outputs.
    def jacobian_of(events):
        with tf.GradientTape() as tape:
            tape.watch(events)
            y = flat(bijector.forward(tf.reshape(events, x.shape)))
        return tape.batch_jacobian(y, events, experimental_use_pfor=False)

    jacobian = jacobian_of(tf.reshape(x, [2, -1])).numpy().astype(np.float64)
    log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims)
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    np.testing.assert_allclose(
        tf.broadcast_to(log_det, [2]), np.linalg.slogdet(jacobian)[1], atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse(entry, dtype):
    bijector, x = entry.make(dtype), entry.inputs(dtype, 3)
    y = tf.nest.map_structure(tf.identity, bijector.forward(x))  # Not what is in the cache.
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(bijector.inverse(y), x, atol=tolerance)
    ndims = entry.ndims
    back = tf.nest.map_structure(lambda part: part.shape.rank - 1, y)
    forward = bijector.forward_log_det_jacobian(x, event_ndims=ndims)
    inverse = bijector.inverse_log_det_jacobian(tf.nest.map_structure(tf.identity, y), event_ndims=back)
    np.testing.assert_allclose(forward, -inverse, atol=tolerance)


def test_function_and_dynamic_shapes(entry):
    bijector, x = entry.make("float32"), entry.inputs("float32", 3)
    spec = tf.TensorSpec([None] * x.shape.rank if entry.event_shape == (4, 2, 2) else [None, *x.shape[1:]])

    @tf.function(input_signature=[spec])
    def both(x):
        y = bijector.forward(x)
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims)
        return y, log_det, bijector.inverse(tf.nest.map_structure(tf.identity, y))

    y, log_det, back = both(x)
    np.testing.assert_allclose(flat(y), flat(bijector.forward(x)), atol=1e-5)
    expected = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims)
    np.testing.assert_allclose(log_det, expected, atol=1e-5)
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_batch_shapes(entry, batch):
    bijector, x = entry.make("float64"), entry.inputs("float64", *batch)
    y = bijector.forward(x)
    rows = bijector.forward(tf.reshape(x, [-1, *entry.event_shape]))
    np.testing.assert_allclose(tf.reshape(flat(y, len(batch)), [-1]), tf.reshape(flat(rows), [-1]))
    log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims)
    assert tf.broadcast_static_shape(log_det.shape, tf.TensorShape(batch)) == batch


def test_event_shapes_and_dtypes(entry):
    bijector, x = entry.make("float32"), entry.inputs("float32", 1)
    y = bijector.forward(x)
    shapes = tf.nest.map_structure(lambda part: part.shape[1:], y)
    assert bijector.forward_event_shape(x.shape[1:]) == shapes
    assert bijector.inverse_event_shape(shapes) == x.shape[1:]
    dynamic = bijector.forward_event_shape_tensor(x.shape[1:])
    tf.nest.map_structure(lambda a, b: np.testing.assert_array_equal(a, list(b)), dynamic, shapes)
    back = bijector.inverse_event_shape_tensor(tf.nest.map_structure(list, dynamic) and dynamic)
    np.testing.assert_array_equal(back, list(x.shape[1:]))
    tf.nest.map_structure(lambda d: d == tf.float32, bijector.forward_dtype(tf.float32))


def test_variables_have_gradients(entry):
    bijector, x = entry.make("float64"), entry.inputs("float64", 2)
    with tf.GradientTape() as tape:
        y = flat(bijector.forward(x))
        ndims = entry.ndims
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(
            bijector.forward_log_det_jacobian(x, event_ndims=ndims)
        )
    for variable, gradient in zip(
        bijector.trainable_variables,
        tape.gradient(loss, bijector.trainable_variables),
        strict=True,
    ):
        assert gradient is not None and np.isfinite(gradient).all(), variable.name


def test_two_instances_share_no_cache_entry(entry):
    first, second = entry.new("float32"), entry.new("float32")
    if not first.trainable_variables:
        pytest.skip("Two bijectors without variables are the same function.")
    x = entry.inputs("float32", 2)
    before = flat(first.forward(x)).numpy()
    for variable in second.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    assert not np.allclose(before, flat(second.forward(x)))


def test_in_tfp(entry):
    bijector, x = entry.make("float32"), entry.inputs("float32", 3)
    y = bijector.forward(x)
    inverted = tfb.Invert(bijector)
    np.testing.assert_allclose(inverted.forward(tf.nest.map_structure(tf.identity, y)), x, atol=1e-4)
    if isinstance(y, list):
        return
    chain = tfb.Chain([tfb.Scale(tf.constant(2.0)), bijector])
    np.testing.assert_allclose(chain.forward(x), 2 * y, atol=1e-5)
    base = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), y.shape[1:])
    model = tfp.distributions.TransformedDistribution(base, inverted)
    expected = base.log_prob(y) + bijector.forward_log_det_jacobian(x, entry.ndims)
    np.testing.assert_allclose(model.log_prob(tf.identity(x)), expected, rtol=1e-4)
    assert model.sample(2, seed=1).shape == [2, *entry.event_shape]


def test_under_two_replicas(entry, two_replicas):
    with two_replicas.scope():
        bijector = entry.make("float32")
    x = entry.inputs("float32", 4)
    single = entry.make("float32") if not bijector.trainable_variables else None
    values = two_replicas.experimental_distribute_values_from_function(
        lambda context: x[2 * context.replica_id_in_sync_group :][:2]
    )
    run = tf.function(lambda x: two_replicas.run(lambda x: flat(bijector.forward(x)), [x]))
    parts = two_replicas.experimental_local_results(run(values))
    expected = flat((single or bijector).forward(x))
    np.testing.assert_allclose(tf.concat(parts, 0), expected, atol=1e-5)


def gradients_of(bijector, x, inverse=False):
    """Returns the gradients of a function of value and log-det for the input and all variables."""
    x = tf.identity(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = bijector.inverse(x) if inverse else bijector.forward(x)
        log_det = bijector.inverse_log_det_jacobian(x) if inverse else bijector.forward_log_det_jacobian(x)
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(log_det))
    return tape.gradient(loss, [x, *bijector.trainable_variables])


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("permutation", PERMUTATIONS)
def test_scan_gradients_in_every_memory_mode(permutation, coupling, inverse, rng):
    """In a function, and one of them eager, against a plain loop over the steps.

    What a mode keeps depends neither on the kind of step nor on the kernel: one kind is tried in all modes,
    and the others, and a kernel that isn't fused, in the two modes that have all ways to recall a step.
    """
    x = tf.constant(rng.normal(size=(3, 4, 2, 4)))
    plain = moved(scan("float64", permutation, coupling))
    chain = tfb.Chain([plain.step(k) for k in reversed(range(plain.depth))])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = chain.inverse(x) if inverse else chain.forward(x)
        log_det = chain.inverse_log_det_jacobian(x, 3) if inverse else chain.forward_log_det_jacobian(x, 3)
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(tf.broadcast_to(log_det, [3])))
    expected = tape.gradient(loss, [x, *plain.trainable_variables])
    expected = [tf.convert_to_tensor(g) for g in expected]
    modes = [("recompute", 0, True), ("reverse", 4000, True)]  # The latter keeps some steps of three.
    if (permutation, coupling) == ("invconv", "affine"):
        modes += [("recompute", 0, False), ("reverse", 4000, False)]
        modes += [("store", 0, True), ("reverse", 0, True), ("reverse", 2**20, True)]
    for memory, keep_bytes, fused in modes:
        bijector = moved(scan("float64", permutation, coupling, fused, memory, keep_bytes))
        runs = [tf.function(gradients_of)] + ([gradients_of] if keep_bytes == 4000 else [])
        for run in runs:
            for ours, reference in zip(run(bijector, x, inverse), expected, strict=True):
                scale = np.abs(reference).max() + 1e-6
                np.testing.assert_allclose(ours / scale, reference / scale, atol=1e-9)
