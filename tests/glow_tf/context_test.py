"""A Glow that depends on a context: what it starts as, what it computes, what it refuses."""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import glow_tf
from glow_tf import bijectors, context
from glow_tf.networks import CouplingNetwork
from tests.glow_tf.glow_test import SMALL, images_for, small
from tests.support.golden import CASES, Case, require_cases

tfb, tfd = tfp.bijectors, tfp.distributions


def contexts_for(shape, n=4, seed=5):
    """Returns random contexts, float32."""
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def conditional(shape, seed=0, **changes) -> glow_tf.Glow:
    """A small model with every weight moved: those of `small`, and random ones of the context."""
    source = small(seed, **changes)
    model = glow_tf.Glow(dataclasses.replace(source.config, context_shape=shape), seed=seed)
    rng = np.random.default_rng(8)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.1, variable.shape))
    copy_weights(source, model)
    return model


def noise_for(images):
    return np.random.default_rng(2).uniform(0, 0.99 / 256, images.shape)


# --- What it starts as ---


@require_cases
@pytest.mark.parametrize("shape", [(5,), (32, 32, 2), (1, 1, 3)], ids=str)
def test_a_new_context_changes_no_bits(shape):
    """Golden case 1, the weights of the context at zero."""
    case = Case(CASES[0])
    plain = case.model("trained")
    model = glow_tf.Glow(case.config(context_shape=shape), seed=0)
    copy_weights(plain, model)
    images, labels, noise = case.batch("eval")
    given = contexts_for(shape, len(images))
    bits = model.bits_per_dim(images, labels, noise, context=given)
    np.testing.assert_allclose(bits, plain.bits_per_dim(images, labels, noise), rtol=0, atol=1e-6)
    np.testing.assert_allclose(bits, case.arrays["eval_bits_x"], rtol=0, atol=2e-5)


def weights_by_name(model):
    """Returns the variables by the name that a checkpoint knows them by."""
    names = {f"levels/{i}/{key}": v for i, level in enumerate(model.levels) for key, v in level.items()}
    for i, split in enumerate(model.splits):
        names |= {
            f"splits/{i}/{key}": getattr(split, key)
            for key in ("w", "b", "logs", "context_w")
            if getattr(split, key) is not None
        }
    return names | {f"top/{key}": v for key, v in model.top.items()}


def copy_weights(source, target):
    """Gives a conditional model an unconditional one's weights."""
    target = weights_by_name(target)
    for name, variable in weights_by_name(source).items():
        target[name].assign(variable)


def test_the_same_seed_is_the_same_model():
    """With new weights that are zero, beside those there were, by their names."""
    plain, model = (
        glow_tf.Glow(glow_tf.GlowConfig(**SMALL, **c), seed=3) for c in ({}, {"context_shape": (3,)})
    )
    names, others = weights_by_name(plain), weights_by_name(model)
    assert len(names) == len(plain.variables) and len(others) == len(model.variables)
    assert set(others) - set(names) == {
        "levels/0/l_1_context_W",
        "levels/1/l_1_context_W",
        "splits/0/context_w",
        "top/context_W",
    }
    for name, variable in others.items():
        np.testing.assert_array_equal(variable, names.get(name, 0))


@pytest.mark.slow
def test_initialisation_does_not_depend_on_a_new_context():
    config = glow_tf.GlowConfig(**SMALL, context_shape=(3,))
    images = images_for(config, 16)
    models = [glow_tf.Glow(config, seed=0) for _ in range(3)] + [
        glow_tf.Glow(glow_tf.GlowConfig(**SMALL), seed=0)
    ]
    given = [None, contexts_for((3,), 16), contexts_for((3,), 1)[0], None]
    for model, c in zip(models, given, strict=True):
        model.initialize(images, noise=noise_for(images), context=c)
    expected = weights_by_name(models[-1])
    for model in models[:-1]:
        for name, variable in weights_by_name(model).items():
            np.testing.assert_allclose(variable, expected.get(name, 0 * variable), atol=1e-5)


