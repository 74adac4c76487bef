"""What TensorFlow Probability asks of any bijector, run over `tests.support.registry`."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import bijectors
from tests.support import registry
from tests.support.registry import REGISTRY, flat

tfb, tfd = tfp.bijectors, tfp.distributions
spaces = tfp.experimental.tangent_spaces

# One entry of each class is enough here; `conformance_test` runs all of them.
NAMES = (
    "actnorm_image",
    "conv_image",
    "conv_lu",
    "coupling_vector",
    "squeeze",
    "split_prior",
    "glow_step",
    "scan_fused",
    "top_prior",
    "multi_scale",
    "coupling_context",
    "scan_fused_context_image",
    "multi_scale_context",
)


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.slow] * REGISTRY[n].variant) for n in NAMES])
def case(request):
    """A bijector with three inputs, their event_ndims, and a context, if it takes one."""
    entry = REGISTRY[request.param]
    bijector = entry.make("float32")
    return bijector, entry.inputs("float32", 3), entry.ndims, entry.given("float32", 3)


def assert_same_function(a, b, x, given=None):
    """Compares two bijectors on a new tensor each, so that no cache answers."""
    y_a, y_b = (flat(bijector.forward(tf.identity(x), **given or {})) for bijector in (a, b))
    np.testing.assert_allclose(y_a, y_b, atol=1e-6)


def test_parameters_name_repr_and_copy(case):
    bijector, x, _, given = case
    assert bijector.parameters["name"] == bijector.name
    assert bijector.name in repr(bijector) and type(bijector).__name__ in str(bijector)
    other = bijector.copy(name="other")
    assert other.name == "other" and bijector.name != "other"
    assert_same_function(bijector, other, x, given)
    assert [v.ref() for v in other.variables] == [v.ref() for v in bijector.variables]


def test_deep_copy_has_variables_of_its_own(case):
    bijector, x, _, given = case
    other = copy.deepcopy(bijector)
    assert_same_function(bijector, other, x, given)
    assert not {v.ref() for v in other.variables} & {v.ref() for v in bijector.variables}


def test_equality_is_that_of_the_parameters_or_identity(case):
    bijector, *_ = case
    assert bijector == bijector and hash(bijector) == hash(bijector)
    changed = copy.deepcopy(bijector)
    for variable in changed.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    assert (changed == bijector) == isinstance(bijector, bijectors.Squeeze)


def test_parameter_properties_give_the_batch_shape(case):
    bijector, _, ndims, _ = case
    properties = type(bijector).parameter_properties(dtype=tf.float32)
    assert set(properties) <= set(bijector.parameters)
    assert bijector.experimental_batch_shape(x_event_ndims=ndims) == []
    assert tf.size(bijector.experimental_batch_shape_tensor(x_event_ndims=ndims)) == 0


def test_density_correction(case):
    bijector, x, ndims, given = case
    correction, space = bijector.experimental_compute_density_correction(
        x, spaces.FullSpace(), event_ndims=ndims, **given
    )
    assert isinstance(space, spaces.FullSpace)
    expected = bijector.forward_log_det_jacobian(x, ndims, **given)
    np.testing.assert_allclose(correction, expected, rtol=1e-5)


def test_value_and_gradient(case):
    bijector, x, ndims, given = case

    def loss(x):
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
        return tf.reduce_sum(tf.sin(flat(bijector.forward(x, **given)))) + tf.reduce_sum(log_det)

    value, gradient = tfp.math.value_and_gradient(loss, x)
    direction = tf.constant(np.random.default_rng(0).normal(size=x.shape), tf.float32)
    step = 1e-2
    finite = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(tf.reduce_sum(gradient * direction), finite, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(value, loss(tf.identity(x)), rtol=1e-5)


def test_vectorized_map(case):
    bijector, x, ndims, given = case

    def one(arguments):
        x, given = arguments
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
        return bijector.forward(x, **given), log_det

    y, log_det = tf.vectorized_map(one, (x, given))
    np.testing.assert_allclose(flat(y), flat(bijector.forward(x, **given)), atol=1e-5)
    expected = bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
    np.testing.assert_allclose(log_det, tf.broadcast_to(expected, [3]), atol=1e-5)


def test_wrong_inputs_are_told_by_name_and_shape(case):
    bijector, x, ndims, given = case
    wrong = tf.zeros([3] * (ndims - 1))
    min_ndims = bijector.forward_min_event_ndims
    if wrong.shape.rank < min_ndims:
        with pytest.raises(ValueError, match=f"at least {min_ndims} ax") as error:
            bijector.forward(wrong, **given)
        assert str(wrong.shape) in str(error.value)
    with pytest.raises(ValueError, match="float64"):
        bijector.forward(tf.cast(x, tf.float64), **given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bijectors.ActNorm(4),
        lambda: bijectors.Invertible1x1Conv(4),
        lambda: bijectors.TopPrior(4),
        lambda: bijectors.SplitPrior(4),
        lambda: bijectors.GlowStep(4, 5),
    ],
    ids=["actnorm", "conv", "top_prior", "split_prior", "glow_step"],
)
def test_wrong_channels(make):
    with pytest.raises(ValueError, match=r"4 channels in the last axis, got shape \(2, 2, 2, 6\)"):
        make().forward(tf.zeros([2, 2, 2, 6]))


def test_pickle():
    """All but what holds a function that can't be: those are the caller's."""
    for name in set(NAMES) - {
        "coupling_vector",
        "scan_fused",
        "coupling_context",
        "scan_fused_context_image",
    }:
        entry = REGISTRY[name]
        bijector, x, given = entry.make("float32"), entry.inputs("float32", 2), entry.given("float32", 2)
        assert_same_function(bijector, pickle.loads(pickle.dumps(bijector)), x, given)


@pytest.mark.parametrize("name", ["actnorm_image", "conv_image", "conv_lu", "squeeze"])
def test_composite_tensors(name):
    """As `tfb.Scale`, `tfb.ScaleMatvecLU` and `tfb.Reshape`: arguments and results of a tf.function."""
    entry = REGISTRY[name]
    bijector, x = entry.make("float32"), entry.inputs("float32", 2)
    traces = []

    @tf.function
    def through(bijector, x):
        traces.append(bijector)
        return bijector.forward(x), bijector

    y, same = through(bijector, x)
    np.testing.assert_allclose(y, bijector.forward(x), atol=1e-6)
    assert type(same) is type(bijector)
    assert_same_function(same, bijector, x)
    for variable in bijector.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    x = tf.identity(x)
    np.testing.assert_allclose(through(bijector, x)[0], bijector.forward(x), atol=1e-6)
    assert len(traces) == 1  # New values aren't a new signature.
    parts = tf.nest.flatten(bijector, expand_composites=True)
    assert_same_function(tf.nest.pack_sequence_as(bijector, parts, expand_composites=True), bijector, x)


def test_composite_distribution_as_an_argument():
    flow = tfb.Chain([bijectors.ActNorm(3), bijectors.Invertible1x1Conv(3, seed=0)])
    model = tfp.distributions.TransformedDistribution(
        tfp.distributions.MultivariateNormalDiag(tf.zeros(3)), tfb.Invert(flow)
    )
    x = tf.ones([2, 3])
    log_prob = tf.function(lambda distribution, x: distribution.log_prob(x))
    np.testing.assert_allclose(log_prob(model, x), model.log_prob(x), rtol=1e-6)


class Line:
    """The basis of a tangent space of one dimension, as `GeneralSpace` takes it."""

    def __init__(self, direction):
        """Takes [1, C]."""
        self._direction = direction

    def to_dense(self):
        """Returns [1, C]: one vector."""
        return self._direction

    def to_dense_matrix(self, event_ndims):
        """Returns the same; events are vectors."""
        assert event_ndims == 1
        return self._direction


def test_density_correction_on_a_manifold():
    """ActNorm and the 1x1 convolution stretch a line in R^3 by the length of its image's tangent."""
    actnorm = bijectors.ActNorm(b=tf.zeros(3), logs=tf.constant([0.1, -0.2, 0.3]))
    conv = bijectors.Invertible1x1Conv(
        w=tf.constant(np.random.default_rng(0).normal(size=(3, 3)), tf.float32)
    )
    line = tf.constant([[1.0, 2.0, -1.0]])
    for bijector in (actnorm, conv):
        space = spaces.GeneralSpace(Line(line))
        image = bijector.forward(line)  # Linear: b is 0.
        correction, _ = bijector.experimental_compute_density_correction(tf.zeros(3), space, event_ndims=1)
        np.testing.assert_allclose(correction, tf.math.log(tf.norm(image) / tf.norm(line)), rtol=1e-5)


