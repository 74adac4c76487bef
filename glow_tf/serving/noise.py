"""The random numbers of a request: each row's depend on that row alone, and are the same on every server.

All are made of whole numbers, whose arithmetic is the same everywhere. TensorFlow's own random floats aren't:
XLA makes others of a seed than the kernels do, though the integers that both make them of are equal.
"""

import math

import numpy as np
import tensorflow as tf

# Two streams of random numbers, so that an image's noise isn't that of a sample with its seed.
_LATENTS, _NOISE = 0, 1
_ALGORITHM = "philox"  # Named, so that it is the same on every device.
_LEAST = np.float32(1e-7)  # Of a uniform number whose logarithm is taken; TensorFlow's own, too.

# Below it every whole number is a float32, and their sums are exact in any order.
_EXACT = 2**24
_TURNS = 2**13  # Parts of a bin.
EDGE = 2.0**-8  # Of a bin: so far from its edges the noise of an image itself stays.


def seeded_latents(seed, temperature, n_dims: int) -> tf.Tensor:
    """Returns the flat latents of samples, float32 [B, n_dims]; row i depends on row i of the inputs alone.

    They are `tf.random.stateless_normal`'s, up to that one's rounding: its Box-Muller transform of pairs of
    Philox's integers,

    ```
    r = sqrt(-2 log(u_1)),  (eps_1, eps_2) = (r sin(2 pi u_2), r cos(2 pi u_2)),
    ```

    in float64. Functions that differ from one processor to another in float64's last bit are the same after
    rounding to float32, but for one number in 10^7 or so.

    Args:
        seed: int64 [B].
        temperature: float32 [B].
        n_dims: int, M; even, as that of every Glow is.
    """
    u = tf.reshape(_uniform(seed, _LATENTS, [n_dims], tf.float64), [-1, n_dims // 2, 2])
    first, second = tf.unstack(u, axis=-1)
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(first, tf.constant(_LEAST, tf.float64))))
    angle = 2.0 * math.pi * second
    eps = tf.stack([radius * tf.sin(angle), radius * tf.cos(angle)], -1)
    eps = tf.cast(tf.reshape(eps, [-1, n_dims]), tf.float32)
    return eps * tf.expand_dims(temperature, 1)


def seeded_noise(seed, image_shape, n_bits: int) -> tf.Tensor:
    """Returns dequantisation noise u, float32 [B, *image_shape]; row i depends on seed i alone.

    It is `tf.random.stateless_uniform`'s, to the last bit, also under XLA.

    Args:
        seed: int64 [B].
        image_shape: ints, (height, width, n_channels).
        n_bits: int, 1 to 8.

    Returns:
        float32, uniform on [0, 2^-n_bits).
    """
    return _uniform(seed, _NOISE, image_shape, tf.float32) * 2.0**-n_bits


def _uniform(seed, stream, shape, dtype):
    """Returns uniform numbers on [0, 1), [B, *shape]: the low 23 bits of Philox's integers."""

    def integers(s):
        bits = tf.random.stateless_uniform(
            shape, tf.stack([s, stream]), minval=None, maxval=None, dtype=tf.int32, alg=_ALGORITHM
        )
        return tf.bitwise.bitwise_and(bits, 2**23 - 1)

    rows = tf.map_fn(integers, seed, fn_output_signature=tf.TensorSpec(shape, tf.int32))
    return tf.cast(rows, dtype) * 2.0**-23


def image_noise(x, n_bits: int) -> tf.Tensor:
    """Returns the dequantisation noise u that is an image's own, a function of its pixels alone.

    A fixed field of noise, turned at each pixel by an amount that is a hash of the whole image,

    ```
    u_i = frac((offset_i + first_i a + second_i b) / 2^13) / 2^n_bits,
    ```

    where a and b, below 2^13, are two sums of all the bins with fixed factors, modulo 4095. So u is uniform
    and independent from pixel to pixel, and from one image to another; the mean over images is that with
    noise that is drawn. It is equal in any batch and on any server: all numbers are whole, below 2^24, and so
    exact in float32, however a runtime orders the operations. Noise nearer than EDGE to an edge of its bin is
    moved there: so what was encoded and decoded, which rounds, is the image itself.

    Args:
        x: float [B, height, width, n_channels], what `quantization.preprocess` returned; the shape but for
            B is static.
        n_bits: int, 1 to 8.

    Returns:
        float32, the shape of `x`, in [EDGE, 1 - EDGE] 2^-n_bits.
    """
    height, width, channels = x.shape[1:]
    across, down, factors, offsets = _tables(height, width * channels, 2**n_bits)
    bins = tf.cast((x + 0.5) * 2.0**n_bits, tf.float32)
    lines = tf.reshape(bins, [-1, height, width * channels])
    sums = _modulo_4095(tf.reduce_sum(lines * across, 2))
    hashes = _modulo_4095(tf.reduce_sum(tf.expand_dims(sums, 2) * down, 1))
    turns = tf.reduce_sum(tf.expand_dims(hashes, 2) * factors, 1) + offsets
    u = tf.clip_by_value(turns - tf.floor(turns), EDGE, 1 - EDGE)
    return tf.reshape(u * 2.0**-n_bits, [-1, height, width, channels])


def _modulo_4095(t):
    """Returns a number equal to t modulo 4095, from 0 to 8190, of a whole number t below 2^24."""
    return t - 4095.0 * tf.floor(t * 2.0**-12)


def _tables(height, line, n_bins):
    """Returns the fixed numbers: factors of each bin in its line, of each line, of each hash, and offsets."""
    rng = np.random.RandomState(0)  # NumPy promises never to change its numbers.
    most = lambda largest: max(1, (_EXACT - 1) // largest)
    across = rng.randint(1, 1 + most((n_bins - 1) * line), [line])
    down = rng.randint(1, 1 + most(8190 * height), [height, 2])
    factors = rng.randint(0, 2**9, [2, height * line]) * 2 + 1  # Odd, so that each reaches every turn.
    offsets = rng.randint(0, _TURNS, [height * line])
    tables = across, down, factors / _TURNS, offsets / _TURNS
    return [table.astype(np.float32) for table in tables]
