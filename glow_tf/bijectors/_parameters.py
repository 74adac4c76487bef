"""How the bijectors hold their parameters."""

import tensorflow as tf
import tensorflow_probability as tfp


def as_parameter(value, dtype):
    """Keeps what may change later (tf.Variable, DeferredTensor); converts the rest to a tensor."""
    if isinstance(value, (tf.Variable, tfp.util.DeferredTensor)):
        return value
    return tf.convert_to_tensor(value, dtype)


def common_dtype(values, default=tf.float32) -> tf.DType:
    """Returns the dtype of the first of `values` that has one."""
    for value in values:
        if getattr(value, "dtype", None) is not None:
            return tf.as_dtype(value.dtype)
    return tf.as_dtype(default)


def require_all_or_none(name: str, **parameters):
    """Raises a ValueError if some, but not all of the named parameters are given."""
    missing = [key for key, value in parameters.items() if value is None]
    if missing and len(missing) < len(parameters):
        raise ValueError(f"{name} takes all of {sorted(parameters)} or none of them; missing: {missing}.")
    return not missing


def require_positive_int(name: str, value):
    """Raises a ValueError if `value` isn't a positive integer."""
    if value is None or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)