def test_batches_of_parameters():
    rng = np.random.default_rng(0)
    w = tf.constant(rng.normal(size=(2, 3, 3)), tf.float32)
    b, logs, x = (tf.constant(rng.normal(size=(2, 3)), tf.float32) for _ in range(3))
    for batch, one in (
        (bijectors.Invertible1x1Conv(w=w), lambda i: bijectors.Invertible1x1Conv(w=w[i])),
        (bijectors.ActNorm(b=b, logs=logs), lambda i: bijectors.ActNorm(b=b[i], logs=logs[i])),
    ):
        assert batch.experimental_batch_shape() == [2]
        y, log_det = batch.forward(x), batch.forward_log_det_jacobian(x, 1)
        np.testing.assert_allclose(batch.inverse(tf.identity(y)), x, atol=1e-5)
        for i in range(2):
            np.testing.assert_allclose(y[i], one(i).forward(x[i]), rtol=1e-5)
            np.testing.assert_allclose(log_det[i], one(i).forward_log_det_jacobian(x[i], 1), rtol=1e-5)


@pytest.mark.parametrize("wrap", [tf.constant, tf.Variable], ids=["tensor", "variable"])
def test_validate_args(wrap):
    singular = wrap([[1.0, 2.0], [2.0, 4.0]])
    bijectors.Invertible1x1Conv(w=singular).forward([1.0, 2.0])  # Not asked to look.
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be invertible, got one with the singular"):
        bijectors.Invertible1x1Conv(w=singular, validate_args=True).forward([1.0, 2.0])
    for w in (singular, wrap([[0.0, 0.0], [0.0, 0.0]]), wrap([[np.nan, 0.0], [0.0, 1.0]])):
        with pytest.raises(ValueError, match="can't be inverted: it is singular, or has values that"):
            bijectors.Invertible1x1Conv(w=w).inverse([1.0, 2.0])
    lu = dict(
        p=[[0.0, 1.0], [1.0, 0.0]], lower=tf.eye(2), upper=tf.eye(2), sign_s=[1.0, -1.0], log_s=[0.0, 0.1]
    )
    for key, value in ({"": None} | {"p": [[1.0, 1.0], [0.0, 1.0]], "sign_s": [2.0, 1.0]}).items():
        new = lambda: bijectors.Invertible1x1Conv(
            parameterization="lu",
            validate_args=True,
            **{k: wrap(v) for k, v in (lu | ({key: value} if key else {})).items()},  # noqa: B023
        )
        if not key:
            np.testing.assert_allclose(new().forward([1.0, 2.0]), [2.0, -np.exp(0.1)], rtol=1e-6)
            continue
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{key} of Invertible1x1Conv must be"):
            new().forward([1.0, 2.0])
    regular = bijectors.Invertible1x1Conv(4, parameterization="lu", validate_args=True)
    assert regular.forward(tf.ones([4])).shape == [4]
    assert bijectors.ActNorm(4, validate_args=True).copy().validate_args