def test_initialisation_given_a_context_that_counts():
    """What leaves a network's first layer has mean 0 and variance 1, the context's term included."""
    model = conditional((8, 8, 1))
    images, c = images_for(model.config, 64), contexts_for((8, 8, 1), 64)
    model.initialize(images, noise=noise_for(images), context=c)
    scan, squeeze = model.flow().flows[0].bijectors
    step = scan.step(0)
    x = step.permutation.forward(
        step.actnorm.forward(squeeze.forward(model.dequantize(images, noise_for(images))))
    )
    values = step.coupling.network.data_dependent_values(x[..., :6], tf.constant(c))
    np.testing.assert_allclose(values["l_1_b"], model.levels[0]["l_1_b"][0], atol=1e-3)
    np.testing.assert_allclose(values["l_1_logs"], model.levels[0]["l_1_logs"][0], atol=1e-4)


# --- What it computes ---


@pytest.mark.parametrize(
    ("shape", "changes"),
    [((3,), dict(ycond=True, learntop=False)), ((2, 2, 3), {})]
    + [pytest.param((8, 8, 1), {}, marks=pytest.mark.slow)]
    + [pytest.param((1, 1, 2), dict(dtype="mixed_bfloat16"), marks=pytest.mark.slow)]
    + [
        ((2, 4, 1), dict(image_size=(4, 8), n_levels=1, flow_coupling="additive", flow_permutation="shuffle"))
    ],
    ids=str,
)
def test_round_trip_and_distribution(shape, changes):
    """Of a vector, and of images that are squeezed, repeated in the first level alone, or in both."""
    model = conditional(shape, **changes)
    images = images_for(model.config)
    y = np.arange(4) if model.config.ycond else None
    c, noise = contexts_for(shape), noise_for(images)
    x = model.dequantize(images, noise)
    eps = model.encode(images, y, noise, c)
    atol = 5e-3 if model.config.dtype == "mixed_bfloat16" else 1e-4
    np.testing.assert_allclose(model.decode_float(eps, y, c), x, atol=atol)
    bits = model.bits_per_dim(images, y, noise, context=c)
    assert np.abs(bits - model.bits_per_dim(images, y, noise, context=-c)).min() > 1e-3
    np.testing.assert_allclose(model.losses(images, y, noise=noise, context=c)["loss"], bits, rtol=1e-5)
    model_of_c = model.distribution(y, context=c)
    assert model_of_c.batch_shape == [4] and model_of_c.event_shape == model.config.image_shape
    as_bits = lambda log_prob: 8 - np.asarray(log_prob) / (model.config.n_dims * math.log(2))
    np.testing.assert_allclose(as_bits(model_of_c.log_prob(x)), bits, atol=1e-4)
    for kwargs in ({"glow": {"context": c}}, {"context": c}):
        log_prob = model.distribution(y).log_prob(tf.identity(x), bijector_kwargs=kwargs)
        np.testing.assert_allclose(as_bits(log_prob), bits, atol=1e-4)
    # One context for all, and one image for all contexts.
    one = model.bits_per_dim(images[:2], None if y is None else y[:2], noise[:2], context=c[0])
    np.testing.assert_allclose(one[0], bits[0], rtol=1e-5)
    if y is None:
        np.testing.assert_allclose(as_bits(model_of_c.log_prob(x[0]))[0], bits[0], atol=1e-4)
    assert model.sample(4, y, seed=1, context=c).shape == images.shape
    assert model_of_c.sample(2, seed=1).shape == [2, *images.shape]


def test_classifier_of_a_conditional_model():
    """It reads the last level's own values, of which the latents were standardised given the context."""
    model = conditional((3,), ycond=True)
    images, y, c = images_for(model.config), np.arange(4), contexts_for((3,))
    model.classifier["W"].assign_add(0.1 * tf.ones_like(model.classifier["W"]))
    noise = noise_for(images)
    losses = model.losses(images, y, 0.1, noise, c)
    flow = model.flow(y, c)
    z = flow.top.inverse(model.encode(images, y, noise, c)[-1], context=tf.constant(c))
    logits = tf.reduce_mean(z, [1, 2]) @ model.classifier["W"] + model.classifier["b"]
    logits *= tf.exp(3.0 * model.classifier["logs"])
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits) / math.log(2)
    np.testing.assert_allclose(losses["bits_y"], expected, rtol=1e-4)


def test_log_det_is_that_of_the_autodiff_jacobian():
    shape = (4, 4, 1)
    model = conditional(shape, dtype="float64", image_size=4, n_channels=1, n_bits_x=4)
    x, c = model.dequantize(images_for(model.config, 1)), tf.constant(contexts_for(shape, 1), tf.float64)

    @tf.function
    def jacobian_of(flat):
        with tf.GradientTape() as tape:
            tape.watch(flat)
            y = model.flatten_latents(model.bijector.forward(tf.reshape(flat, x.shape), context=c))[0]
        return tape.jacobian(y, flat, experimental_use_pfor=False)

    expected = np.linalg.slogdet(jacobian_of(tf.reshape(x, [-1])))[1]
    log_det = model.bijector.forward_log_det_jacobian(x, context=c)[0]
    np.testing.assert_allclose(log_det, expected, atol=1e-9)


