"""What a Glow is given: labels, noise, seeds, temperatures, numbers, configurations; also in graphs."""

import functools
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from glow_tf import inputs, openai_checkpoint, serving
from glow_tf.glow import Glow, GlowConfig
from glow_tf.training import GlowModel

N, N_Y = 3, 200  # Images; labels, more than int8 holds.
TINY = dict(image_size=4, n_channels=1, n_levels=1, depth=1, width=2, n_bits_x=4)
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
REFUSED = (ValueError, tf.errors.InvalidArgumentError)
bounded = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.fixture(scope="module")
def with_labels():
    """A tiny model that its labels matter to."""
    model = Glow(GlowConfig(**TINY, ycond=True, n_y=N_Y), seed=0)
    w = model.top["y_emb_W"]
    w.assign(np.random.default_rng(0).normal(0, 0.1, w.shape))
    return model


@pytest.fixture(scope="module")
def without_labels():
    """A tiny model."""
    return Glow(GlowConfig(**TINY), seed=0)


@pytest.fixture(scope="module")
def images():
    """Random images."""
    return np.random.default_rng(0).integers(0, 256, (N, 4, 4, 1)).astype(np.uint8)


# --- Labels ---

shapes = st.sampled_from([(), (0,), (1,), (N,), (N + 1,), (N, 1), (1, N), (N, N_Y), (1, 1, 1)])
dtypes = st.sampled_from([*INTEGERS, "float16", "float32", "float64", "bool", "U1"])
forms = st.sampled_from(["array", "list", "tensor", "graph", "graph of unknown shape"])


@functools.cache
def labels_in_graph(rank, dtype):
    """Returns a tf.function of labels whose number, or also whose rank, isn't known."""
    spec = tf.TensorSpec(None if rank is None else [None] * rank, "string" if dtype == "U1" else dtype)
    return tf.function(lambda y: inputs.labels(y, N_Y, N), input_signature=[spec])


@given(shape=shapes, dtype=dtypes, form=forms, data=st.data())
@bounded
def test_labels_of_any_shape_and_type(shape, dtype, form, data):
    top = 1 if dtype in ("bool", "U1") else min(N_Y - 1, 120)
    value = np.full(shape, data.draw(st.integers(0, top))).astype(dtype)
    if form == "list":
        value = value.tolist()
        dtype = np.asarray(value).dtype.name if value != [] else "int64"
    good = shape in ((), (N,)) and np.dtype(dtype).kind in "iu"

    def run():
        if form in ("array", "list"):
            return inputs.labels(value, N_Y, N)
        tensor = tf.constant(value)
        if form == "tensor":
            return inputs.labels(tensor, N_Y, N)
        return labels_in_graph(len(shape) if form == "graph" else None, dtype)(tensor)

    if not good:
        with pytest.raises(REFUSED, match="Labels"):
            run()
        return
    result = run()
    assert result.dtype == tf.int64
    np.testing.assert_array_equal(tf.broadcast_to(result, [N]), np.broadcast_to(value, [N]))


@given(label=st.integers(-(2**63), 2**63 - 1), graph=st.booleans())
@bounded
def test_labels_out_of_range(label, graph):
    run = labels_in_graph(0, "int64") if graph else lambda y: inputs.labels(y, N_Y, N)
    if 0 <= label < N_Y:
        assert run(tf.constant(label, tf.int64)) == label
    else:
        with pytest.raises(REFUSED, match=f"from 0 to {N_Y - 1}"):
            run(tf.constant(label, tf.int64))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros((N, 1), int), ["(3, 1)", "labels[:, 0]"]),
        (np.eye(N_Y)[:N], ["(3, 200)", "argmax"]),
        ([0, 1], ["2 labels", "3 images"]),
        ([0, [1]], ["[0, [1]]"]),
        (2**70, [str(2**70)]),
        ("1", ["'1'"]),
    ],
)
def test_wrong_labels_are_told(with_labels, images, y, words):
    with pytest.raises(ValueError) as error:
        with_labels.bits_per_dim(images, y)
    assert all(word in str(error.value) for word in ["Labels", *words]), error.value


