"""What every bijector must do, whichever it is: over all of `tests.support.registry`."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS
from tests.support.registry import REGISTRY, flat, moved, scan

tfb = tfp.bijectors
slow_if = lambda condition: [pytest.mark.slow] * condition


@pytest.fixture(params=[pytest.param(n, marks=slow_if(REGISTRY[n].variant)) for n in REGISTRY])
def entry(request):
    """Each entry of the registry."""
    return REGISTRY[request.param]


in_both_dtypes = pytest.mark.parametrize(
    ("entry", "dtype"),
    [
        pytest.param(entry, dtype, id=f"{name}-{dtype}", marks=slow_if(entry.variant and dtype == "float32"))
        for name, entry in REGISTRY.items()
        for dtype in ("float32", "float64")
    ],
)


@in_both_dtypes
def test_log_det_is_that_of_the_autodiff_jacobian(entry, dtype):
    bijector, x, given = entry.make(dtype), entry.inputs(dtype, 2), entry.given(dtype, 2)

    @tf.function  # The backward pass is built once, not run from Python for each of the outputs.
    def jacobian_of(events):
        with tf.GradientTape() as tape:
            tape.watch(events)
            y = flat(bijector.forward(tf.reshape(events, x.shape), **given))
        return tape.batch_jacobian(y, events, experimental_use_pfor=False)

    jacobian = jacobian_of(tf.reshape(x, [2, -1])).numpy().astype(np.float64)
    log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims, **given)
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    np.testing.assert_allclose(
        tf.broadcast_to(log_det, [2]), np.linalg.slogdet(jacobian)[1], atol=tolerance, rtol=0
    )


@in_both_dtypes
def test_inverse(entry, dtype):
    bijector, x, given = entry.make(dtype), entry.inputs(dtype, 3), entry.given(dtype, 3)
    y = tf.nest.map_structure(tf.identity, bijector.forward(x, **given))  # Not what is in the cache.
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(bijector.inverse(y, **given), x, atol=tolerance)
    ndims = entry.ndims
    back = tf.nest.map_structure(lambda part: part.shape.rank - 1, y)
    forward = bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
    y = tf.nest.map_structure(tf.identity, y)
    inverse = bijector.inverse_log_det_jacobian(y, event_ndims=back, **given)
    np.testing.assert_allclose(forward, -inverse, atol=tolerance)


def test_function_and_dynamic_shapes(entry):
    bijector, x, given = entry.make("float32"), entry.inputs("float32", 3), entry.given("float32", 3)
    specs = {key: tf.TensorSpec([None, *value.shape[1:]]) for key, value in given.items()}
    spec = tf.TensorSpec([None] * x.shape.rank if entry.event_shape == (4, 2, 2) else [None, *x.shape[1:]])

    @tf.function(input_signature=[spec, specs])
    def both(x, given):
        y = bijector.forward(x, **given)
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims, **given)
        return y, log_det, bijector.inverse(tf.nest.map_structure(tf.identity, y), **given)

    y, log_det, back = both(x, given)
    np.testing.assert_allclose(flat(y), flat(bijector.forward(x, **given)), atol=1e-5)
    expected = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims, **given)
    np.testing.assert_allclose(log_det, expected, atol=1e-5)
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_batch_shapes(entry, batch):
    bijector, x = entry.make("float64"), entry.inputs("float64", *batch)
    given = entry.given("float64", *batch)
    y = bijector.forward(x, **given)
    as_rows = {key: tf.reshape(value, [-1, *entry.context_shape]) for key, value in given.items()}
    rows = bijector.forward(tf.reshape(x, [-1, *entry.event_shape]), **as_rows)
    np.testing.assert_allclose(tf.reshape(flat(y, len(batch)), [-1]), tf.reshape(flat(rows), [-1]))
    log_det = bijector.forward_log_det_jacobian(x, event_ndims=entry.ndims, **given)
    assert tf.broadcast_static_shape(log_det.shape, tf.TensorShape(batch)) == batch


def test_event_shapes_and_dtypes(entry):
    bijector, x = entry.make("float32"), entry.inputs("float32", 1)
    y = bijector.forward(x, **entry.given("float32", 1))
    shapes = tf.nest.map_structure(lambda part: part.shape[1:], y)
    assert bijector.forward_event_shape(x.shape[1:]) == shapes
    assert bijector.inverse_event_shape(shapes) == x.shape[1:]
    dynamic = bijector.forward_event_shape_tensor(x.shape[1:])
    tf.nest.map_structure(lambda a, b: np.testing.assert_array_equal(a, list(b)), dynamic, shapes)
    np.testing.assert_array_equal(bijector.inverse_event_shape_tensor(dynamic), list(x.shape[1:]))
    dtypes = bijector.forward_dtype(tf.float32)
    assert dtypes == tf.nest.map_structure(lambda part: part.dtype, y)
    assert bijector.inverse_dtype(dtypes) == tf.float32


def test_variables_have_gradients(entry):
    bijector, x, given = entry.make("float64"), entry.inputs("float64", 2), entry.given("float64", 2)
    sources = [*given.values(), *bijector.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(list(given.values()))
        y = flat(bijector.forward(x, **given))
        ndims = entry.ndims
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(
            bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
        )
    for source, gradient in zip(sources, tape.gradient(loss, sources), strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), source


def test_two_instances_share_no_cache_entry(entry):
    first, second = entry.new("float32"), entry.new("float32")
    if not first.trainable_variables:
        pytest.skip("Two bijectors without variables are the same function.")
    x, given = entry.inputs("float32", 2), entry.given("float32", 2)
    before = flat(first.forward(x, **given)).numpy()
    for variable in second.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    assert not np.allclose(before, flat(second.forward(x, **given)))


def test_in_tfp(entry):
    bijector, x, given = entry.make("float32"), entry.inputs("float32", 3), entry.given("float32", 3)
    y = bijector.forward(x, **given)
    inverted = tfb.Invert(bijector)
    back = inverted.forward(tf.nest.map_structure(tf.identity, y), **given)
    np.testing.assert_allclose(back, x, atol=1e-4)
    if isinstance(y, list):
        return
    chain = tfb.Chain([tfb.Scale(tf.constant(2.0)), bijector])
    by_name = {bijector.name: given}
    np.testing.assert_allclose(chain.forward(x, **by_name), 2 * y, atol=1e-5)
    base = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), y.shape[1:])
    model = tfp.distributions.TransformedDistribution(base, inverted)
    expected = base.log_prob(y) + bijector.forward_log_det_jacobian(x, entry.ndims, **given)
    for kwargs in (given, by_name) if given else ({},):
        log_prob = model.log_prob(tf.identity(x), bijector_kwargs=kwargs)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-4)
        assert model.sample(3, seed=1, bijector_kwargs=kwargs).shape == [3, *entry.event_shape]


def test_under_two_replicas(entry, two_replicas):
    with two_replicas.scope():
        bijector = entry.make("float32")
    x, given = entry.inputs("float32", 4), entry.given("float32", 4)
    single = entry.make("float32") if not bijector.trainable_variables else None
    half = lambda value: two_replicas.experimental_distribute_values_from_function(
        lambda replica: value[2 * replica.replica_id_in_sync_group :][:2]
    )
    forward = lambda x, given: flat(bijector.forward(x, **given))
    run = tf.function(lambda *arguments: two_replicas.run(forward, arguments))
    halves = half(x), {key: half(value) for key, value in given.items()}
    parts = two_replicas.experimental_local_results(run(*halves))
    expected = flat((single or bijector).forward(x, **given))
    np.testing.assert_allclose(tf.concat(parts, 0), expected, atol=1e-5)


def gradients_of(bijector, x, inverse=False, given=None):
    """Returns the gradients of a function of value and log-det for the input, a context and all variables."""
    x, given = tf.identity(x), given or {}
    sources = [x, *given.values()]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        y = (bijector.inverse if inverse else bijector.forward)(x, **given)
        log_det_of = bijector.inverse_log_det_jacobian if inverse else bijector.forward_log_det_jacobian
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(log_det_of(x, **given)))
    return tape.gradient(loss, [*sources, *bijector.trainable_variables])


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    "permutation",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "invconv")) for name in PERMUTATIONS],
)
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
        modes += [] if inverse else [("store", 0, True), ("reverse", 0, True), ("reverse", 2**20, True)]
    for memory, keep_bytes, fused in modes:
        bijector = moved(scan("float64", permutation, coupling, fused, memory, keep_bytes))
        runs = [tf.function(gradients_of)] + ([gradients_of] if keep_bytes == 4000 else [])
        for run in runs:
            for ours, reference in zip(run(bijector, x, inverse), expected, strict=True):
                scale = np.abs(reference).max() + 1e-6
                np.testing.assert_allclose(ours / scale, reference / scale, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "inverse"), [pytest.param((3,), False, marks=pytest.mark.slow), ((2, 4, 8), True)], ids=str
)
def test_scan_gradients_given_a_context(shape, inverse, rng):
    """In every memory mode, by both kernels, in shares: as in a plain loop, as finite differences."""
    x = tf.constant(rng.normal(size=(3, 2, 4, 4)))
    given = {"context": tf.constant(rng.normal(size=(3, *([3] if len(shape) == 1 else [4, 8, 2]))))}
    new = lambda **how: moved(scan("float64", context_shape=shape, **how))
    plain = new()

    def loop(x, given):
        log_det = 0.0
        for k in range(3):
            step = plain.step(2 - k if inverse else k)
            of = step.inverse_log_det_jacobian if inverse else step.forward_log_det_jacobian
            log_det += of(x, 3, **given)
            x = (step.inverse if inverse else step.forward)(x, **given)
        return tf.reduce_sum(tf.sin(x)) + tf.reduce_sum(tf.cos(log_det))

    sources = [x, given["context"], *plain.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(sources[:2])
        loss = loop(x, given)
    expected = tape.gradient(loss, sources)
    function = tf.function(loop)
    direction = rng.normal(size=given["context"].shape)
    at = lambda h: function(x, {"context": given["context"] + h * direction})
    finite = (at(1e-5) - at(-1e-5)) / 2e-5
    np.testing.assert_allclose(tf.reduce_sum(expected[1] * direction), finite, rtol=1e-6)
    for variable, gradient in zip(plain.trainable_variables, expected[2:], strict=True):
        value, direction = tf.identity(variable), rng.normal(size=variable.shape)
        losses = []
        for h in (1e-5, -1e-5):
            variable.assign(value + h * direction)
            losses.append(function(x, given))
        variable.assign(value)
        finite = (losses[0] - losses[1]) / 2e-5
        np.testing.assert_allclose(tf.reduce_sum(gradient * direction), finite, rtol=1e-6, atol=1e-6)
    for fused in (True, False):
        for memory, keep_bytes in (("store", 0), ("recompute", 0), ("reverse", 0), ("reverse", 4000)):
            n_shares = 2 if keep_bytes else 1
            bijector = new(fused=fused, memory=memory, keep_bytes=keep_bytes, n_shares=n_shares)
            # Tracing takes seconds.
            run = tf.function(gradients_of) if keep_bytes and fused else gradients_of
            for ours, reference in zip(run(bijector, x, inverse, given), expected, strict=True):
                scale = np.abs(reference).max() + 1e-6
                np.testing.assert_allclose(ours / scale, reference / scale, atol=1e-9)