def test_gradients_are_the_finite_differences():
    """Of the loss, for the context and all weights; `conformance_test` has a Scan's, in every mode."""
    shape = (8, 8, 1)
    model = conditional(shape, dtype="float64", keep_bytes=6000)  # Of some steps, something is kept.
    images, c = images_for(model.config, 2), tf.constant(contexts_for(shape, 2), tf.float64)
    noise, rng = noise_for(images), np.random.default_rng(0)

    @tf.function
    def loss_and_gradients(c):
        with tf.GradientTape() as tape:
            tape.watch(c)
            losses = model.losses(images, noise=noise, context=c)["loss"]
            loss = tf.reduce_sum(tf.sin(10 * losses))
        sources = [c, *model.trainable_variables]
        return loss, tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    sources = [tf.Variable(c), *model.trainable_variables]
    _, gradients = loss_and_gradients(c)
    for source, gradient in zip(sources, gradients, strict=True):
        direction, value, losses = rng.normal(size=source.shape), tf.identity(source), []
        for h in (1e-5, -1e-5):
            source.assign(value + h * direction)
            losses.append(loss_and_gradients(tf.convert_to_tensor(sources[0]))[0])
        source.assign(value)
        finite, scale = (losses[0] - losses[1]) / 2e-5, np.linalg.norm(gradient) + 1e-3
        np.testing.assert_allclose(np.sum(gradient * direction) / scale, finite / scale, atol=1e-6)


TINY = dict(image_size=4, n_channels=1, n_levels=1, depth=2, width=4)


@pytest.mark.parametrize("shape", [(3,), pytest.param((4, 4, 1), marks=pytest.mark.slow)], ids=str)
def test_batches_that_only_the_run_knows(shape):
    """And empty ones."""
    model = conditional(shape, **TINY)
    spec = [tf.TensorSpec([None, 4, 4, 1], tf.uint8), tf.TensorSpec([None, *shape])]

    @functools.partial(tf.function, input_signature=spec, autograph=False)
    def ask(images, c):
        with tf.GradientTape() as tape:
            tape.watch(c)
            bits = model.losses(images, noise=tf.zeros(tf.shape(images)), context=c)["loss"]
        return bits, tape.gradient(bits, c)

    images, c = images_for(model.config, 5), contexts_for(shape, 5)
    expected = model.bits_per_dim(images, noise=np.zeros(images.shape), context=c)
    bits, gradient = ask(images, c)
    np.testing.assert_allclose(bits, expected, rtol=1e-5)
    assert np.abs(gradient).reshape(5, -1).max(-1).min() > 0
    assert ask(images[:0], c[:0])[1].shape == [0, *shape]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3,), (4, 4, 1)], ids=str)
def test_compiled_by_xla(shape):
    model = conditional(shape, **TINY)
    images, c = images_for(model.config, 5), tf.constant(contexts_for(shape, 5))

    def ask(c):
        with tf.GradientTape() as tape:
            tape.watch(c)
            bits = model.losses(images, noise=np.zeros(images.shape), context=c)["loss"]
        return bits, tape.gradient(bits, c)

    for ours, reference in zip(tf.function(ask, jit_compile=True)(c), tf.function(ask)(c), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-4)


def test_a_gradient_keeps_nothing_that_grows_with_the_depth():
    """The loops' state, by its shapes, but for the stacked weights: of 4 steps as of 16."""
    kept = []
    for depth in (4, 16):
        config = glow_tf.GlowConfig(**SMALL | dict(depth=depth), context_shape=(8, 8, 1), keep_bytes=0)
        model = glow_tf.Glow(config, seed=0)

        def ask(images, c, model=model):
            with tf.GradientTape() as tape:
                loss = model.losses(images, noise=tf.zeros(images.shape), context=c)["loss"]
            return tape.gradient(loss, model.trainable_variables)

        spec = tf.TensorSpec([2, 8, 8, 3], tf.uint8), tf.TensorSpec([2, 8, 8, 1])
        graph = tf.function(ask).get_concrete_function(*spec).graph
        loops = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
        assert len(loops) == 4
        shapes = itertools.chain.from_iterable((t.shape for t in op.outputs) for op in loops)
        kept.append(sum(math.prod(s) for s in shapes if s.rank and s[0] != depth))
    assert kept[0] == kept[1] > 0