def test_labels_of_every_type_are_the_same_labels(with_labels, images):
    y = [0, 7, 120]
    expected = with_labels.bits_per_dim(images, y, seed=1)
    assert len(set(expected.numpy())) == N
    signature = lambda dtype, rank: [tf.TensorSpec([None, 4, 4, 1], tf.uint8), tf.TensorSpec(rank, dtype)]
    call = lambda x, y: with_labels.bits_per_dim(x, y, seed=1)
    for dtype in INTEGERS:
        np.testing.assert_array_equal(call(images, np.array(y, dtype)), expected)
    for rank in ([None], None):
        run = tf.function(call, input_signature=signature(tf.uint8, rank), autograph=False)
        np.testing.assert_allclose(run(images, tf.constant(y, tf.uint8)), expected, atol=1e-5)
        for wrong in ([0, 7], [0, 7, 200]):
            with pytest.raises(tf.errors.InvalidArgumentError, match="Labels"):
                run(images, tf.constant(wrong, tf.uint8))
    np.testing.assert_array_equal(call(images, 7), call(images, [7] * N))


def calls(model, images, y):
    """Yields (name, call) of everything that takes labels."""
    eps = [tf.zeros([N, 2, 2, 4])]
    yield "bits_per_dim", lambda: model.bits_per_dim(images, y)
    yield "losses", lambda: model.losses(images, y, 0.1)["loss"]
    yield "encode", lambda: model.encode(images, y)
    yield "decode", lambda: model.decode(eps, y)
    yield "decode_float", lambda: model.decode_float(eps, y)
    yield "sample", lambda: model.sample(N, y)
    yield "flow", lambda: model.flow(y)
    yield "distribution", lambda: model.distribution(y)


def test_every_call_checks_its_labels(with_labels, without_labels, images):
    for _, call in calls(with_labels, images, np.uint8(3)):
        call()
    for y in (np.zeros((N, 1), int), np.eye(N_Y)[:N], np.zeros(N), -1):
        for name, call in calls(with_labels, images, y):
            with pytest.raises(ValueError, match="Labels"):
                print(name, call())
    for name, call in calls(without_labels, images, [0] * N):
        with pytest.raises(ValueError, match="isn't conditioned on labels"):
            print(name, call())
    without_labels.initialize(images, [0] * N)  # As the original: nothing there depends on labels.


# --- Noise ---


@functools.cache
def noise_in_graph(dtype):
    """Returns a tf.function of noise of an unknown shape."""
    make = lambda u: inputs.noise(u, tf.zeros([N, 4, 4, 1]), 4)
    return tf.function(make, input_signature=[tf.TensorSpec(None, dtype)])


@given(
    shape=st.sampled_from([(), (1,), (4, 4, 1), (1, 4, 4, 1), (N, 4, 4, 1), (N, 4, 4, 3), (N, 1, 1, 1)]),
    dtype=st.sampled_from(["float16", "float32", "float64", "int64", "bool"]),
    value=st.sampled_from(
        [0.0, 0.03, np.nextafter(np.float32(1 / 16), np.float32(0)), 1 / 16, -1e-7]
        + [np.nan, np.inf, -np.inf, 1.0]
    ),
    graph=st.booleans(),
)
@bounded
def test_noise(shape, dtype, value, graph):
    with warnings.catch_warnings(action="ignore"):  # A NaN as an integer.
        noise = np.full(shape, value).astype(dtype)
    noise.flat[1:] = 0  # One wrong value is enough.
    run = noise_in_graph(dtype) if graph else lambda u: inputs.noise(u, tf.zeros([N, 4, 4, 1]), 4)
    inside = bool(np.all((noise >= 0) & (noise < 1 / 16)))
    if shape == (N, 4, 4, 1) and noise.dtype.kind == "f" and inside:
        np.testing.assert_array_equal(run(noise), noise.astype(np.float32))
    else:
        with pytest.raises(REFUSED, match=r"noise must be floats in \[0, 2\^-n_bits_x\) = \[0, 0.0625\)"):
            run(noise)


def test_noise_just_below_the_limit_in_float64_is_noise(without_labels, images):
    noise = np.full(images.shape, np.nextafter(1 / 16, 0))
    assert np.isfinite(without_labels.bits_per_dim(images, noise=noise)).all()


# --- Seeds ---


def as_every_integer(seed):
    """Yields a number, or a pair, in every type of integers that holds it."""
    yield seed
    yield tf.constant(seed, tf.int64)
    yield tf.Variable(seed, dtype=tf.int64)
    for dtype in INTEGERS[:-1]:
        if np.all(np.asarray(seed) <= np.iinfo(dtype).max) and np.all(
            np.asarray(seed) >= np.iinfo(dtype).min
        ):
            yield np.array(seed, dtype)[()]
            yield tf.constant(np.array(seed, dtype))


