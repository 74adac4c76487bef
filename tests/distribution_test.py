"""`Glow.distribution()` among TFP's: passes counted, shapes, seeds, saving, in other distributions."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors import Scan
from tests.glow_test import small

tfb, tfd = tfp.bijectors, tfp.distributions


@pytest.fixture(scope="module")
def model():
    """A small model."""
    return tame(small())


def tame(model):
    """Shrinks the moved weights: samples of a random deep model are huge, and float32 isn't exact there."""
    for variable in model.trainable_variables:
        if "_W" not in variable.name:
            variable.assign(0.1 * variable)
    return model


@pytest.fixture
def passes(monkeypatch):
    """Counts of the passes through the levels, by direction."""
    counts = {"forward": 0, "inverse": 0}
    for direction in counts:
        original = getattr(Scan, f"_{direction}_and_log_det")

        def counted(self, x, direction=direction, original=original, **kwargs):
            counts[direction] += 1
            return original(self, x, **kwargs)

        monkeypatch.setattr(Scan, f"_{direction}_and_log_det", counted)
    return counts


def test_log_prob_of_a_sample_takes_no_pass(model, passes):
    distribution = model.distribution()
    x = distribution.sample(3, seed=1)
    assert passes == {"forward": 0, "inverse": 2}  # Two levels, once.
    log_prob = distribution.log_prob(x)
    assert passes == {"forward": 0, "inverse": 2}
    np.testing.assert_allclose(log_prob, distribution.log_prob(tf.identity(x)), rtol=1e-4)
    assert passes == {"forward": 2, "inverse": 2}  # A tensor that it doesn't know: data to latents.


def test_log_prob_inverts_nothing(model, passes):
    distribution = model.distribution()
    distribution.log_prob(tf.zeros([3, 8, 8, 3]))
    assert passes == {"forward": 2, "inverse": 0}


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "function"])
def test_sample_and_log_prob_is_one_pass(model, passes, wrap):
    distribution = model.distribution()
    x, log_prob = wrap(lambda: distribution.experimental_sample_and_log_prob(3, seed=1))()
    assert passes == {"forward": 0, "inverse": 2}
    assert x.shape == [3, 8, 8, 3]
    np.testing.assert_allclose(log_prob, distribution.log_prob(tf.identity(x)), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_dtype_and_name(dtype):
    model = small(dtype=dtype, ycond=True)
    for y, temperature, batch in ((3, 1.0, []), ([1, 2], 0.7, [2]), (3, [0.5, 0.7, 1.0], [3])):
        distribution = model.distribution(y, temperature)
        assert distribution.event_shape == [8, 8, 3] and distribution.batch_shape == batch
        np.testing.assert_array_equal(distribution.event_shape_tensor(), [8, 8, 3])
        np.testing.assert_array_equal(distribution.batch_shape_tensor(), batch)
        assert distribution.dtype == tf.as_dtype(dtype) and dtype in repr(distribution)
        x = distribution.sample(4, seed=1)
        assert x.shape == [4, *batch, 8, 8, 3] and x.dtype == distribution.dtype
        assert distribution.log_prob(x).shape == [4, *batch]
    assert model.distribution(3, name="three").name == "three"


def test_two_go_into_one_joint_distribution(model):
    """A name that nobody gave is not explicit; two explicit ones must differ."""
    joint = tfd.JointDistributionSequential([model.distribution(), model.distribution()])
    assert joint.log_prob(joint.sample(2, seed=1)).shape == [2]
    named = [model.distribution(name=name) for name in ("a", "b")]
    names = tfd.JointDistributionSequential(named).resolve_graph()
    assert [name for name, _ in names] == ["a", "b"]


def test_each_label_has_a_sample_of_its_own():
    distribution = tame(small(ycond=True)).distribution([3, 3, 3])
    latents = distribution.distribution.sample(2, seed=1)[0]
    assert latents.shape[:2] == [2, 3] and len(np.unique(latents)) == tf.size(latents)


def test_seeds(model):
    distribution = model.distribution()
    a, b, c = (distribution.sample(2, seed=[1, s]) for s in (2, 2, 3))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)
    in_function = tf.function(lambda: distribution.sample(2, seed=[1, 2]))()
    np.testing.assert_allclose(in_function, a, atol=1e-5)