def test_seeds():
    new = (bijectors.Invertible1x1Conv, lambda n, **seed: bijectors.GlowStep(n, 5, **seed))
    for make in new:
        values = lambda **seed: flat(make(4, **seed).trainable_variables, 0).numpy()  # noqa: B023
        np.testing.assert_array_equal(values(seed=1), values(seed=1))
        assert (values() != values()).any()


@pytest.mark.parametrize(("cls", "n"), [(bijectors.ActNorm, 2), (bijectors.Invertible1x1Conv, 1)])
@pytest.mark.parametrize("shape", [(3,), (1,), (48,), (2, 5)], ids=str)
def test_make_trainable(cls, n, shape):
    """With random parameters that are invertible, well conditioned, and have gradients."""
    bijector = tfp.experimental.util.make_trainable(cls, batch_and_event_shape=shape, seed=0)
    assert len(bijector.trainable_variables) == n
    assert bijector.experimental_batch_shape() == shape[:-1]
    x = tf.ones(shape)
    with tf.GradientTape() as tape:
        y, log_det = bijector.forward(x), bijector.forward_log_det_jacobian(x, 1)
        loss = tf.reduce_sum(y**2) - tf.reduce_sum(log_det)
    assert y.shape == shape and log_det.shape == shape[:-1]
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), x, atol=1e-3)
    assert all(g is not None for g in tape.gradient(loss, bijector.trainable_variables))
    if cls is bijectors.Invertible1x1Conv:
        assert np.linalg.cond(bijector.matrix.numpy()).max() < 20