def recorded(seed):
    """What a Python int, or a pair of them, has always given: by the dtype that TensorFlow chooses."""
    seed = tf.convert_to_tensor(seed)
    seed = tf.stack([seed, tf.zeros_like(seed)]) if seed.shape.rank == 0 else seed
    return tf.random.split(seed, 2), tf.random.stateless_uniform([4], seed)


@given(
    seed=st.sampled_from(
        [0, 7, -3, 127, 255, 2**31 - 1, -(2**31), 2**31, 2**40, -(2**35), -(2**63), 2**63 - 1]
    )
    | st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 9)).map(list)
)
@settings(bounded, max_examples=20)
def test_a_number_is_the_same_seed_in_every_type(seed):
    split, uniform = recorded(seed)
    graph = tf.function(lambda s: inputs.split_seed(inputs.stateless_seed(s), 2))
    for value in as_every_integer(seed):
        pair = inputs.stateless_seed(value)
        np.testing.assert_array_equal(tf.stack(inputs.split_seed(pair, 2)), tf.cast(split, tf.int64))
        np.testing.assert_array_equal(tf.random.stateless_uniform([4], pair), uniform)
    wide = tf.constant(seed, tf.int64)
    np.testing.assert_array_equal(tf.stack(graph(wide)), tf.cast(split, tf.int64))


def test_seeds_of_samples_and_of_noise(without_labels, images):
    sample = lambda s: without_labels.sample(2, seed=s).numpy()
    bits = lambda s: without_labels.bits_per_dim(images, seed=s).numpy()
    for seed, values in ((7, [np.uint8(7), np.int64(7)]), ([3, -4], [np.array([3, -4])])):
        expected = sample(seed), bits(seed)
        for value in values:
            np.testing.assert_array_equal(sample(value), expected[0])
            np.testing.assert_array_equal(bits(value), expected[1])
    assert not np.array_equal(sample(8), sample(7)) and not np.array_equal(bits(8), bits(7))


@pytest.mark.parametrize(
    "seed", [1.0, True, "7", [1, 2, 3], [[1]], [1.5, 2], 2**63, np.uint64(2**63), -(2**64)]
)
def test_wrong_seeds_are_told(without_labels, images, seed):
    for call in (
        lambda: without_labels.sample(1, seed=seed),
        lambda: without_labels.dequantize(images, seed=seed),
    ):
        with pytest.raises(ValueError, match="seed must be an integer"):
            call()


# --- Temperatures and numbers ---

TEMPERATURES = [
    -1.0,
    -1e-30,
    np.nan,
    np.inf,
    -np.inf,
    "hot",
    None,
    True,
    1j,
    1e300,
    [1.0, -1.0],
    [[1], [2, 3]],
]


@pytest.mark.parametrize("temperature", TEMPERATURES, ids=str)
def test_wrong_temperatures_are_told(without_labels, temperature):
    for call in (without_labels.sample, lambda _, **kw: without_labels.distribution(**kw)):
        with pytest.raises(ValueError, match="temperature must be a finite number of at least 0"):
            call(2, temperature=temperature)


def test_temperatures_that_only_the_run_knows_are_told(without_labels):
    for call in (without_labels.sample, lambda _, **kw: without_labels.distribution(**kw).sample(2)):
        run = tf.function(lambda t, call=call: call(2, temperature=t), autograph=False)
        run(tf.constant(0.5))
        for temperature in (-1.0, -1e-30, np.nan, np.inf, -np.inf):
            with pytest.raises(tf.errors.InvalidArgumentError, match="temperature must be a finite number"):
                run(tf.constant(temperature))


def test_shapes_of_temperatures(with_labels):
    assert with_labels.sample(2, 1, [0, 1]).shape == [2, 4, 4, 1]
    assert with_labels.distribution(1, 0).sample().shape == [4, 4, 1]
    with pytest.raises(ValueError, match=r"\[n\] = \[2\], got \(3,\)"):
        with_labels.sample(2, 1, [0, 1, 2])
    with pytest.raises(ValueError, match=r"\(3,\) doesn't fit labels of shape \(2,\)"):
        with_labels.distribution([1, 2], [0, 1, 2])