# --- In TFP ---


def test_two_contexts_share_no_result():
    """Whatever holds them: a tensor, an array that is changed, a variable that is assigned."""
    model = conditional((3,))
    x = model.dequantize(images_for(model.config), np.zeros([4, 8, 8, 3], np.float32))
    a, b = contexts_for((3,)), contexts_for((3,), seed=6)
    new = lambda c: np.array(model.bijector.forward_log_det_jacobian(tf.identity(x), context=tf.constant(c)))
    assert np.abs(new(a) - new(b)).min() > 1e-3
    for flow in (model.bijector, tfb.Chain([model.bijector]), model.flow(context=b)):
        chained = isinstance(flow, tfb.Composition)
        tensors = tf.constant(a), tf.constant(b)
        for c, value in zip((*tensors, tensors[0]), (a, b, a), strict=True):
            kwargs = {"glow": {"context": c}} if chained else {"context": c}
            np.testing.assert_allclose(flow.forward_log_det_jacobian(x, **kwargs), new(value), rtol=1e-5)
    flow, array, variable = model.bijector, a.copy(), tf.Variable(a)
    bound = model.flow(context=variable)
    y = [flow.forward(x, context=holder)[0] for holder in (array, variable)] + [bound.forward(x)[0]]
    array[:] = b
    variable.assign(b)
    for before, holder in zip(y, (array, variable, None), strict=True):
        after = bound.forward(x)[0] if holder is None else flow.forward(x, context=holder)[0]
        assert np.abs(before - after).max() > 1e-3
        asked = bound if holder is None else flow
        kwargs = {} if holder is None else {"context": holder}
        np.testing.assert_allclose(asked.forward_log_det_jacobian(x, **kwargs), new(b), rtol=1e-5)


def test_a_sample_knows_its_log_density_given_its_context(monkeypatch):
    """As without one: the same tensor and the same context invert nothing."""
    model = conditional((3,), dtype="float64")  # Of float32 a far sample's density is -inf one way.
    c = tf.constant(0.1 * contexts_for((3,), 2), tf.float64)
    distribution = model.distribution()
    x = distribution.sample(2, seed=1, bijector_kwargs={"glow": {"context": c}})
    with monkeypatch.context() as patched:
        patched.setattr(bijectors.Scan, "_forward_and_log_det", None)
        log_prob = distribution.log_prob(x, bijector_kwargs={"context": c})
        bound = model.distribution(context=c)
        y = bound.sample(seed=1)
        bound.log_prob(y)
    expected = distribution.log_prob(tf.identity(x), bijector_kwargs={"glow": {"context": c}})
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


def test_chains_hand_it_on_by_name():
    shape = (3,)
    new = lambda name, seed: bijectors.GlowStep(4, 5, context_shape=shape, seed=seed, name=name)
    first, second = new("first", 0), new("second", 1)
    for step in (first, second):
        for variable in step.trainable_variables:
            variable.assign_add(0.1 * tf.ones_like(variable))
    x = tf.ones([4, 2, 2, 4])
    a, b = (tf.constant(contexts_for(shape, seed=s)) for s in (1, 2))
    chain = tfb.Chain([second, bijectors.ActNorm(4), first])
    expected = second.forward(first.forward(x, context=a), context=b)
    np.testing.assert_allclose(chain.forward(x, first={"context": a}, second={"context": b}), expected)
    # In a MultiScale, a chain's parts all get the one that it is given.
    whole = bijectors.MultiScale([tfb.Chain([second, tfb.Invert(first)])], [])
    expected = second.forward(first.inverse(x, context=a), context=a)
    np.testing.assert_allclose(whole.forward(x, context=a)[0], expected, atol=1e-6)


