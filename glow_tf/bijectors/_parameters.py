"""How the bijectors hold their parameters."""

import tensorflow as tf
import tensorflow_probability as tfp


def may_change(value) -> bool:
    """Whether a parameter is read anew at each use, not converted once."""
    return isinstance(value, (tf.Variable, tfp.util.DeferredTensor))


def as_parameter(value, dtype=None):
    """Keeps what may change later (tf.Variable, DeferredTensor); converts the rest to a tensor.

    Raises:
        ValueError: if what is kept has another dtype.
    """
    if not may_change(value):
        return tf.convert_to_tensor(value, dtype)
    if dtype is not None and value.dtype != dtype:
        raise ValueError(
            f"A bijector's parameters have one dtype, here {tf.as_dtype(dtype).name}, but {value.name!r} is "
            f"{value.dtype.name}."
        )
    return value


def common_dtype(values, default=tf.float32) -> tf.DType:
    """Returns the first floating dtype of `values`."""
    for value in values:
        dtype = getattr(value, "dtype", None)
        if dtype is not None and tf.as_dtype(dtype).is_floating:
            return tf.as_dtype(dtype)
    return tf.as_dtype(default)


def require_all_or_none(name: str, **parameters):
    """Returns whether the named parameters are given; raises a ValueError if only some of them are."""
    missing = [key for key, value in parameters.items() if value is None]
    if missing and len(missing) < len(parameters):
        raise ValueError(f"{name} takes all of {sorted(parameters)} or none of them; missing: {missing}.")
    return not missing