def test_make_trainable_takes_what_is_trained():
    """Not labels; and the LU parameterization isn't preferred."""
    top = tfp.experimental.util.make_trainable(bijectors.TopPrior, batch_and_event_shape=[], n_channels=3)
    assert not top.trainable_variables
    with pytest.raises(ValueError, match="'lu' doesn't take"):
        tfp.experimental.util.make_trainable(
            bijectors.Invertible1x1Conv, batch_and_event_shape=[3], parameterization="lu"
        )


def test_the_constraint_of_the_matrix_is_a_bijector():
    constraint = bijectors.Invertible1x1Conv.parameter_properties()["w"].default_constraining_bijector_fn()
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 2, 2)))
    np.testing.assert_allclose(constraint.inverse(tf.identity(constraint.forward(x))), x, atol=1e-12)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = constraint.forward(x)
    jacobian = tf.reshape(tape.batch_jacobian(y, x), [3, 4, 4])
    log_det = tf.broadcast_to(constraint.forward_log_det_jacobian(x), [3])
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-12)


# --- Batches ---

LABELS = [0, [1], [0, 1, 2], [[0, 1, 2], [2, 2, 2]]]


def top_of_labels(y):
    values = bijectors.TopPrior.initial_values(2, True, 3)
    rng = np.random.default_rng(0)
    return bijectors.TopPrior(
        2, {k: tf.constant(rng.normal(0, 0.2, v.shape), "float32") for k, v in values.items()}, y
    )


@pytest.mark.parametrize("y", LABELS, ids=str)
def test_a_batch_of_labels_draws_as_many_noises(y):
    top, batch = top_of_labels(y), np.shape(y)
    whole = bijectors.MultiScale([tfb.Identity()], [], top)
    chain = tfb.Chain([top, bijectors.ActNorm(2)])
    for flow in (top, whole, chain, tfb.Invert(top), top.copy(name="other")):
        assert flow.experimental_batch_shape(x_event_ndims=3) == batch
        assert list(flow.experimental_batch_shape_tensor(x_event_ndims=3)) == list(batch)
    assert top.experimental_batch_shape(x_event_ndims=3 + len(batch)) == []
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [1, 2, 2])
    for flow in (top, chain):
        model = tfd.TransformedDistribution(base, tfb.Invert(flow))
        assert model.batch_shape == batch and model.event_shape == [1, 2, 2]
        x = model.sample(4, seed=0)
        assert x.shape == [4, *batch, 1, 2, 2]
        noise = flow.forward(tf.identity(x)).numpy().reshape([-1, 4])
        assert len({tuple(row) for row in noise.round(3)}) == len(noise)  # None is drawn twice.
        log_prob = model.log_prob(tf.identity(x))
        assert log_prob.shape == [4, *batch]
        expected = base.log_prob(flow.forward(x)) + flow.forward_log_det_jacobian(x, 3)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-4)