def test_a_scan_of_anything():
    """Of TFP's own couplings, and of chains: with a vector as their context, and a gradient to it."""
    rng = np.random.default_rng(0)
    weights = {
        "w": tf.Variable(rng.normal(0, 0.5, (3, 2, 2))),
        "v": tf.Variable(rng.normal(0, 0.5, (3, 3, 2))),
    }

    def make_step(p):
        def shift_and_log_scale(x, _, context):
            h = tf.tanh(tf.tensordot(x, p["w"], 1) + tf.tensordot(context, p["v"], 1))
            return h, 0.5 * h

        return tfb.Chain(
            [tfb.RealNVP(2, shift_and_log_scale_fn=shift_and_log_scale), tfb.Permute([2, 3, 0, 1])]
        )

    x, c = tf.constant(rng.normal(size=(5, 4))), tf.constant(rng.normal(size=(5, 3)))
    flows = [bijectors.Scan(make_step, weights, memory=memory) for memory in ("store", "reverse")]
    gradients = []
    for flow in flows:
        with tf.GradientTape() as tape:
            tape.watch(c)
            loss = tf.reduce_sum(tf.sin(flow.forward(x, context=c)))
            loss += tf.reduce_sum(flow.forward_log_det_jacobian(x, context=c) ** 2)
        gradients.append(tape.gradient(loss, [c, *weights.values()]))
        np.testing.assert_allclose(
            flow.inverse(tf.identity(flow.forward(x, context=c)), context=c), x, atol=1e-9
        )
    for a, b in zip(*gradients, strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_a_random_variable_is_a_context():
    """In a joint distribution, whose log-density has a gradient to it."""
    model = conditional((3,), image_size=4, n_levels=1)

    @tfd.JointDistributionCoroutine
    def joint():
        c = yield tfd.JointDistributionCoroutine.Root(tfd.Sample(tfd.Normal(0.0, 0.1), 3, name="c"))
        yield model.distribution(context=c, name="image")

    for sample_shape in ([], [2], [2, 3]):
        c, image = joint.sample(sample_shape, seed=1)
        assert image.shape == [*sample_shape, 4, 4, 3]
        x = tf.identity(image)
        value, gradient = tfp.math.value_and_gradient(lambda c: joint.log_prob(c, x), c)  # noqa: B023
        assert value.shape == sample_shape and gradient.shape == c.shape
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    c, image = joint.sample(seed=1)
    parts = tfd.Sample(tfd.Normal(0.0, 0.1), 3).log_prob(c), model.distribution(context=c).log_prob(image)
    np.testing.assert_allclose(joint.log_prob(c, image), sum(parts), rtol=1e-4)


def test_batch_shapes():
    model = conditional((8, 8, 1), ycond=True)
    for batch, y in (([], 3), ([2], 3), ([2], [1, 2]), ([3, 1], [1, 2])):
        c = np.zeros([*batch, 8, 8, 1], np.float32)
        expected = list(np.broadcast_shapes(tuple(batch), np.shape(y)))
        distribution = model.distribution(y, context=c)
        assert distribution.batch_shape == expected
        np.testing.assert_array_equal(distribution.batch_shape_tensor(), expected)
        x = distribution.sample(2, seed=1)
        assert x.shape == [2, *expected, 8, 8, 3] and distribution.log_prob(x).shape == [2, *expected]
    with pytest.raises(ValueError, match=r"temperature of shape \(3,\) doesn't fit contexts of shape \(2,\)"):
        model.distribution(3, [1.0, 1.0, 1.0], np.zeros([2, 8, 8, 1], np.float32))
    with pytest.raises(ValueError, match=r"Labels of shape \(3,\) don't fit contexts of shape \(2,\)"):
        model.distribution([1, 2, 3], context=np.zeros([2, 8, 8, 1], np.float32))


class Served(tf.Module):
    """A module with a conditional distribution as an attribute."""

    def __init__(self, model):
        """Takes the model."""
        super().__init__()
        self.distribution = model.distribution()

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3]), tf.TensorSpec([None, 3])])
    def log_prob(self, x, c):
        """Returns nats, [B]."""
        return self.distribution.log_prob(x, bijector_kwargs={"glow": {"context": c}})


