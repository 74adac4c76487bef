"""What shapes parameters and inputs must have, and images of any batch shape as one batch."""

import tensorflow as tf


def require_shapes(name: str, parameters: dict, batch: bool = False, broadcast=(), **wanted):
    """Raises a ValueError unless the parameters have the shapes that belong together.

    What isn't known when a graph is made isn't checked.

    Args:
        name: of the bijector or network, for the message.
        parameters: dict of what has a shape.
        batch: whether batch axes, which must broadcast, may stand before.
        broadcast: keys of vectors that may have one entry for all channels; any other parameter that is
            broadcast would give a log-det of too few terms.
        **wanted: the shape of each parameter, a list of int, None for a size that is unknown.
    """
    missing = [key for key in wanted if key not in parameters]
    if missing:
        raise ValueError(f"{name} needs the parameters {sorted(wanted)}; missing: {missing}.")
    shapes = {key: tf.TensorShape(parameters[key].shape) for key in wanted}
    n_batch = {key: shape.rank - len(wanted[key]) for key, shape in shapes.items() if shape.rank is not None}
    allowed = {key: [wanted[key], [1]] if key in broadcast else [wanted[key]] for key in wanted}
    fits = all(
        n == max(n, 0) * batch and any(shapes[key][n:].is_compatible_with(shape) for shape in allowed[key])
        for key, n in n_batch.items()
    )
    if fits:
        try:
            common = tf.TensorShape([])
            for key, n in n_batch.items():
                common = tf.broadcast_static_shape(common, shapes[key][:n])
            return
        except ValueError:  # The batch axes don't broadcast; the message below says which they are.
            pass
    brackets = lambda sizes: f"[{', '.join('C' if size is None else str(size) for size in sizes)}]"
    either = lambda key: " or ".join(dict.fromkeys(map(brackets, allowed[key])))
    raise ValueError(
        f"The parameters of {name} must have the shapes "
        f"{', '.join(f'{key} {either(key)}' for key in wanted)}"
        f"{', after batch axes that broadcast' if batch else ''}; "
        f"got {', '.join(f'{key} {shape}' for key, shape in shapes.items())}."
    )


def n_channels_of(value):
    """Returns the size of the last axis, or None if it is unknown or there is none."""
    shape = tf.TensorShape(value.shape)
    return shape[-1] if shape.rank else None


def common_channels(values):
    """Returns the size of the last axis that `values` broadcast to, or None if it is unknown."""
    sizes = [n_channels_of(value) for value in values]
    largest = max((size for size in sizes if size is not None), default=None)
    return None if largest == 1 and None in sizes else largest


def at_each_channel(value, x):
    """Returns a parameter [..., C or 1] as [..., C], an entry for each channel of x: so a sum counts each.

    A parameter that doesn't fit, which only the run of a graph may know, is an error.
    """
    value = tf.convert_to_tensor(value)
    size, n_channels = n_channels_of(value), n_channels_of(x)
    if size == n_channels and size is not None:
        return value
    if size is None or n_channels is None:
        # TensorFlow takes a broadcast out of a graph whose result it thinks to be of the same shape.
        given, wanted = tf.shape(value)[-1], tf.shape(x)[-1]
        fits = tf.debugging.Assert(
            (given == 1) | (given == wanted), ["A parameter for", given, "channels doesn't fit", wanted]
        )
        with tf.control_dependencies([fits]):
            value = tf.identity(value)
    return tf.broadcast_to(value, tf.concat([tf.shape(value)[:-1], tf.shape(x)[-1:]], 0))


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


def as_batch(x, n: int, n_channels=None):
    """Returns x [..., event], with n axes of an event, as [N, event].

    Static shapes are told, not checked, since `tf.ensure_shape` stops forward-mode differentiation in a
    tf.function and other runtimes; but for a number of channels that only `n_channels` knows.
    """
    shape = tf.shape(x)
    # An index, not a slice: of an input with too few axes, if that is only seen here, it is an error.
    batch = tf.reshape(x, tf.stack([-1, *(shape[i] for i in range(-n, 0))]))
    if x.shape.rank is not None:
        batch.set_shape([None, *x.shape[x.shape.rank - n :]])
    if n_channels is not None and batch.shape[-1] is None:
        batch = tf.ensure_shape(batch, [None] * n + [n_channels])
    return batch


def image_size(x):
    """Returns the height and the width of images [N, H, W, C], static where they are known."""
    return [x.shape[i] or tf.shape(x)[i] for i in (1, 2)]


def told_shape(x, shape):
    """Returns x, which has the static `shape` from here on; that is told, not checked."""
    x.set_shape(shape)
    return x