@pytest.mark.parametrize("wrap", [tf.Variable, lambda t: tfp.util.DeferredTensor(tf.Variable(t), tf.exp)])
@pytest.mark.parametrize("start", [0.5, [0.5, 1.0]], ids=["scalar", "batch"])
def test_a_variable_temperature_is_followed_and_has_a_gradient(with_labels, wrap, start):
    temperature = wrap(tf.constant(start))
    variable = temperature if isinstance(temperature, tf.Variable) else temperature.pretransformed_input
    distribution = with_labels.distribution([1, 2], temperature)
    x = lambda: tf.zeros([2, 4, 4, 1])
    graph = tf.function(lambda x: distribution.log_prob(x))
    for _ in range(2):
        expected = with_labels.distribution([1, 2], tf.convert_to_tensor(temperature)).log_prob(x())
        np.testing.assert_allclose(distribution.log_prob(x()), expected, rtol=1e-5)
        np.testing.assert_allclose(graph(x()), expected, rtol=1e-5)
        variable.assign(2 * variable)
    with tf.GradientTape() as tape:
        log_prob = tf.reduce_sum(distribution.log_prob(x()))
    assert np.all(np.asarray(tape.gradient(log_prob, variable)) != 0)
    assert any(v is variable for v in distribution.trainable_variables)
    assert distribution.sample(3, seed=1).shape == [3, 2, 4, 4, 1]
    if variable is temperature:
        variable.assign(-variable)
        with pytest.raises(ValueError, match="temperature must be"):
            distribution.log_prob(x())
        with pytest.raises(tf.errors.InvalidArgumentError, match="temperature must be"):
            graph(x())