def test_a_batch_of_labels_can_be_sliced():
    model = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), [1, 2, 2]), tfb.Invert(top_of_labels([0, 1, 2]))
    )
    one = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), [1, 2, 2]), tfb.Invert(top_of_labels(1))
    )
    x = tf.ones([1, 2, 2])
    assert model[1].batch_shape == []
    np.testing.assert_allclose(model[1].log_prob(x), one.log_prob(tf.identity(x)), rtol=1e-6)


def test_labels_of_which_only_the_rank_is_known():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def batch_shape(y):
        top = top_of_labels(y)
        assert top.experimental_batch_shape().as_list() == [None]
        return top.experimental_batch_shape_tensor()

    assert batch_shape(tf.constant([0, 1])) == [2]


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [(None, ValueError, "missing"), ([0, 3], ValueError, "0 to 2, got 3"), (-1, ValueError, "got -1")]
    + [([0.5], TypeError, "integers, got float32"), ("a", TypeError, "integers, got string")],
)
def test_wrong_labels(y, error, words):
    with pytest.raises(error, match=words):
        top_of_labels(y)


def test_two_parts_of_a_multi_scale_with_a_batch():
    flows = [bijectors.Squeeze(), bijectors.Squeeze()]
    whole = bijectors.MultiScale(flows, [bijectors.SplitPrior(4)], bijectors.TopPrior(8))
    assert whole.experimental_batch_shape(y_event_ndims=[3, 3]) == []
    labelled = bijectors.MultiScale([bijectors.Squeeze()] * 2, [bijectors.SplitPrior(4)], top8([0, 1, 2]))
    assert labelled.experimental_batch_shape() == [3]
    assert labelled.experimental_batch_shape(y_event_ndims=[3, 3]) == [3]
    parts = [tfd.Sample(tfd.Normal(tf.zeros([3]), 1.0), shape) for shape in ([2, 2, 2], [1, 1, 8])]
    model = tfd.TransformedDistribution(tfd.JointDistributionSequential(parts), tfb.Invert(labelled))
    x = model.sample(2, seed=0)
    assert x.shape == [2, 3, 4, 4, 1] and model.log_prob(x).shape == [2, 3]


def top8(y):
    values = bijectors.TopPrior.initial_values(8, False, 3)
    return bijectors.TopPrior(8, {k: tf.constant(v) for k, v in values.items()}, y)


# --- Affine maps ---


def test_mean_and_covariance_are_those_of_the_samples_or_not_implemented():
    """TFP computes them from what it takes for an affine map."""
    base = tfd.MultivariateNormalDiag(tf.constant([1.0, -1.0, 0.5, 2.0]))
    steps = {"b": tf.ones([2, 4]), "logs": 0.1 * tf.ones([2, 4])}
    square = lambda x: 2 * x**2
    affine = [
        bijectors.ActNorm(b=tf.ones([4]), logs=tf.constant([0.1, 0.2, -0.1, 0.0])),
        bijectors.Invertible1x1Conv(4, seed=0),
        bijectors.Scan(lambda p: bijectors.ActNorm(**p), steps),
    ]
    other = [
        bijectors.AffineCoupling(square, additive=True),
        bijectors.AffineCoupling(lambda x: tf.concat([x**2, x], -1)),
        tfb.Chain([affine[0], bijectors.AffineCoupling(square, additive=True)]),
        bijectors.Scan(
            lambda p: bijectors.AffineCoupling(lambda x: p["w"] * x**2, additive=True), {"w": [1.0, 2.0]}
        ),
    ]
    for bijector in affine:
        model = tfd.TransformedDistribution(base, bijector)
        x = model.sample(20000, seed=0)
        np.testing.assert_allclose(model.mean(), tf.reduce_mean(x, 0), atol=0.1)
        np.testing.assert_allclose(model.covariance(), tfp.stats.covariance(x), atol=0.3)
    for bijector in other:
        model = tfd.TransformedDistribution(base, bijector)
        for method in (model.mean, model.mode, model.covariance, model.stddev, model.entropy):
            with pytest.raises(NotImplementedError):
                method()


