"""What every bijector must do, from one registry of constructors: add a line for a new bijector."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import bijectors
from glow_tf.bijectors.glow_step import GlowStep, step_variables

tfb = tfp.bijectors


def dense_network(out, dtype):
    """A network of positions by themselves, for vectors and any number of spatial axes."""
    rng = np.random.default_rng(5)
    w = lambda *shape: tf.Variable(rng.normal(0, 0.4, shape), dtype=dtype)
    module = tf.Module()
    module.w1, module.w2 = w(2, 8), w(8, out)
    return lambda x: tf.tensordot(tf.tanh(tf.tensordot(x, module.w1, 1)), module.w2, 1)


def scan(dtype, permutation="invconv", additive=False, fused=False, memory="reverse", keep_bytes=0):
    """A Scan of three GlowSteps."""
    from glow_tf.kernels.glow_step import GlowStepKernel

    rng = np.random.default_rng(1)
    values = [GlowStep.initial_values(4, 5, permutation, additive, rng) for _ in range(3)]
    stacked = {key: np.stack([v[key] for v in values]) for key in values[0]}
    make = lambda p: GlowStep(permutation=permutation, additive=additive, parameters=p)
    kernel = GlowStepKernel(permutation, additive) if fused else None
    return bijectors.Scan(
        make, step_variables(stacked, dtype), memory=memory, keep_bytes=keep_bytes, kernel=kernel
    )


def multi_scale(dtype):
    """Two levels with a learned top prior."""
    flows = [
        tfb.Chain([GlowStep(n, 5, dtype=dtype, seed=i), bijectors.Squeeze()]) for i, n in enumerate((8, 16))
    ]
    top = bijectors.TopPrior(
        16, step_variables(bijectors.TopPrior.initial_values(16, True), dtype), dtype=dtype
    )
    return bijectors.MultiScale(flows, [bijectors.SplitPrior(8, dtype=dtype)], top)


# name: (constructor of a dtype, event shape)
REGISTRY = {
    "actnorm_image": (lambda d: bijectors.ActNorm(3, dtype=d), (2, 4, 3)),
    "actnorm_vector": (lambda d: bijectors.ActNorm(5, dtype=d), (5,)),
    "actnorm_volume": (lambda d: bijectors.ActNorm(2, dtype=d), (2, 1, 2, 2)),
    "conv_image": (lambda d: bijectors.Invertible1x1Conv(4, dtype=d), (2, 2, 4)),
    "conv_vector": (lambda d: bijectors.Invertible1x1Conv(5, dtype=d), (5,)),
    "conv_lu": (
        lambda d: bijectors.Invertible1x1Conv(4, parameterization="lu", dtype=d),
        (3, 4),
    ),
    "coupling_vector": (
        lambda d: bijectors.AffineCoupling(dense_network(6, d), dtype=d),
        (5,),
    ),
    "coupling_additive": (
        lambda d: bijectors.AffineCoupling(dense_network(3, d), additive=True, dtype=d),
        (3, 5),
    ),
    "squeeze": (lambda d: bijectors.Squeeze(dtype=d), (4, 2, 2)),
    "split_prior": (lambda d: bijectors.SplitPrior(4, dtype=d), (2, 3, 4)),
    "glow_step": (lambda d: GlowStep(4, 5, dtype=d), (3, 2, 4)),
    "glow_step_odd_channels": (lambda d: GlowStep(5, 5, dtype=d), (2, 2, 5)),
    "glow_step_reverse": (lambda d: GlowStep(4, 5, permutation="reverse", dtype=d), (2, 2, 4)),
    "glow_step_shuffle": (
        lambda d: GlowStep(4, 5, permutation="shuffle", additive=True, dtype=d),
        (2, 2, 4),
    ),
    "scan": (lambda d: scan(d), (2, 2, 4)),
    "scan_fused": (lambda d: scan(d, fused=True), (2, 2, 4)),
    "scan_fused_store": (lambda d: scan(d, "shuffle", fused=True, memory="store"), (1, 2, 4)),
    "scan_fused_additive": (lambda d: scan(d, "reverse", True, fused=True), (2, 3, 4)),
    "top_prior": (lambda d: multi_scale(d).top, (2, 2, 16)),
    "multi_scale": (multi_scale, (4, 4, 2)),
}
DTYPES = ["float32", "float64"]


@pytest.fixture(params=REGISTRY)
def entry(request):
    """Each entry of the registry."""
    return REGISTRY[request.param]


def make(entry, dtype):
    """Makes the bijector, with every weight moved away from its special initial value."""
    bijector = entry[0](dtype)
    rng = np.random.default_rng(3)
    for variable in bijector.trainable_variables:
        variable.assign_add(tf.constant(rng.normal(0, 0.1, variable.shape), variable.dtype))
    return bijector


def inputs(entry, dtype, *batch):
    """Returns random events."""
    return tf.constant(np.random.default_rng(4).normal(size=(*batch, *entry[1])), dtype)


def forward_ndims(entry):
    """Returns the event_ndims of the entry's inputs."""
    return len(entry[1])


