"""What TensorFlow Probability asks of any bijector, run over the registry of `conformance_test`."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import bijectors
from tests import conformance_test as conformance

tfb = tfp.bijectors
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
)


@pytest.fixture(params=NAMES)
def case(request):
    """A bijector with three inputs and their event_ndims."""
    entry = conformance.REGISTRY[request.param]
    bijector = conformance.make(entry, "float32")
    return bijector, conformance.inputs(entry, "float32", 3), len(entry[1])


def assert_same_function(a, b, x):
    """Compares two bijectors on a new tensor each, so that no cache answers."""
    flat = conformance.flat
    np.testing.assert_allclose(flat(a.forward(tf.identity(x))), flat(b.forward(tf.identity(x))), atol=1e-6)


def test_parameters_name_repr_and_copy(case):
    bijector, x, _ = case
    assert bijector.parameters["name"] == bijector.name
    assert bijector.name in repr(bijector) and type(bijector).__name__ in str(bijector)
    other = bijector.copy(name="other")
    assert other.name == "other" and bijector.name != "other"
    assert_same_function(bijector, other, x)
    assert [v.ref() for v in other.variables] == [v.ref() for v in bijector.variables]


def test_deep_copy_has_variables_of_its_own(case):
    bijector, x, _ = case
    other = copy.deepcopy(bijector)
    assert_same_function(bijector, other, x)
    assert not {v.ref() for v in other.variables} & {v.ref() for v in bijector.variables}


def test_equality_is_that_of_the_parameters_or_identity(case):
    bijector, _, _ = case
    assert bijector == bijector and hash(bijector) == hash(bijector)
    changed = copy.deepcopy(bijector)
    for variable in changed.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    assert (changed == bijector) == isinstance(bijector, bijectors.Squeeze)


def test_parameter_properties_give_the_batch_shape(case):
    bijector, _, ndims = case
    properties = type(bijector).parameter_properties(dtype=tf.float32)
    assert set(properties) <= set(bijector.parameters)
    assert bijector.experimental_batch_shape(x_event_ndims=ndims) == []
    assert tf.size(bijector.experimental_batch_shape_tensor(x_event_ndims=ndims)) == 0


def test_density_correction(case):
    bijector, x, ndims = case
    correction, space = bijector.experimental_compute_density_correction(
        x, spaces.FullSpace(), event_ndims=ndims
    )
    assert isinstance(space, spaces.FullSpace)
    np.testing.assert_allclose(correction, bijector.forward_log_det_jacobian(x, ndims), rtol=1e-5)


def test_value_and_gradient(case):
    bijector, x, ndims = case

    def loss(x):
        log_det = bijector.forward_log_det_jacobian(x, event_ndims=ndims)
        return tf.reduce_sum(tf.sin(conformance.flat(bijector.forward(x)))) + tf.reduce_sum(log_det)

    value, gradient = tfp.math.value_and_gradient(loss, x)
    direction = tf.constant(np.random.default_rng(0).normal(size=x.shape), tf.float32)
    step = 1e-2
    finite = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(tf.reduce_sum(gradient * direction), finite, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(value, loss(tf.identity(x)), rtol=1e-5)


def test_vectorized_map(case):
    bijector, x, ndims = case
    one = lambda x: (bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims=ndims))
    y, log_det = tf.vectorized_map(one, x)
    np.testing.assert_allclose(conformance.flat(y), conformance.flat(bijector.forward(x)), atol=1e-5)
    expected = bijector.forward_log_det_jacobian(x, event_ndims=ndims)
    np.testing.assert_allclose(log_det, tf.broadcast_to(expected, [3]), atol=1e-5)


def test_wrong_inputs_are_told_by_name_and_shape(case):
    bijector, x, ndims = case
    wrong = tf.zeros([3] * (ndims - 1))
    min_ndims = bijector.forward_min_event_ndims
    if wrong.shape.rank < min_ndims:
        with pytest.raises(ValueError, match=f"at least {min_ndims} ax") as error:
            bijector.forward(wrong)
        assert str(wrong.shape) in str(error.value)
    with pytest.raises(ValueError, match="float64"):
        bijector.forward(tf.cast(x, tf.float64))


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
    for name in set(NAMES) - {"coupling_vector", "scan_fused"}:
        entry = conformance.REGISTRY[name]
        bijector = conformance.make(entry, "float32")
        assert_same_function(
            bijector, pickle.loads(pickle.dumps(bijector)), conformance.inputs(entry, "float32", 2)
        )


@pytest.mark.parametrize("name", ["actnorm_image", "conv_image", "conv_lu", "squeeze"])
def test_composite_tensors(name):
    """As `tfb.Scale`, `tfb.ScaleMatvecLU` and `tfb.Reshape`: arguments and results of a tf.function."""
    entry = conformance.REGISTRY[name]
    bijector, x = conformance.make(entry, "float32"), conformance.inputs(entry, "float32", 2)
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
    flat = tf.nest.flatten(bijector, expand_composites=True)
    assert_same_function(tf.nest.pack_sequence_as(bijector, flat, expand_composites=True), bijector, x)


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
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be invertible"):
        bijectors.Invertible1x1Conv(w=singular, validate_args=True).forward([1.0, 2.0])
    regular = bijectors.Invertible1x1Conv(4, parameterization="lu", validate_args=True)
    assert regular.forward(tf.ones([4])).shape == [4]
    assert bijectors.ActNorm(4, validate_args=True).copy().validate_args


def test_seeds():
    same = lambda make: np.array_equal(make(), make())
    assert same(lambda: bijectors.Invertible1x1Conv(4, seed=1).matrix)
    assert not same(lambda: bijectors.Invertible1x1Conv(4).matrix)
    assert same(lambda: conformance.flat([bijectors.GlowStep(4, 5, seed=1).trainable_variables[5]], 0))


def test_make_trainable():
    trainable = tfp.experimental.util.make_trainable(bijectors.ActNorm, batch_and_event_shape=[3])
    assert len(trainable.trainable_variables) == 2
    assert trainable.forward(tf.zeros([2, 3])).shape == [2, 3]


def test_squeeze_takes_any_dtype_and_says_its_own():
    assert bijectors.Squeeze(dtype="float32").forward_dtype() == tf.float32
    assert bijectors.Squeeze().forward(tf.zeros([2, 2, 1], tf.float64)).dtype == tf.float64
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        bijectors.Squeeze().inverse(tf.zeros([2, 2, 6]))
