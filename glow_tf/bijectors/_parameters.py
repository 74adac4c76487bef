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


def require_event(name: str, x, min_ndims: int, n_channels=None):
    """Raises a ValueError if `x` can't be an input: too few axes, or another number of channels.

    Without it TensorFlow answers with the name of some inner operation, and for convolutions of a wrong rank
    its CPU kernels end the process.

    Args:
        name: of the bijector, for the message.
        x: tensor, the input.
        min_ndims: int, axes of an event.
        n_channels: int or None, of the last axis; not checked if None.
    """
    if x.shape.rank is None:
        return
    if x.shape.rank < min_ndims:
        raise ValueError(
            f"{name} needs inputs of at least {min_ndims} {'axes' if min_ndims > 1 else 'axis'}, got shape "
            f"{x.shape}."
        )
    if n_channels is not None and x.shape[-1] not in (None, n_channels):
        raise ValueError(f"{name} needs {n_channels} channels in the last axis, got shape {x.shape}.")


def require_positive_int(name: str, value):
    """Raises a ValueError if `value` isn't a positive integer."""
    if value is None or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)