def flat(parts, n_batch=1):
    """Returns parts as one float tensor, flattened but for the batch axes."""
    parts = tf.nest.flatten(parts)
    return tf.concat([tf.reshape(p, [*p.shape[:n_batch], -1]) for p in parts], -1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_det_is_that_of_the_autodiff_jacobian(entry, dtype):
    bijector, x = make(entry, dtype), inputs(entry, dtype, 2)
    for i in range(2):
        with tf.GradientTape(persistent=True) as tape:
            event = tf.reshape(x[i], [-1])
            tape.watch(event)
            y = flat(bijector.forward(tf.reshape(event, [1, *entry[1]])))[0]
        jacobian = tape.jacobian(y, event, experimental_use_pfor=False)
        expected = np.linalg.slogdet(jacobian.numpy().astype(np.float64))[1]
        log_det = bijector.forward_log_det_jacobian(x[i : i + 1], event_ndims=forward_ndims(entry))
        assert abs(float(tf.reshape(log_det, [-1])[0]) - expected) < {"float32": 1e-4, "float64": 1e-9}[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse(entry, dtype):
    bijector, x = make(entry, dtype), inputs(entry, dtype, 3)
    y = tf.nest.map_structure(tf.identity, bijector.forward(x))  # Not what is in the cache.
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(bijector.inverse(y), x, atol=tolerance)
    ndims = forward_ndims(entry)
    back = tf.nest.map_structure(lambda part: part.shape.rank - 1, y)
    forward = bijector.forward_log_det_jacobian(x, event_ndims=ndims)
    inverse = bijector.inverse_log_det_jacobian(tf.nest.map_structure(tf.identity, y), event_ndims=back)
    np.testing.assert_allclose(forward, -inverse, atol=tolerance)


def test_function_and_dynamic_shapes(entry):
    bijector, x = make(entry, "float32"), inputs(entry, "float32", 3)
    spec = tf.TensorSpec([None] * x.shape.rank if entry[1] == (4, 2, 2) else [None, *x.shape[1:]])

    @tf.function(input_signature=[spec])
    def both(x):
        y = bijector.forward(x)
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=forward_ndims(entry))
        return y, log_det, bijector.inverse(tf.nest.map_structure(tf.identity, y))

    y, log_det, back = both(x)
    np.testing.assert_allclose(flat(y), flat(bijector.forward(x)), atol=1e-5)
    expected = bijector.forward_log_det_jacobian(x, event_ndims=forward_ndims(entry))
    np.testing.assert_allclose(log_det, expected, atol=1e-5)
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_batch_shapes(entry, batch):
    bijector, x = make(entry, "float64"), inputs(entry, "float64", *batch)
    y = bijector.forward(x)
    rows = bijector.forward(tf.reshape(x, [-1, *entry[1]]))
    np.testing.assert_allclose(tf.reshape(flat(y, len(batch)), [-1]), tf.reshape(flat(rows), [-1]))
    log_det = bijector.forward_log_det_jacobian(x, event_ndims=forward_ndims(entry))
    assert tf.broadcast_static_shape(log_det.shape, tf.TensorShape(batch)) == batch


def test_event_shapes_and_dtypes(entry):
    bijector, x = make(entry, "float32"), inputs(entry, "float32", 1)
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
    bijector, x = make(entry, "float64"), inputs(entry, "float64", 2)
    with tf.GradientTape() as tape:
        y = flat(bijector.forward(x))
        ndims = forward_ndims(entry)
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
    first, second = entry[0]("float32"), entry[0]("float32")
    if not first.trainable_variables:
        pytest.skip("Two bijectors without variables are the same function.")
    x = inputs(entry, "float32", 2)
    before = flat(first.forward(x)).numpy()
    for variable in second.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    assert not np.allclose(before, flat(second.forward(x)))


def test_in_tfp(entry):
    bijector, x = make(entry, "float32"), inputs(entry, "float32", 3)
    y = bijector.forward(x)
    inverted = tfb.Invert(bijector)
    np.testing.assert_allclose(inverted.forward(tf.nest.map_structure(tf.identity, y)), x, atol=1e-4)
    if isinstance(y, list):
        return
    chain = tfb.Chain([tfb.Scale(tf.constant(2.0)), bijector])
    np.testing.assert_allclose(chain.forward(x), 2 * y, atol=1e-5)
    base = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), y.shape[1:])
    model = tfp.distributions.TransformedDistribution(base, inverted)
    expected = base.log_prob(y) + bijector.forward_log_det_jacobian(x, forward_ndims(entry))
    np.testing.assert_allclose(model.log_prob(tf.identity(x)), expected, rtol=1e-4)
    assert model.sample(2, seed=1).shape == [2, *entry[1]]


