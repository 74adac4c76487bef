"""The random numbers of a request: in TensorFlow's kernels, under XLA, and by NumPy's whole numbers."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from glow_tf import quantization
from glow_tf.serving import image_noise, noise, seeded_latents, seeded_noise

SEEDS = tf.constant([0, 1, -7, 2**31, -(2**63), 2**63 - 1], tf.int64)
SHAPE = (8, 6, 2)


def both(function, *inputs):
    """Returns what a function gives by the kernels, and by XLA."""
    return [tf.function(function, jit_compile=xla)(*inputs).numpy() for xla in (False, True)]


def test_seeded_noise_is_the_kernels_uniform_under_xla_too():
    draw = lambda s: tf.random.stateless_uniform(SHAPE, [s, noise._NOISE], alg="philox")
    wanted = np.stack([draw(s) for s in SEEDS]) / 8
    for found in both(lambda s: seeded_noise(s, SHAPE, 3), SEEDS):
        np.testing.assert_array_equal(found, wanted)


def test_seeded_latents_are_the_kernels_normals_up_to_rounding_under_xla_too():
    draw = lambda s: tf.random.stateless_normal([3072], [s, noise._LATENTS], alg="philox")
    temperature = tf.linspace(0.0, 1.0, len(SEEDS))
    wanted = np.stack([draw(s) for s in SEEDS]) * temperature[:, None].numpy()
    kernels, xla = both(lambda s, t: seeded_latents(s, t, 3072), SEEDS, temperature)
    np.testing.assert_allclose(kernels, wanted, rtol=0, atol=2e-6)
    assert (kernels != xla).mean() <= 1e-4 and np.abs(kernels - xla).max() <= 1e-6


IMAGES = {  # Of several kinds: noise, sparse, dark, two values, flat.
    "random": lambda rng, shape: rng.integers(0, 256, shape),
    "sparse": lambda rng, shape: 255 * (rng.uniform(size=shape) < 0.03),
    "dark": lambda rng, shape: rng.integers(0, 5, shape),
    "two values": lambda rng, shape: 128 * rng.integers(0, 2, shape),
    "flat": lambda rng, shape: np.broadcast_to(np.arange(shape[0])[:, None, None, None] % 256, shape),
}


def own(images, n_bits, dtype=tf.float32):
    return image_noise(quantization.preprocess(images, n_bits, dtype), n_bits)


@pytest.mark.parametrize(
    ("shape", "n_bits"), [((20, 8, 8, 1), 4), ((6, 32, 16, 3), 1), ((2, 256, 256, 3), 8)]
)
def test_image_noise_is_exact_whatever_computes_it(shape, n_bits, rng):
    images = rng.integers(0, 256, shape).astype(np.uint8)
    kernels, xla = both(lambda x: own(x, n_bits), images)
    np.testing.assert_array_equal(kernels, xla)
    np.testing.assert_array_equal(kernels, own(images, n_bits, tf.float64))
    np.testing.assert_array_equal(kernels[1:2], own(images[1:2], n_bits))
    # By whole numbers of 64 bits.
    height, line = shape[1], shape[2] * shape[3]
    across, down, factors, offsets = (np.float64(t) for t in noise._tables(height, line, 2**n_bits))
    modulo = lambda t: t % 4096 + t // 4096
    bins = images.astype(np.int64).reshape(-1, height, line) >> (8 - n_bits)
    sums = modulo((bins * across.astype(np.int64)).sum(2))
    hashes = modulo(sums @ down.astype(np.int64))
    turns = hashes @ (2**13 * factors).astype(np.int64) + (2**13 * offsets).astype(np.int64)
    assert max(sums.max() * down.max(), turns.max()) < 2**24
    u = np.clip(turns % 2**13 / 2**13, noise.EDGE, 1 - noise.EDGE) / 2**n_bits
    np.testing.assert_array_equal(kernels, u.reshape(shape))


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("n_bits", [4, 8])
def test_image_noise_is_uniform_and_independent(kind, n_bits, rng):
    images = IMAGES[kind](rng, (200, 16, 16, 3)).astype(np.uint8)
    _, first = np.unique(images.reshape(200, -1) >> (8 - n_bits), axis=0, return_index=True)
    u = own(images[first], n_bits).numpy().reshape(len(first), -1) * 2**n_bits
    assert stats.kstest(u.ravel(), "uniform").statistic < noise.EDGE + 3 / np.sqrt(u.size)
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size)
    # A row's mean, and a pixel's over the rows, vary as independent numbers' do.
    if len(first) < 50:
        return
    assert 0.8 < u.mean(1).std() * np.sqrt(12 * u.shape[1]) < 1.25
    assert 0.8 < u.mean(0).std() * np.sqrt(12 * u.shape[0]) < 1.25
    rows = np.corrcoef(u)[np.triu_indices(len(u), 1)]
    assert abs(rows.mean()) < 5e-3 and np.mean(np.abs(rows) > 5 / np.sqrt(u.shape[1])) < 1e-3


def test_images_of_the_same_bins_have_the_same_noise(rng):
    images = rng.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    np.testing.assert_array_equal(own(images, 3), own(images // 32 * 32, 3))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_bins_are_whole_numbers_under_xla_too(dtype):
    values, all_bits = np.arange(256, dtype=np.uint8), range(1, 9)
    wanted = np.stack([(values // 2 ** (8 - n)) / 2.0**n - 0.5 for n in all_bits])
    for found in both(lambda x: tf.stack([quantization.preprocess(x, n, dtype) for n in all_bits]), values):
        np.testing.assert_array_equal(found, wanted.astype(dtype.as_numpy_dtype))
