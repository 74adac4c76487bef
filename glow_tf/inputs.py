"""What a Glow is given besides images, checked: labels, contexts, noise, seeds, temperatures, numbers.

What is known while Python runs is refused there, by a ValueError that says what was given and what is
allowed; what only the run of a graph knows, by that run, as a tf.errors.InvalidArgumentError.
"""

import math
import numbers

import numpy as np
import tensorflow as tf

_MOST_SHOWN = 200  # Characters of a wrong value.


class WrongTypeError(TypeError, ValueError):
    """A value of a wrong type: whoever catches ValueErrors catches all that is refused here."""

    __init__ = Exception.__init__  # AutoGraph raises only such as they are.


def require_int(name: str, value, least: int, most: int | None = None) -> int:
    """Returns `value` as an int.

    Args:
        name: of the value, for the message.
        value: an integer of any type, Python's or NumPy's.
        least: int, the least allowed.
        most: int, the most; None is any.

    Raises:
        WrongTypeError: if it isn't an integer: booleans, floats and strings aren't.
        ValueError: if it is out of range.
    """
    allowed = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise WrongTypeError(f"{name} must be {allowed}, got {_described(value)}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}.")
    return int(value)


def require_number(name: str, value, least: float = -math.inf) -> float:
    """Returns `value` as a float.

    Args:
        name: of the value, for the message.
        value: a real number of any type, Python's or NumPy's.
        least: float, the least allowed; any unless given.

    Raises:
        WrongTypeError: if it isn't a number: booleans and strings aren't.
        ValueError: if it is less, or isn't finite.
    """
    allowed = "a finite number" + ("" if least == -math.inf else f" of at least {least:g}")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise WrongTypeError(f"{name} must be {allowed}, got {_described(value)}.")
    if not (least <= value < math.inf and -math.inf < value):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}.")
    return float(value)


def require_bool(name: str, value) -> bool:
    """Returns `value` as a bool; raises a WrongTypeError if it isn't one."""
    if not isinstance(value, (bool, np.bool_)):
        raise WrongTypeError(f"{name} must be True or False, got {_described(value)}.")
    return bool(value)


def require_word(name: str, value, words: tuple[str, ...]) -> str:
    """Returns `value`; raises a ValueError if it isn't one of the words."""
    if not isinstance(value, str):
        raise WrongTypeError(f"{name} must be one of {words}, got {_described(value)}.")
    if value not in words:
        raise ValueError(f"{name} must be one of {words}, got {shown(value)}.")
    return value


def require_a(kind: type, name: str, value) -> None:
    """Raises a WrongTypeError if `value` isn't of a class of this package."""
    if not isinstance(value, kind):
        raise WrongTypeError(f"{name} must be a glow_tf.{kind.__name__}, got {_described(value)}.")


def labels(y, n_y: int, n_images=None) -> tf.Tensor:
    """Returns labels as int64, [] or [B].

    Args:
        y: [] or [B], integers of any type: a number, a list, an array or a tensor.
        n_y: int, how many labels there are.
        n_images: B, an int or an integer scalar tensor, where images or latents say it; None is any.

    Raises:
        WrongTypeError: if they aren't integers.
        ValueError: if they have another shape, or aren't from 0 to n_y - 1.
    """
    y = _tensor("Labels", y, f"integers from 0 to {n_y - 1}", empty=tf.int64)
    rule = "Labels must have the shape [] or [B], an integer for each of the B images"
    if y.shape.rank is not None and y.shape.rank > 1:
        hint = " Of one-hot labels, give tf.argmax(labels, -1)." if y.shape[-1] == n_y > 1 else ""
        hint = " Give labels[:, 0]." if y.shape[1:] == [1] else hint
        raise ValueError(f"{rule}; got {y.dtype.name} of shape {y.shape}.{hint}")
    if not y.dtype.is_integer:
        raise WrongTypeError(f"Labels must be integers, got {y.dtype.name} of shape {y.shape}.")
    checks = []
    if y.shape.rank is None:
        checks.append(tf.debugging.assert_less(tf.rank(y), 2, f"{rule}."))
    if n_images is not None and y.shape.rank != 0:
        known = tf.get_static_value(n_images)
        if y.shape.rank == 1 and None not in (known, y.shape[0]):
            if y.shape[0] != known:
                raise ValueError(f"{rule}; got {y.shape[0]} labels for {known} images.")
        else:
            given = tf.size(y) if y.shape.rank == 1 else tf.where(tf.rank(y) == 0, n_images, tf.size(y))
            checks.append(tf.debugging.assert_equal(given, n_images, f"{rule}: their numbers differ."))

    value = tf.get_static_value(y)
    if value is not None:
        wrong = value[(value < 0) | (value >= n_y)]
        if wrong.size:
            raise ValueError(f"Labels must be from 0 to {n_y - 1}, got {wrong.ravel()[0]}.")
    y = tf.cast(y, tf.int64)  # As n_y may be larger than what a small type holds.
    if value is None:
        message = f"Labels must be from 0 to {n_y - 1}."
        checks.append(tf.debugging.assert_non_negative(y, message))
        checks.append(tf.debugging.assert_less(y, tf.constant(n_y, tf.int64), message))
    y = _after(checks, y)
    return tf.broadcast_to(y, [n_images]) if y.shape.rank is None and n_images is not None else y