def test_saved_model(tmp_path):
    model = conditional((3,), image_size=4, n_levels=1)
    tf.saved_model.save(Served(model), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for n in (1, 3):
        x, c = tf.zeros([n, 4, 4, 3]), tf.constant(contexts_for((3,), n))
        np.testing.assert_allclose(
            loaded.log_prob(x, c), model.distribution(context=c).log_prob(x), rtol=1e-5
        )


def test_checkpoint(tmp_path):
    model, other = conditional((3,), 0), conditional((3,), 1)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    # A checkpoint of before the model had a context is a start: the new weights stay as they are.
    plain, new = small(0), glow_tf.Glow(glow_tf.GlowConfig(**SMALL, context_shape=(3,)), seed=1)
    path = tf.train.Checkpoint(model=plain).save(str(tmp_path / "plain"))
    tf.train.Checkpoint(model=new).restore(path)
    images = images_for(plain.config)
    noise = noise_for(images)
    bits = new.bits_per_dim(images, noise=noise, context=contexts_for((3,)))
    np.testing.assert_allclose(bits, plain.bits_per_dim(images, noise=noise), atol=1e-6)


# --- Keras ---


@pytest.mark.slow
def test_keras_model():
    """It learns, by the context alone, which of two constants an image is; in every method of Keras'."""
    rng = np.random.default_rng(0)
    c = rng.choice([-1.0, 1.0], (64, 1)).astype(np.float32)
    images = (rng.integers(0, 20, (64, 4, 4, 1)) + np.where(c > 0, 200, 20)[..., None, None]).astype(np.uint8)
    glow = glow_tf.Glow(glow_tf.GlowConfig(**TINY, context_shape=(1,)), seed=0)
    glow.initialize(images)
    model = glow_tf.training.GlowModel(glow, micro_batch=6)  # Of batches of 16 and 8: parts, and one whole.
    model.compile(glow_tf.optimizers.Adamax(3e-2))
    x, noise = {"images": images, "context": c}, noise_for(images).astype(np.float32)
    before = np.mean(glow.bits_per_dim(images, noise=noise, context=c))
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(64, int), noise)).batch(16)
    model.fit(dataset, epochs=6, verbose=0)
    evaluated = model.evaluate(dataset, verbose=0, return_dict=True)["bits_x"]
    bits = glow.bits_per_dim(images, noise=noise, context=c)
    np.testing.assert_allclose(evaluated, np.mean(bits), rtol=1e-4)
    np.testing.assert_allclose(model.predict(dataset, verbose=0), bits, rtol=1e-4)
    assert evaluated < before - 0.5
    assert np.mean(glow.bits_per_dim(images, noise=noise, context=-c)) > evaluated + 0.05
    model.compile(glow_tf.optimizers.Adamax(1e-2), weighted_metrics=[], run_eagerly=True)
    model.fit(x, batch_size=32, verbose=0)
    assert model.evaluate(x, np.zeros(64, int), sample_weight=np.zeros(64), verbose=0)[0] == 0


def test_keras_model_refuses_data():
    model = glow_tf.training.GlowModel(conditional((3,)))
    model.compile(glow_tf.optimizers.Adamax(1e-2), run_eagerly=True)
    images = images_for(model.glow.config)
    with pytest.raises(ValueError, match="context is missing"):
        model.evaluate(images, verbose=0)
    with pytest.raises(ValueError, match="images may be a dict of images and context, got"):
        model.evaluate({"images": images, "contexts": contexts_for((3,))}, verbose=0)
    plain = glow_tf.training.GlowModel(small())
    plain.compile(glow_tf.optimizers.Adamax(1e-2), run_eagerly=True)
    with pytest.raises(ValueError, match="isn't conditioned on a context"):
        plain.evaluate({"images": images, "context": contexts_for((3,))}, verbose=0)


def test_keras_file(tmp_path):
    model = glow_tf.training.GlowModel(conditional((2, 2, 3)))
    model.save(str(tmp_path / "model.keras"))
    loaded = tf_keras.models.load_model(str(tmp_path / "model.keras"))
    assert loaded.glow.config == model.glow.config
    for a, b in zip(model.glow.variables, loaded.glow.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_replicas_are_one(two_replicas):
    """A training step of a batch, each half with its half of the contexts."""
    config = glow_tf.GlowConfig(**TINY | dict(depth=1), context_shape=(4, 4, 1))
    images, c = images_for(config, 8), contexts_for((4, 4, 1), 8)
    data = ({"images": images, "context": c}, np.zeros(8, int), noise_for(images).astype(np.float32))
    gradients = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = glow_tf.training.GlowModel(glow_tf.Glow(config, seed=0))
            model.compile(tf_keras.optimizers.SGD(1.0))
        before = [v.numpy() for v in model.glow.variables]
        model.fit(tf.data.Dataset.from_tensor_slices(data).batch(8), verbose=0)
        gradients.append([a - b.numpy() for a, b in zip(before, model.glow.variables, strict=True)])
    assert any(np.abs(g).max() > 0 for g in gradients[0])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# --- What is refused ---


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (3, "got 3"),
        ((3, 3), r"got \(3, 3\)"),
        ("ab", "got 'ab'"),
        ((0,), "at least 1, got 0"),
        ((1.5,), "got 1.5"),
        ((8, 4, 1), "8x8, or that size halved or doubled several times, got 8x4"),
        ((6, 6, 1), "got 6x6"),
        ((3, 3, 1), "got 3x3"),
    ],
    ids=str,
)
def test_context_shapes_that_are_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        glow_tf.GlowConfig(**SMALL, context_shape=shape)