def test_number_of_samples(without_labels):
    for n in (2, np.int64(2), np.uint8(2), tf.constant(2), tf.constant(2, tf.int64)):
        assert without_labels.sample(n).shape == [2, 4, 4, 1]
    for n in (
        -1,
        2.0,
        "2",
        None,
        True,
        [2],
        np.float32(2),
        tf.constant(-1),
        tf.constant(2.0),
        tf.constant([2]),
    ):
        with pytest.raises(ValueError, match="n must be"):
            without_labels.sample(n)
    run = tf.function(without_labels.sample, input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
    assert run(3).shape == [3, 4, 4, 1] and run(0).shape == [0, 4, 4, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="n must be at least 0"):
        run(-1)


# --- Configurations ---

WRONG = ["3", 3.0, 2.5, float("nan"), True, None, [3], {}, np.float32(3), b"3"]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    "name", ["n_channels", "n_levels", "depth", "width", "n_y", "n_bits_x", "image_size"]
)
def test_wrong_numbers_in_a_configuration(name, value):
    with pytest.raises(ValueError, match=f"{name} must be an integer") as error:
        GlowConfig(**{name: value})
    assert repr(value) in str(error.value) or repr(tuple(value)) in str(error.value)
    assert isinstance(error.value, TypeError) or name == "image_size"


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("learntop", "ycond") for value in ("yes", 1, None, [True])]
    + [
        (name, value)
        for name in ("flow_permutation", "flow_coupling", "memory", "dtype")
        for value in (2, None, [])
    ]
    + [
        ("image_size", value)
        for value in ([32], (32, 32, 32), [], [32, "32"], (32.0, 32), [32, None], "3232")
    ]
    + [("image_size", value) for value in ((0, 8), [8, -8], {8}, np.array([8, 8]))],
    ids=str,
)
def test_wrong_values_in_a_configuration(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        GlowConfig(**{name: value})


HUGE = 10**5000  # Python writes no integer of as many digits.


@pytest.mark.parametrize(
    "call",
    [
        *(
            lambda name=name: GlowConfig(**{name: -HUGE})
            for name in ("depth", "n_y", "image_size", "keep_bytes")
        ),
        lambda: GlowConfig(n_bits_x=HUGE),
        lambda: GlowConfig(image_size=HUGE + 1),
        lambda: GlowConfig(image_size=32, n_levels=10**5),
        lambda: GlowConfig(image_size=32, n_levels=10**15),
        lambda: GlowConfig(image_size=32, n_levels=HUGE),
        lambda: GlowConfig(context_shape=(-HUGE,)),
        lambda: GlowConfig(memory=HUGE),
        lambda: Glow(GlowConfig(**TINY), seed=-HUGE),
        lambda: inputs.stateless_seed(HUGE),
        lambda: inputs.stateless_seed([HUGE, 0]),
        lambda: inputs.labels([HUGE, 0], 3),
        lambda: inputs.labels(["x" * 9999], 3),
        lambda: inputs.temperature(HUGE, tf.float32),
        lambda: inputs.require_number("x", -HUGE, 0),
    ],
)
def test_huge_values_are_told_too(call):
    with pytest.raises(ValueError, match="must be|must have") as error:
        call()
    assert len(str(error.value)) < 500


def test_shapes_of_tensors_are_sizes():
    x = tf.zeros([2, 8, 16, 3])
    config = GlowConfig(image_size=x.shape[1:3], n_levels=2, context_shape=x.shape[1:])
    assert config.image_size == (8, 16) and config.context_shape == (8, 16, 3)
    assert hash(config) and config == GlowConfig(image_size=(8, 16), n_levels=2, context_shape=(8, 16, 3))
    assert GlowConfig(context_shape=tf.TensorShape([])).context_shape == ()
    for shape in ([None], None, [0], [2, 2], [None, 8, 1]):
        with pytest.raises(ValueError, match="context_shape must be"):
            GlowConfig(context_shape=tf.TensorShape(shape))
        with pytest.raises(ValueError, match="image_size must be"):
            GlowConfig(image_size=tf.TensorShape([*shape, None] if shape else shape))


RAGGED, SPARSE = tf.ragged.constant([[1.0], [1.0, 2.0]]), tf.sparse.from_dense([[1.0, 0.0]])
MASKED = np.ma.masked_equal([0, 1], 1)


@pytest.mark.parametrize(
    "value", [None, RAGGED, SPARSE, MASKED, [None, 1], np.array([None]), [[1], [2, 3]], {}, "x"]
)
def test_what_is_no_array_is_told(value):
    for name, call in {
        "Images": lambda: inputs.images(value, (4, 4, 1)),
        "Labels": lambda: inputs.labels(value, 3),
        "noise": lambda: inputs.noise(value, tf.zeros([1, 4, 4, 1]), 4),
        "temperature": lambda: inputs.temperature(value, tf.float32),
        "context": lambda: inputs.context(value, (2,), tf.float32),
        "seed": lambda: inputs.stateless_seed([1, 2, 3] if value is None else value),
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be|{name} must have"):
            call()


@pytest.mark.parametrize("shape", [(4, 4, 1), (1, 2, 4, 4, 1), (4, 4), (2, 4, 4, 3)])
def test_images_to_initialise_from_are_one_batch(without_labels, shape):
    with pytest.raises(ValueError, match=r"Images must be \[B, 4, 4, 1\], got shape"):
        without_labels.initialize(np.zeros(shape, np.uint8))


def test_a_pair_of_tensors_of_two_types_is_a_seed():
    expected = inputs.stateless_seed([3, 5])
    for first in ("int32", "int64"):
        for second in ("int32", "int64"):
            pair = [tf.constant(3, first), tf.constant(5, second)]
            np.testing.assert_array_equal(inputs.stateless_seed(pair), expected)
            graph = tf.function(lambda a, b: inputs.stateless_seed((a, b)))
            np.testing.assert_array_equal(graph(*pair), expected)
    with pytest.raises(ValueError, match="seed must be an integer"):
        inputs.stateless_seed([tf.constant(3), tf.constant(5.0)])


@pytest.mark.parametrize("value", [None, "x", 3, dict(TINY), GlowConfig], ids=str)
def test_what_is_no_model_is_told(value, tmp_path):
    with pytest.raises(ValueError, match=r"config must be a glow_tf\.GlowConfig, got "):
        Glow(value)
    with pytest.raises(ValueError, match=r"glow must be a glow_tf\.Glow, got "):
        GlowModel(value)
    for call in (serving.FrozenGlow, lambda model: serving.export(model, tmp_path)):
        with pytest.raises(ValueError, match=r"model must be a glow_tf\.Glow, got "):
            call(value)
    with pytest.raises(ValueError, match=r"model must be a glow_tf\.Glow, got "):
        openai_checkpoint.restore(value, "x")
    assert not list(tmp_path.iterdir())


def test_a_configuration_of_numpys_numbers_and_of_json():
    config = GlowConfig(
        image_size=[np.int64(8), 16],
        n_levels=np.uint8(2),
        learntop=np.True_,
        n_bits_x=np.int32(5),
        dtype=tf.float64,
    )
    assert config == GlowConfig(image_size=(8, 16), n_levels=2, learntop=True, n_bits_x=5, dtype="float64")
    assert hash(config) and config.image_shape == (8, 16, 3)
    assert all(type(value) in (int, str, bool, tuple) for value in vars(config).values())


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_wrong_seeds_of_a_model_are_told(seed):
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        Glow(GlowConfig(**TINY), seed=seed)