def test_moments_of_images():
    base = tfd.Sample(tfd.Normal(1.0, 2.0), [2, 2, 4])
    model = tfd.TransformedDistribution(base, tfb.Invert(bijectors.Squeeze()))
    np.testing.assert_allclose(model.mean(), tf.ones([4, 4, 1]))
    np.testing.assert_allclose(model.stddev(), 2 * tf.ones([4, 4, 1]))
    top = top_of_labels([0, 2])
    model = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [1, 2, 2]), tfb.Invert(top))
    x = model.sample(5000, seed=0)
    deviation = tf.math.reduce_std(x, 0)
    assert model.mean().shape == [2, 1, 2, 2]
    np.testing.assert_allclose(
        (model.mean() - tf.reduce_mean(x, 0)) / deviation, tf.zeros_like(deviation), atol=0.1
    )
    entropy = -tf.reduce_mean(model.log_prob(tf.identity(x)), 0)
    np.testing.assert_allclose(model.entropy(), entropy, atol=0.15)
    for step in (bijectors.GlowStep(2, 3, additive=True), bijectors.GlowStep(2, 3)):
        with pytest.raises(NotImplementedError):
            tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [1, 2, 2]), step).mean()


def test_a_constant_log_det_takes_no_network():
    calls = []

    def network(x):
        calls.append(x)
        return x**2

    additive = bijectors.AffineCoupling(network, additive=True)
    scan = bijectors.Scan(
        lambda p: tfb.Chain([additive, bijectors.ActNorm(**p)]), {"b": [[1.0] * 4], "logs": [[0.1] * 4]}
    )
    steps = bijectors.Scan(lambda p: bijectors.AffineCoupling(network, additive=True), {"unused": [1.0, 2.0]})
    for bijector, expected in ((additive, 0.0), (steps, 0.0)):
        for log_det in (
            bijector.forward_log_det_jacobian(tf.ones([3, 4])),
            bijector.inverse_log_det_jacobian(2 * tf.ones([3, 4])),
        ):
            np.testing.assert_allclose(log_det, [expected] * 3)
    assert not calls
    np.testing.assert_allclose(scan.forward_log_det_jacobian(tf.ones([3, 4])), [1.2] * 3, rtol=1e-6)
    steps = registry.scan("float64", coupling="additive")
    for bijector in (registry.moved(steps), steps.step(1)):
        x = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 2, 4)))
        log_det = bijector.forward_log_det_jacobian(tf.identity(x))
        bijector.forward(x)  # Leaves its log-det in the cache.
        np.testing.assert_allclose(log_det, bijector.forward_log_det_jacobian(x), atol=1e-12)
        assert log_det.shape == [2]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_every_type_of_integers(dtype):
    x = tf.ones([2, 1, 1, 2])
    np.testing.assert_array_equal(
        top_of_labels(np.array([2, 1], dtype)).forward(x), top_of_labels([2, 1]).forward(x)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e-45])
@pytest.mark.parametrize("kind", [tf.constant, tf.Variable])
def test_matrices_without_an_inverse_are_told(value, kind):
    """In each parameterization; 1e-45 has one that float32 doesn't hold."""
    lu = dict(p=tf.eye(2), lower=tf.eye(2), upper=tf.eye(2), sign_s=[1.0, 1.0], log_s=[0.0, 0.0])
    for parameters in (
        dict(w=kind([[value, 0.0], [0.0, 1.0]])),
        dict(w=kind([[[1.0, 0.0], [0.0, 1.0]], [[value, 0.0], [0.0, 1.0]]])),
        dict(parameterization="lu", **lu | dict(sign_s=kind([value, 1.0]))),
    ):
        conv = bijectors.Invertible1x1Conv(**parameters)
        with pytest.raises(ValueError, match="can't be inverted: it is singular, or has values that aren't"):
            conv.inverse(tf.ones([2, 2]))


# --- What a graph doesn't know ---