def test_variables_gradients_and_copies(model):
    distribution = model.distribution()
    assert len(distribution.trainable_variables) == len(model.trainable_variables)
    x = tf.identity(distribution.sample(2, seed=1))  # Of a tensor in the cache, TFP has no gradient.
    value, gradient = tfp.math.value_and_gradient(distribution.log_prob, x)
    assert value.shape == [2] and gradient.shape == x.shape and np.isfinite(gradient).all()
    np.testing.assert_allclose(distribution.copy(name="b").log_prob(tf.identity(x)), value, rtol=1e-4)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(other.distribution().log_prob(tf.identity(x)), value, rtol=1e-4)
    again = copy.deepcopy(model).bijector
    np.testing.assert_array_equal(
        model.flatten_latents(pickle.loads(pickle.dumps(model.bijector)).forward(x)),
        model.flatten_latents(again.forward(tf.identity(x))),
    )


def test_in_other_distributions(model):
    base = model.distribution()
    conditional = tame(small(ycond=True)).distribution(y=[0, 1, 2])
    two = tfd.Sample(base, 2)
    x = two.sample(seed=1)
    np.testing.assert_allclose(two.log_prob(x), tf.reduce_sum(base.log_prob(tf.identity(x))), rtol=1e-4)
    x = conditional.sample(seed=1)
    joint = tfd.Independent(conditional, 1).log_prob(x)
    np.testing.assert_allclose(joint, tf.reduce_sum(conditional.log_prob(tf.identity(x))), rtol=1e-4)
    x = base.sample(2, seed=1)
    mixed = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.2, 0.3, 0.5]), conditional)
    expected = tf.reduce_logsumexp(
        conditional.log_prob(x[:, None]) + tf.math.log(tf.constant([0.2, 0.3, 0.5])), -1
    )
    np.testing.assert_allclose(mixed.log_prob(x), expected, rtol=1e-4)
    assert mixed.sample(2, seed=1).shape == [2, 8, 8, 3]
    # The space that HMC moves in, if nothing is said, is that of the latents.
    latents = [tf.zeros([2, *shape]) for shape in model.config.eps_shapes]
    assert base.experimental_default_event_space_bijector()(latents).shape == [2, 8, 8, 3]
    log_probs = tf.vectorized_map(base.log_prob, x)
    np.testing.assert_allclose(log_probs, base.log_prob(tf.identity(x)), rtol=1e-4)


class Served(tf.Module):
    """A module of the user's, with the distribution as an attribute."""

    def __init__(self, model):
        """Takes the model."""
        super().__init__()
        self.distribution = model.distribution()

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
    def log_prob(self, x):
        """Returns nats, [B]."""
        return self.distribution.log_prob(x)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def sample(self, n):
        """Returns [n, 4, 4, 3]."""
        return self.distribution.sample(n)


@pytest.mark.parametrize("memory", ["reverse", "store"])
def test_saved_model_with_dynamic_batches(tmp_path, memory):
    model = tame(small(memory=memory, image_size=4, n_levels=1))
    options = None
    if memory != "reverse":
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(Served(model), str(tmp_path), options=options)
    loaded = tf.saved_model.load(str(tmp_path))
    for n in (1, 5):
        x = loaded.sample(n)
        assert x.shape == [n, 4, 4, 3]
        expected, gradient = tfp.math.value_and_gradient(model.distribution().log_prob, tf.identity(x))
        np.testing.assert_allclose(loaded.log_prob(x), expected, rtol=1e-5)
        if memory == "reverse":
            loaded_gradient = tfp.math.value_and_gradient(loaded.log_prob, x)[1]
            scale = np.abs(gradient).max()
            np.testing.assert_allclose(loaded_gradient / scale, gradient / scale, atol=1e-4)


def test_tfb_glow_cannot_be_saved_so():
    """Why the test above is worth having: TFP's own Glow takes no batch dimension of None."""
    shift = lambda shape: lambda x: tfb.Shift(tf.ones_like(x))
    glow = tfb.Glow((4, 4, 3), num_glow_blocks=1, num_steps_per_block=1, coupling_bijector_fn=shift)
    base = tfd.Sample(tfd.Normal(0.0, 1.0), glow.inverse_event_shape([4, 4, 3]))
    distribution = tfd.TransformedDistribution(base, glow)
    assert distribution.log_prob(tf.zeros([1, 4, 4, 3])).shape == [1]
    spec = tf.TensorSpec([None, 4, 4, 3])
    with pytest.raises(TypeError):
        tf.function(distribution.log_prob, input_signature=[spec]).get_concrete_function()