def test_context_shapes_of_levels():
    shapes = lambda **changes: glow_tf.GlowConfig(**SMALL | changes).context_shapes
    assert shapes() == [(), ()]
    assert shapes(context_shape=(3,)) == [(3,), (3,)]
    assert shapes(context_shape=[8, 8, 1]) == [(4, 4, 4), (2, 2, 16)]
    assert shapes(context_shape=(16, 16, 1)) == [(4, 4, 16), (2, 2, 64)]
    assert shapes(context_shape=(2, 2, np.int64(3))) == [(4, 4, 3), (2, 2, 3)]
    assert shapes(image_size=(8, 12), context_shape=(2, 3, 1)) == [(4, 6, 1), (2, 3, 1)]


def methods(model):
    """Returns every method of a Glow that takes a context, by name, as a function of it."""
    images = images_for(model.config)
    eps = [tf.zeros([4, *shape]) for shape in model.config.eps_shapes]
    first = dict.fromkeys(("bits_per_dim", "losses", "encode", "initialize"), images)
    first |= dict(decode=eps, decode_float=eps, sample=4)
    call = lambda name: lambda c: getattr(model, name)(first[name], context=c)
    return {name: call(name) for name in first}


@pytest.mark.parametrize(
    ("shape", "given", "error", "words"),
    [
        ((), np.zeros([4, 3], np.float32), ValueError, "isn't conditioned on a context"),
        ((3,), np.zeros([4, 2], np.float32), ValueError, r"\[B, 3\], .*; got shape \(4, 2\)"),
        ((3,), np.zeros([2, 4, 3], np.float32), ValueError, r"got shape \(2, 4, 3\)"),
        ((3,), np.zeros([5, 3], np.float32), ValueError, "got 5 contexts for 4 images"),
        ((3,), np.zeros([4, 3], int), TypeError, "floats .*; got int64 of shape"),
        ((3,), [["a", "b", "c"]], TypeError, "must be floats"),
        ((3,), 1.0, ValueError, r"got shape \(\)"),
        ((8, 8, 1), np.zeros([4, 8, 8, 2], np.float32), ValueError, r"got shape \(4, 8, 8, 2\)"),
        ((8, 8, 1), np.zeros([4, 8, 8], np.float32), ValueError, r"got shape \(4, 8, 8\)"),
        ((3,), np.full([4, 3], np.nan, np.float32), ValueError, "values that aren't finite"),
        ((3,), [0.0, np.inf, 0.0], ValueError, "values that aren't finite"),
    ],
    ids=str,
)
def test_contexts_that_are_refused(shape, given, error, words):
    """By every method, as a ValueError, and before anything is computed."""
    model = conditional(shape)
    for method in methods(model).values():
        with pytest.raises(error, match=words) as caught:
            method(given)
        assert isinstance(caught.value, ValueError)


def test_a_context_that_is_missing():
    """By every method but `initialize`, which takes zeros for it."""
    model = conditional((3,))
    for name, method in methods(model).items():
        if name != "initialize":
            with pytest.raises(ValueError, match=r"context of the shape \(3,\): context is missing"):
                method(None)
    x = tf.zeros([4, 8, 8, 3])
    for call in (model.bijector.forward, model.distribution().log_prob):
        with pytest.raises(ValueError, match="depend on a context: context is missing"):
            call(x)


def test_contexts_that_only_the_run_knows_are_refused():
    model = conditional((3,))
    images = images_for(model.config)
    run = tf.function(
        lambda x, c: model.bits_per_dim(x, context=c),
        input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec(None)],
    )
    assert run(images, contexts_for((3,))).shape == [4]
    assert run(images, contexts_for((3,))[0]).shape == [4]
    for wrong in ([5, 3], [4, 2], [2, 4, 3]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="context must be floats"):
            run(images, np.zeros(wrong, np.float32))