@pytest.mark.parametrize("spec", [None, "axes"])
def test_unknown_shapes_work_or_are_told(case, spec):
    bijector, x, ndims, given = case
    spec = tf.TensorSpec(None if spec is None else [None] * x.shape.rank)

    @tf.function(input_signature=[spec])
    def there_and_back(x):
        y = bijector.forward(x, **given)
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=ndims, **given)
        return y, log_det, bijector.inverse(tf.nest.map_structure(tf.identity, y), **given)

    try:
        y, log_det, back = there_and_back(x)
    except ValueError as error:
        assert "must know the number of channels" in str(error), error
        return
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(flat(y), flat(bijector.forward(x, **given)), atol=1e-5)
    np.testing.assert_allclose(log_det, bijector.forward_log_det_jacobian(x, ndims, **given), atol=1e-5)


@pytest.mark.parametrize("name", ["scan_fused", "split_prior", "top_prior", "multi_scale"])
def test_wrong_sizes_of_unknown_shapes_are_errors(name):
    """Not taken for other images, nor an end of the process in a CPU kernel."""
    bijector = REGISTRY[name].make("float32")
    forward = tf.function(bijector.forward, input_signature=[tf.TensorSpec(None)])
    for shape in ([3], [2, 4], [1, 2, 2, 6], [1, 2, 2, 64]):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            forward(tf.ones(shape))


# --- Scan's parameters ---


@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist, tf.constant, tf.Variable])
def test_scan_takes_parameters_of_every_kind(convert):
    values = {"b": np.float32([[1, 2], [3, 4]]), "logs": np.float32([[0, 0.1], [0.2, 0]])}
    scan = bijectors.Scan(lambda p: bijectors.ActNorm(**p), {k: convert(v) for k, v in values.items()})
    chain = tfb.Chain([bijectors.ActNorm(**{k: v[i] for k, v in values.items()}) for i in (1, 0)])
    x = tf.constant([[0.5, -1.0]])
    for bijector in (scan, tfb.Chain([scan.step(1), scan.step(0)]), scan.copy(memory="store")):
        np.testing.assert_allclose(bijector.forward(x), chain.forward(x), rtol=1e-6)
        np.testing.assert_allclose(bijector.inverse(x), chain.inverse(x), rtol=1e-5, atol=1e-6)
    deferred = tfp.util.DeferredTensor(tf.Variable(values["logs"]), lambda v: v + 0)
    scan = bijectors.Scan(lambda p: bijectors.ActNorm(**p), values | {"logs": deferred})
    np.testing.assert_allclose(scan.forward(x), chain.forward(x), rtol=1e-6)


def test_scan_of_permutations_from_numpy(rng):
    values = [bijectors.GlowStep.initial_values(4, 5, "shuffle", False, rng) for _ in range(3)]
    stacked = {key: np.stack([v[key] for v in values]) for key in values[0]}
    scan = bijectors.Scan(lambda p: bijectors.GlowStep(permutation="shuffle", parameters=p), stacked)
    x = tf.constant(rng.normal(size=(2, 2, 2, 4)), "float32")
    np.testing.assert_allclose(scan.inverse(tf.identity(scan.forward(x))), x, atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "one depth"),
        ({"b": 1.0}, "one depth"),
        ({"b": np.zeros([0, 3]), "logs": np.zeros([0, 3])}, "at least 1"),
        ({"b": np.zeros([2, 3], int), "logs": np.zeros([2, 3], int)}, "floating"),
        ({"b": np.zeros([2, 5, 3]), "logs": np.zeros([2, 3])}, r"batch shape \(5,\)"),
        ({"b": np.zeros([2, 3]), "logs": np.zeros([2, 2])}, "shapes"),
    ],
)
def test_scan_refuses_parameters(parameters, words):
    with pytest.raises(ValueError, match=words):
        bijectors.Scan(lambda p: bijectors.ActNorm(**p), parameters)


def test_squeeze_takes_any_dtype_and_says_its_own():
    assert bijectors.Squeeze(dtype="float32").forward_dtype() == tf.float32
    assert bijectors.Squeeze().forward(tf.zeros([2, 2, 1], tf.float64)).dtype == tf.float64
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        bijectors.Squeeze().inverse(tf.zeros([2, 2, 6]))