def images(value, shape: tuple[int, ...], one_batch: bool = False) -> tf.Tensor:
    """Returns images as a tensor [..., *shape]; that they are uint8 `quantization.preprocess` checks.

    Args:
        value: an array or a tensor of them.
        shape: (height, width, n_channels).
        one_batch: whether they must be [B, *shape].

    Raises:
        WrongTypeError: if they aren't one array or tensor.
        ValueError: if they have another shape.
    """
    x = _tensor("Images", value, f"uint8 [B, {', '.join(map(str, shape))}], 0 to 255,")
    rank = x.shape.rank
    if not x.shape[-3:].is_compatible_with(shape) or (one_batch and rank not in (None, 4)):
        raise ValueError(f"Images must be [B, {', '.join(map(str, shape))}], got shape {x.shape}.")
    return x


def context(value, shape: tuple[int, ...], dtype, n_images=None) -> tf.Tensor:
    """Returns contexts in `dtype`, [B, *shape], or [*shape], which is one for all.

    Args:
        value: floats: a list, an array or a tensor.
        shape: of one context.
        dtype: of the result.
        n_images: B, an int or an integer scalar tensor, where images or latents say it; None is any, with any
            number of batch axes.

    Raises:
        WrongTypeError: if they aren't floating.
        ValueError: if they have another shape, or aren't finite.
    """
    words = ", ".join(map(str, shape))
    rule = f"context must be floats [B, {words}], one for each of the B images, or [{words}], for all"
    c = _tensor("context", value, f"floats of the shape [B, {words}]")
    if not c.dtype.is_floating:
        raise WrongTypeError(f"{rule}; got {c.dtype.name} of shape {c.shape}.")
    n = len(shape)
    ranks = None if n_images is None else (n, n + 1)
    rank = c.shape.rank
    if rank is not None and (
        rank < n or (ranks and rank not in ranks) or not c.shape[rank - n :].is_compatible_with(shape)
    ):
        raise ValueError(f"{rule}; got shape {c.shape}.")
    checks = []
    if not c.shape[-n:].is_fully_defined():
        fits = tf.reduce_all(tf.equal(tf.shape(c)[-n:], shape))
        checks.append(tf.debugging.Assert(fits, [f"{rule}; got shape", tf.shape(c)]))
    if n_images is not None and rank != n:
        known = tf.get_static_value(n_images)
        if rank is not None and None not in (known, c.shape[0]):
            if c.shape[0] != known:
                raise ValueError(f"{rule}; got {c.shape[0]} contexts for {known} images.")
        else:
            given = tf.where(tf.rank(c) == n, n_images, tf.shape(c)[0])
            checks.append(tf.debugging.assert_equal(given, n_images, f"{rule}: their numbers differ."))
            checks.append(tf.debugging.assert_less(tf.rank(c), n + 2, f"{rule}."))
    finite = tf.reduce_all(tf.math.is_finite(c))
    if tf.get_static_value(finite) is None:
        checks.append(tf.debugging.Assert(finite, ["context must be finite."]))
    elif not finite:
        raise ValueError(f"{rule}; got values that aren't finite.")
    c = tf.cast(_after(checks, c), dtype)
    if rank is not None:
        c.set_shape([*c.shape[: rank - n], *shape])
    return tf.broadcast_to(c, [n_images, *shape]) if rank is None and n_images is not None else c