def test_bijectors_and_networks_that_take_no_context():
    c = tf.zeros([2, 3])
    x = tf.zeros([2, 4, 4, 4])
    new = [
        bijectors.GlowStep(4, 5),
        bijectors.SplitPrior(4),
        bijectors.TopPrior(4),
        bijectors.AffineCoupling(lambda x: tf.concat([x, x], -1)),
        bijectors.AffineCoupling(CouplingNetwork(2, 4, 5)),
        bijectors.MultiScale([bijectors.Squeeze()], []),
        bijectors.Scan(lambda p: bijectors.ActNorm(**p), {"b": tf.zeros([2, 4]), "logs": tf.zeros([2, 4])}),
    ]
    for bijector in new:
        for call in (bijector.forward, bijector.forward_log_det_jacobian):
            with pytest.raises(
                ValueError, match=rf"{bijector.name} takes no context, got one of shape \(2, 3\)"
            ):
                call(x, context=c)
        np.testing.assert_array_equal(
            tf.nest.flatten(bijector.forward(x, context=None))[0], tf.nest.flatten(bijector.forward(x))[0]
        )
    with pytest.raises(ValueError, match="coupling_network takes no context"):
        CouplingNetwork(2, 4, 5)(x[..., :2], c)
    with pytest.raises(ValueError, match="takes no context"):
        bijectors.MultiScale([bijectors.Squeeze()], [], context=c)


@pytest.mark.parametrize(
    ("c", "error", "words"),
    [
        (None, ValueError, "context is missing"),
        (np.zeros([2, 4]), ValueError, "must have 3 entries, got 4"),
        (
            np.zeros([5, 3]),
            ValueError,
            "batch axes of the context, .5,., must broadcast to those of the input",
        ),
        (np.zeros([2, 3], int), TypeError, "must be floats, got int64"),
        (tf.zeros([2, 3], tf.float64), TypeError, "must be float32, got float64"),
        (1.0, ValueError, r"a vector \[..., C\], got shape \(\)"),
    ],
    ids=str,
)
def test_contexts_that_bijectors_refuse(c, error, words):
    x = tf.zeros([2, 4, 4, 4])
    new = [
        (bijectors.GlowStep(4, 5, context_shape=(3,)), x),
        (bijectors.SplitPrior(4, context_shape=(3,)), x),
        (conditional((3,)).flow().flows[0].bijectors[0], tf.zeros([2, 4, 4, 12])),
        (conditional((3,)).bijector, tf.zeros([2, 8, 8, 3])),
    ]
    for bijector, x in new:
        with pytest.raises(error, match=words) as caught:
            bijector.forward(x, context=c)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 8, 1), (8, 8, 2), (4, 4, 3), (3, 3, 2), (1, 3, 2)], ids=str)
def test_images_that_do_not_fit(shape):
    """A step of images of 4x4, whose context has two channels there."""
    for bijector in (
        bijectors.GlowStep(4, 5, context_shape=(4, 4, 2)),
        bijectors.SplitPrior(4, context_shape=(4, 4, 2)),
    ):
        with pytest.raises(
            ValueError, match=f"images of 4x4 must have 2 channels .*; got {'x'.join(map(str, shape))}"
        ):
            bijector.forward(tf.zeros([1, 4, 4, 4]), context=np.zeros([1, *shape], np.float32))


def test_openais_checkpoints_have_no_context(tmp_path):
    model = conditional((3,))
    with pytest.raises(ValueError, match=r"without a context; this one is conditioned .* shape \(3,\)"):
        glow_tf.openai_checkpoint.restore(model, str(tmp_path / "ckpt"))


# --- Sizes ---


def test_at_size():
    """A larger image is squeezed, in Squeeze's order; a smaller one repeated; both at once isn't."""
    image = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 8, 3)))
    squeeze = bijectors.Squeeze()
    np.testing.assert_array_equal(context.at_size(image, 3, 4, 8), image)
    np.testing.assert_array_equal(context.at_size(image, 12, 2, 4), squeeze.forward(image))
    np.testing.assert_array_equal(context.at_size(image, 48, 1, 2), squeeze.forward(squeeze.forward(image)))
    np.testing.assert_array_equal(context.at_size(image, 3, 8, 16), np.repeat(np.repeat(image, 2, 1), 2, 2))
    in_graph = tf.function(lambda image, h, w: context.at_size(image, 3, h, w))
    np.testing.assert_array_equal(in_graph(image, tf.constant(12), tf.constant(8))[:, ::3], image)
