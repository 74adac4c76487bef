"""Glow as a whole: configurations, inputs, distribution, saving; replicas are in `runs/devices_test`."""

import functools
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.glow import Glow, GlowConfig

tfd = tfp.distributions
SMALL = dict(image_size=8, n_levels=2, depth=2, width=8)


def images_for(config, n=4, seed=0):
    """Returns random images, uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, *config.image_shape)).astype(np.uint8)


def small(seed=0, **changes) -> Glow:
    """A small model with data-dependent initialisation and every weight moved."""
    model = Glow(GlowConfig(**SMALL | changes), seed=seed)
    for variable, value in zip(model.variables, _moved_values(model.config, seed), strict=True):
        variable.assign(value)
    return model


@functools.cache
def _moved_values(config, seed):
    """Returns the values of the variables; the graph that initialises them takes seconds to build."""
    model = Glow(config, seed=seed)
    model.initialize(images_for(config), np.arange(4) if config.ycond else None)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign_add(tf.constant(rng.normal(0, 0.05, variable.shape), variable.dtype))
    return [tf.convert_to_tensor(variable) for variable in model.variables]


@pytest.mark.parametrize(
    "changes",
    [
        dict(n_bits_x=n, n_channels=c, flow_permutation=p, flow_coupling=k)
        for n, c, p, k in [(3, 2, "shuffle", "affine"), (8, 5, "invconv", "affine")]
    ]
    + [dict(image_size=(4, 8)), dict(ycond=True), dict(dtype="mixed_bfloat16")]
    + [
        pytest.param(changes, marks=pytest.mark.slow)
        for changes in (
            dict(n_bits_x=1, n_channels=1, flow_permutation="reverse", flow_coupling="additive"),
            dict(n_bits_x=5, n_channels=3, flow_permutation="invconv", flow_coupling="additive"),
            dict(learntop=False),
            dict(n_levels=1),
            dict(dtype="float64"),
        )
    ],
    ids=str,
)
def test_round_trip_and_distribution(changes):
    model = small(**changes)
    config = model.config
    images = images_for(config)
    y = np.arange(4) if config.ycond else None
    noise = np.random.default_rng(2).uniform(0, 0.99 / 2**config.n_bits_x, images.shape)
    x = model.dequantize(images, noise)
    eps = model.encode(images, y, noise)
    assert [tuple(e.shape[1:]) for e in eps] == config.eps_shapes
    # bfloat16 rounds inputs that differ by 1e-7 to values that differ by 2^-9.
    atol = 5e-3 if config.dtype == "mixed_bfloat16" else 1e-4
    np.testing.assert_allclose(model.decode_float(eps, y), x, atol=atol)
    bins = 2 ** (8 - config.n_bits_x)
    restored = model.decode(eps, y).numpy().astype(int)
    # A value on the edge of a bin may round to its neighbour.
    assert (restored != images // bins * bins).mean() < 1e-2
    bits = model.bits_per_dim(images, y, noise)
    assert bits.dtype == tf.float32 and bits.shape == [4]
    log_prob = model.distribution(y).log_prob(x)
    expected = config.n_bits_x - np.asarray(log_prob) / (config.n_dims * np.log(2))
    np.testing.assert_allclose(bits, expected, atol=1e-4)
    flat = model.flatten_latents(eps)
    assert flat.shape == [4, config.n_dims]
    for a, b in zip(model.unflatten_latents(flat), eps, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("permutation", "coupling"), [("invconv", "affine"), ("shuffle", "additive"), ("reverse", "affine")]
)
def test_fused_steps_are_the_separate_bijectors(permutation, coupling):
    model = small(dtype="float64", flow_permutation=permutation, flow_coupling=coupling)
    scan = model.flow().flows[0].bijectors[0]
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 4, 4, 12)))
    chain = tfp.bijectors.Chain([scan.step(k) for k in reversed(range(scan.depth))])
    np.testing.assert_allclose(scan.forward(x), chain.forward(x), atol=1e-12)
    np.testing.assert_allclose(scan.inverse(x), chain.inverse(x), atol=1e-12)
    log_det = lambda b: tf.broadcast_to(b.forward_log_det_jacobian(x, 3), [3])
    np.testing.assert_allclose(log_det(scan), log_det(chain), rtol=1e-12)


def test_log_det_is_that_of_the_autodiff_jacobian():
    model = small(dtype="float64", image_size=4, n_channels=1, n_bits_x=4)
    x = model.dequantize(images_for(model.config, 1))
    with tf.GradientTape(persistent=True) as tape:
        flat = tf.reshape(x, [-1])
        tape.watch(flat)
        y = model.flatten_latents(model.bijector.forward(tf.reshape(flat, x.shape)))[0]
    jacobian = tape.jacobian(y, flat, experimental_use_pfor=False)
    expected = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(model.bijector.forward_log_det_jacobian(x)[0], expected, atol=1e-9)


def test_initialize_normalises_every_channel():
    model = Glow(GlowConfig(**SMALL), seed=0)
    images = images_for(model.config, 64)
    noise = np.zeros(images.shape, np.float32)
    model.initialize(images, noise=noise)
    scan, squeeze = model.flow().flows[0].bijectors
    y = scan.step(0).actnorm.forward(squeeze.forward(model.dequantize(images, noise)))
    np.testing.assert_allclose(tf.reduce_mean(y, [0, 1, 2]), 0, atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(y, [0, 1, 2]), 1, atol=1e-3)


@pytest.mark.parametrize("n", [0, 1])
def test_initialisation_from_values_without_spread_is_refused(n):
    """One image and a 1x1 top, or none at all; the model stays as it was."""
    model = Glow(GlowConfig(image_size=4, n_channels=1, n_levels=2, depth=2, width=4), seed=0)
    before = [v.numpy() for v in model.variables]
    words = (
        "needs images, got none"
        if n == 0
        else "on level 1, the values that actnorm of step 0 normalises don't differ in 8 of 8"
    )
    with pytest.raises(ValueError, match=words):
        model.initialize(images_for(model.config, n))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    model.initialize(images_for(model.config, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["invconv_W", "l_1_W"])
def test_initialisation_from_values_that_are_no_numbers_is_refused(key, value):
    model = Glow(GlowConfig(image_size=4, n_channels=1, n_levels=1, depth=2, width=4), seed=0)
    weights = model.levels[0][key].numpy()
    weights[0].flat[:] = value
    model.levels[0][key].assign(weights)
    with pytest.raises(ValueError, match="level 0, the values that l_1 of step 0 normalises aren't finite"):
        model.initialize(images_for(model.config, 8))
    np.testing.assert_array_equal(model.levels[0]["actnorm_b"], 0)


@pytest.mark.parametrize(("n_bits", "top"), [(3, 7), (3, 31), (1, 127), (5, 0)])
def test_images_in_one_bin_are_warned_of(n_bits, top):
    model = Glow(
        GlowConfig(image_size=4, n_channels=1, n_levels=1, depth=1, width=4, n_bits_x=n_bits), seed=0
    )
    images = images_for(model.config, 8)
    with pytest.warns(
        UserWarning, match=rf"from 0 to {top}, .* 0 to 255: n_bits_x={n_bits} keeps the top bits"
    ):
        model.initialize(np.minimum(images, top))
    with warnings.catch_warnings(action="error"):
        model.initialize(images)


def test_noise_given_or_seeded_is_not_random():
    model = small()
    images = images_for(model.config)
    noise = np.full(images.shape, 1e-3, np.float32)
    same = lambda **kw: np.array_equal(model.bits_per_dim(images, **kw), model.bits_per_dim(images, **kw))
    assert same(noise=noise) and same(seed=3) and same(seed=[3, 4]) and not same()


def test_sample():
    model = small(ycond=True)
    images = model.sample(3, y=[0, 1, 2], seed=5)
    assert images.dtype == tf.uint8 and images.shape == [3, 8, 8, 3]
    np.testing.assert_array_equal(images, model.sample(3, y=[0, 1, 2], seed=5))
    cold = model.sample(2, y=1, temperature=0.0)
    np.testing.assert_array_equal(cold[0], cold[1])
    batch = model.distribution(y=[0, 1], temperature=[0.5, 1.0])
    assert batch.batch_shape == [2] and batch.event_shape == [8, 8, 3]
    assert batch.sample(3, seed=1).shape == [3, 2, 8, 8, 3]
    log_prob = batch.log_prob(batch.sample(seed=1))
    assert log_prob.shape == [2] and np.isfinite(log_prob).all()


def test_log_prob_of_distribution_with_temperature():
    model = small()
    x = model.dequantize(images_for(model.config))
    eps = model.flatten_latents(model.bijector.forward(x))
    log_det = model.bijector.forward_log_det_jacobian(x)
    expected = tf.reduce_sum(tfd.Normal(0.0, 0.7).log_prob(eps), -1) + log_det
    actual = model.distribution(temperature=0.7).log_prob(tf.identity(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_dynamic_batch():
    model = small()
    spec = tf.TensorSpec([None, 8, 8, 3], tf.uint8)
    run = tf.function(lambda x: model.bits_per_dim(x, seed=1), input_signature=[spec])
    images = images_for(model.config)
    np.testing.assert_allclose(run(images), model.bits_per_dim(images, seed=1), atol=1e-5)


@pytest.mark.parametrize(
    ("memory", "n_levels"),
    [("store", 1), ("recompute", 1), pytest.param("reverse", 2, marks=pytest.mark.slow)],
)
def test_gradients_of_empty_batches(memory, n_levels):
    """They are 0, in eager and in graphs."""
    config = GlowConfig(**SMALL | dict(n_levels=n_levels, depth=4, memory=memory, ycond=True))
    model = Glow(config, seed=0)

    def ask(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model.losses(x, y, 0.1)["loss"])
        return tape.gradient(loss, model.levels[0])

    spec = [tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([None], tf.int64)]
    for run in (ask, tf.function(ask, input_signature=spec, autograph=False)):
        gradients = run(np.zeros([0, 8, 8, 3], np.uint8), np.zeros([0], np.int64))
        assert not any(np.any(g) for g in gradients.values() if g is not None)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(dict(ycond=True), marks=pytest.mark.slow),
        dict(flow_permutation="shuffle", flow_coupling="additive", n_levels=1),
    ],
)
def test_empty_batches(changes):
    """Shapes with a 0, in eager and in graphs."""
    model = Glow(GlowConfig(**SMALL | changes), seed=0)
    ycond = model.config.ycond
    spec = [tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([None], tf.int64)]

    def ask(x, y):
        y = y if ycond else None
        losses, distribution = model.losses(x, y, 0.1), model.distribution(y)
        log_prob = distribution.log_prob(model.dequantize(x))
        return (
            [model.bits_per_dim(x, y), *losses.values(), log_prob],
            [model.sample(0, y), distribution.sample(0), model.decode(model.encode(x, y), y)],
        )

    for run in (ask, tf.function(ask, input_signature=spec, autograph=False)):
        rows, images = run(np.zeros([0, 8, 8, 3], np.uint8), np.zeros([0], np.int64))
        assert all(row.shape == [0] for row in rows)
        assert [image.shape[0] for image in images] == [0] * 3
        assert all(image.shape[-3:] == [8, 8, 3] for image in images)
    assert model.flatten_latents(
        model.encode(np.zeros([0, 8, 8, 3], np.uint8), [] if ycond else None)
    ).shape == [0, 192]


def test_checkpoint(tmp_path):
    model, other = small(0), small(1)
    images, noise = images_for(model.config), np.zeros((4, 8, 8, 3), np.float32)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(
        model.bits_per_dim(images, noise=noise), other.bits_per_dim(images, noise=noise)
    )


def test_number_of_variables_does_not_depend_on_depth():
    count = lambda depth: len(Glow(GlowConfig(**SMALL | dict(depth=depth))).variables)
    assert count(1) == count(5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(image_size=30), ["30", "8"]),
        (dict(image_size=32, n_levels=6), ["32", "64"]),
        (dict(image_size=(32, 20)), ["20", "8"]),
        (dict(n_bits_x=0), ["n_bits_x", "0"]),
        (dict(n_bits_x=9), ["n_bits_x", "9"]),
        (dict(depth=0), ["depth", "0"]),
        (dict(n_channels=0), ["n_channels"]),
        (dict(flow_permutation="mirror"), ["mirror", "invconv"]),
        (dict(flow_coupling="none"), ["none", "additive"]),
        (dict(memory="swap"), ["swap", "reverse"]),
        (dict(dtype="int8"), ["int8", "float32"]),
    ],
)
def test_bad_configurations(changes, words):
    with pytest.raises(ValueError) as error:
        GlowConfig(**changes)
    assert all(word in str(error.value) for word in words), error.value


def test_bad_inputs():
    model = small()
    images = images_for(model.config)
    with pytest.raises(TypeError, match="float32"):
        model.bits_per_dim(images.astype(np.float32))
    with pytest.raises(ValueError, match="shape"):
        model.bits_per_dim(images[:, :4])
    with pytest.raises(ValueError, match="shape"):
        model.encode(images[..., :1])
    with pytest.raises(ValueError, match="eps|Latents"):
        model.decode([np.zeros((1, 2, 2, 3))])
    eps = model.unflatten_latents(np.zeros((2, 192)))
    for wrong in (eps[::-1], eps[:1], [eps[0], eps[1][:1]], [eps[0], eps[1][0]], [*eps, eps[1]]):
        for function in (model.decode, model.flatten_latents):
            with pytest.raises(ValueError, match=r"one B for all, for the shapes \[.*got \[\("):
                function(wrong)
    for shape in ((1, 7), (192,), (2, 1, 192)):
        with pytest.raises(ValueError, match=re.escape(f"must be [B, 192], got shape {shape}")):
            model.unflatten_latents(np.zeros(shape))
    for weight in (-1, -1e-3, np.nan, np.inf, "1", True):
        with pytest.raises(ValueError, match="weight_y must be a finite number of at least 0, got"):
            model.losses(images, weight_y=weight)
    with pytest.raises(ValueError, match="-1"):
        model.sample(1, temperature=-1.0)


def test_bad_labels():
    model = small(ycond=True)
    images = images_for(model.config)
    for call in (model.bits_per_dim, model.encode, model.losses):
        with pytest.raises(ValueError, match="y is missing"):
            call(images)
    with pytest.raises(ValueError, match="0 to 9, got 10"):
        model.bits_per_dim(images, [0, 1, 2, 10])
    with pytest.raises(ValueError, match="got -1"):
        model.sample(1, [-1])
    with pytest.raises(TypeError, match="float"):
        model.encode(images, np.zeros(4, np.float32))
    run = tf.function(
        model.bits_per_dim,
        input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([None], tf.int32)],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="0 to 9"):
        run(images, [0, 1, 2, 10])