def noise(u, x, n_bits: int) -> tf.Tensor:
    """Returns dequantisation noise in the dtype of `x`.

    Args:
        u: float, the shape of `x`, in [0, 2^-n_bits).
        x: float [B, H, W, C], what it is added to.
        n_bits: int, 1 to 8.

    Raises:
        WrongTypeError: if it isn't floating.
        ValueError: if it has another shape (it isn't broadcast), or values that are out of range or NaN.
    """
    u = _tensor("noise", u, "floats")
    rule = f"noise must be floats in [0, 2^-n_bits_x) = [0, {2.0**-n_bits}), of the images' shape {x.shape}"
    if not u.shape.is_compatible_with(x.shape):
        raise ValueError(f"{rule}; got shape {u.shape}.")
    if not u.dtype.is_floating:
        raise WrongTypeError(f"{rule}; got {u.dtype.name}.")
    checks = []
    if not (u.shape.is_fully_defined() and x.shape.is_fully_defined()):
        u = _after([tf.debugging.assert_equal(tf.rank(u), tf.rank(x), f"{rule}.")], u)
        checks.append(tf.debugging.assert_equal(tf.shape(u), tf.shape(x), f"{rule}."))
    # In its own dtype: what is just below the limit may be rounded to it.
    inside = tf.reduce_all((u >= 0) & (u < 2.0**-n_bits))
    if tf.get_static_value(inside) is None:
        checks.append(tf.debugging.Assert(inside, [f"{rule}; got:", tf.reduce_min(u), tf.reduce_max(u)]))
    elif not inside:
        value = tf.cast(u, tf.float64)
        least, most = float(tf.reduce_min(value)), float(tf.reduce_max(value))
        raise ValueError(f"{rule}; got values from {least:g} to {most:g}.")
    u = tf.cast(_after(checks, u), x.dtype)
    u.set_shape(x.shape)
    return u


def temperature(value, dtype, n=None) -> tf.Tensor:
    """Returns a temperature in `dtype`.

    Args:
        value: a finite number of at least 0, of any type, or an array or tensor of such numbers.
        dtype: of the result.
        n: int or int32 scalar tensor: the shape must be [] or [n]; any if None.

    Raises:
        WrongTypeError: if it is no number.
        ValueError: if it is negative or not finite, or has another shape.
    """
    rule = "temperature must be a finite number of at least 0"
    t = _tensor("temperature", value, "a finite number of at least 0")
    if n is not None and t.shape.rank != 0 and not t.shape.is_compatible_with([tf.get_static_value(n)]):
        raise ValueError(f"temperature must have the shape [] or [n] = [{n}], got {t.shape}.")
    if not (t.dtype.is_floating or t.dtype.is_integer):
        raise WrongTypeError(f"{rule}, got {t.dtype.name}.")
    t = tf.cast(t, dtype)
    fits = tf.reduce_all(tf.math.is_finite(t) & (t >= 0))
    if tf.get_static_value(fits) is None:
        return _after([tf.debugging.Assert(fits, [f"{rule}, got:", t])], t)
    if not fits:
        raise ValueError(f"{rule}, got {t.numpy().tolist() if t.shape.rank else float(t)!r}.")
    return t


def n_samples(n):
    """Returns how many samples are asked for: an int, or an int32 scalar tensor if only a graph knows.

    Raises:
        WrongTypeError: if it isn't an integer.
        ValueError: if it is negative, or not one number.
    """
    if not tf.is_tensor(n):
        return require_int("n", n, 0)
    n = tf.convert_to_tensor(n)
    if not n.dtype.is_integer or n.shape.rank not in (None, 0):
        raise WrongTypeError(f"n must be one integer of at least 0, got {n.dtype.name} of shape {n.shape}.")
    value = tf.get_static_value(n)
    if value is not None:
        return require_int("n", value.item(), 0)
    n = tf.cast(n, tf.int32)
    checks = [tf.debugging.assert_non_negative(n, "n must be at least 0.")]
    n = _after([*checks, tf.debugging.assert_rank(n, 0, "n must be one integer.")], n)
    n.set_shape([])
    return n