def test_under_two_replicas(entry, two_replicas):
    with two_replicas.scope():
        bijector = make(entry, "float32")
    x = inputs(entry, "float32", 4)
    single = make(entry, "float32") if not bijector.trainable_variables else None
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
@pytest.mark.parametrize("additive", [False, True], ids=["affine", "additive"])
@pytest.mark.parametrize("permutation", ["invconv", "reverse", "shuffle"])
def test_scan_gradients_in_every_memory_mode(permutation, additive, inverse, rng):
    """All modes, fused or not, eager or in a function, against a plain loop over the steps."""
    new = functools.partial(make, dtype="float64")
    x = tf.constant(rng.normal(size=(3, 4, 2, 4)))
    plain = new((lambda d: scan(d, permutation, additive), None))
    chain = tfb.Chain([plain.step(k) for k in reversed(range(plain.depth))])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = chain.inverse(x) if inverse else chain.forward(x)
        log_det = chain.inverse_log_det_jacobian(x, 3) if inverse else chain.forward_log_det_jacobian(x, 3)
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(tf.broadcast_to(log_det, [3])))
    expected = tape.gradient(loss, [x, *plain.trainable_variables])
    expected = [tf.convert_to_tensor(g) for g in expected]
    modes = [("store", 0), ("recompute", 0), ("reverse", 0), ("reverse", 4000), ("reverse", 2**20)]
    for memory, keep_bytes in modes:
        for fused in (False, True):
            bijector = new((lambda d: scan(d, permutation, additive, fused, memory, keep_bytes), None))  # noqa: B023
            for run in (gradients_of, tf.function(gradients_of)):
                for ours, reference in zip(run(bijector, x, inverse), expected, strict=True):
                    scale = np.abs(reference).max() + 1e-6
                    np.testing.assert_allclose(ours / scale, reference / scale, atol=1e-9)