def stateless_seed(seed=None) -> tf.Tensor:
    """Returns a seed for TensorFlow's stateless generators, int64 [2].

    The same number is the same seed, whatever the type it is given in; `s` is the pair `[s, 0]`.

    Args:
        seed: an integer of any type, or a pair of them; None is a new one at each call, which follows
            `tf.random.set_seed`.

    Raises:
        WrongTypeError: if it isn't an integer.
        ValueError: if it has another shape than [] and [2], or doesn't fit 64 bits.
    """
    if seed is None:
        new = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
        return tf.cast(new, tf.int64)
    allowed = "an integer, or a pair of them"
    rule = "seed must be an integer from -2^63 to 2^63 - 1, or a pair of them"
    known = seed
    if _holds_tensors(seed):
        if isinstance(seed, (list, tuple)):
            parts = [_tensor("seed", part, allowed) for part in seed]
            if {part.dtype for part in parts} == {tf.int32, tf.int64}:  # TensorFlow doesn't take both in one.
                seed = [tf.cast(part, tf.int64) for part in parts]
        seed = _tensor("seed", seed, allowed)
        known = tf.get_static_value(seed)
    if known is not None and any(
        isinstance(s, numbers.Integral) and not -(2**63) <= s < 2**63
        for s in np.ravel(np.asarray(known, object))
    ):
        raise ValueError(f"{rule}, got {shown(seed)}.")
    seed = _tensor("seed", seed, allowed)
    if not seed.dtype.is_integer:
        raise WrongTypeError(f"{rule}, got {seed.dtype.name}.")
    if seed.shape not in ([], [2]):
        raise ValueError(f"{rule}, got shape {seed.shape}.")
    seed = tf.cast(seed, tf.int64)
    return tf.stack([seed, tf.zeros_like(seed)]) if seed.shape.rank == 0 else seed


def split_seed(seed, n: int) -> list[tf.Tensor]:
    """Returns `n` seeds, each int64 [2], that follow from one of `stateless_seed`."""
    # tf.random.split depends on the dtype. Small seeds are split as the int32 that Python's ints are.
    small = tf.cast(seed, tf.int32)
    fits = tf.reduce_all(tf.cast(small, tf.int64) == seed)
    seeds = tf.where(fits, tf.cast(tf.random.split(small, n), tf.int64), tf.random.split(seed, n))
    return tf.unstack(seeds)


def _holds_tensors(value) -> bool:
    return any(tf.is_tensor(part) for part in tf.nest.flatten(value))


def _tensor(name, value, allowed, empty=None):
    """Returns a tensor of a number, list, array or tensor.

    Not by TensorFlow, which takes an int64 array and a list for different types, and answers strings with
    the name of an inner function. `empty` is the dtype of an empty list.
    """
    if not _holds_tensors(value):
        if np.ma.is_masked(value):
            raise WrongTypeError(f"{name} must be {allowed}, without a mask, got {_described(value)}.")
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} must be {allowed} in one array, got {shown(value)}.") from error
        if array.dtype.kind in "OUSMm":
            raise WrongTypeError(f"{name} must be {allowed}, got {_described(value)}.")
        if empty is not None and array.size == 0 and isinstance(value, (list, tuple)):
            array = array.astype(empty.as_numpy_dtype)
        value = array
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:  # Ragged or sparse, for example.
        raise WrongTypeError(f"{name} must be {allowed} in one tensor, got {_described(value)}.") from error


def _after(checks, value):
    """Returns `value`, in a graph only after the checks have passed."""
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(value)


def shown(value) -> str:
    """Returns `repr(value)` for a sentence: not all of what is long."""
    try:
        text = repr(value)
    except ValueError:  # Of an integer of more digits than Python writes.
        return "an integer of thousands of digits"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _described(value) -> str:
    return f"{shown(value)} ({type(value).__name__})"
