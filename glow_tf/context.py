"""The context that a flow depends on, besides its input, and the linear terms that it has in networks.

A context is a vector [..., C], or an image [..., h, w, C]. In an image of height H and width W it has the
linear term

```
vector: context @ W, the same at each position;  W [C, out]
image:  a 1x1 convolution of the context at the image's size;  W [1, 1, C', out]
```

A context image that is larger is squeezed, as often as it takes: C' = 4^k C, and nothing of it is lost. A
smaller one is repeated: each of its positions stands for a square of the image's, and C' = C.
"""

import numpy as np
import tensorflow as tf

from glow_tf.bijectors.squeeze import Squeeze
from glow_tf.inputs import WrongTypeError
from glow_tf.shapes import as_batch, told_shape

# A context's axes, besides those of the batch, by those of its weight.
_NDIMS = {2: 1, 4: 3}


def at_level(shape, height: int, width: int) -> tuple[int, ...]:
    """Returns the shape of a context in images of a size: (C,), or (height, width, C').

    Args:
        shape: () for none, (C,), or (h, w, C), whose size a power of two divides into the images'.
        height: int, of the images.
        width: the same.
    """
    if len(shape) != 3:
        return tuple(shape)
    h, w, channels = shape
    return height, width, channels * max(1, h // height) * max(1, w // width)


def weight(shape, out: int) -> dict:
    """Returns the initial W, with `out` outputs, by its name.

    Args:
        shape: of the context, as `at_level` returns it.
        out: int.

    Returns:
        {"context_W": zeros [C, out] or [1, 1, C', out]}; {} for the shape (), without a context.
    """
    if not len(shape):
        return {}
    inputs = shape if len(shape) == 1 else (1, 1, shape[2])
    return {"context_W": np.zeros([*inputs, out], np.float32)}


def wanted_shape(w, out) -> list:
    """Returns the shape that W must have, for `shapes.require_shapes`: whose, its number of axes says."""
    return [1, 1, None, out] if w.shape.rank == 4 else [None, out]


def ndims_of(w) -> int | None:
    """Returns the number of a context's axes, besides those of the batch, by W; None if there is no W."""
    return None if w is None else _NDIMS[w.shape.rank]


def checked(name: str, context, dtype, ndims: int | None):
    """Returns a context as a tensor in `dtype`.

    Args:
        name: of the bijector or network, for the messages.
        context: float [..., C] or [..., h, w, C]; None is none.
        dtype: of the bijector, None is any. What isn't a tensor yet is cast to it, if it is floating.
        ndims: 1 or 3, the axes of a context; None if there mustn't be one.

    Raises:
        ValueError: if there is one, and shouldn't be, or the other way round; if it has too few axes.
        WrongTypeError: if it isn't floating, or a tensor of another dtype.
    """
    if context is None:
        if ndims is None:
            return None
        raise ValueError(f"{name} depends on a context, {_words(ndims)}: context is missing.")
    context = as_tensor(context, dtype)
    if ndims is None:
        raise ValueError(f"{name} takes no context, got one of shape {context.shape}.")
    if not context.dtype.is_floating:
        raise WrongTypeError(f"The context of {name} must be floats, got {context.dtype.name}.")
    if dtype is not None and context.dtype != dtype:
        raise WrongTypeError(
            f"The context of {name} must be {tf.as_dtype(dtype).name}, got {context.dtype.name}."
        )
    if context.shape.rank is not None and context.shape.rank < ndims:
        raise ValueError(f"The context of {name} must be {_words(ndims)}, got shape {context.shape}.")
    return context


def as_tensor(value, dtype) -> tf.Tensor:
    """Returns a value as a tensor; floats that aren't one yet, as an array's, in `dtype`, None is any."""
    tensor = tf.convert_to_tensor(value)
    stays = dtype is None or isinstance(value, (tf.Tensor, tf.Variable)) or not tensor.dtype.is_floating
    return tensor if stays else tf.cast(tensor, dtype)


def _words(ndims):
    return "a vector [..., C]" if ndims == 1 else "an image [..., h, w, C]"


def with_context(x, n: int, context, ndims: int):
    """Returns x and its context, both with all batch axes that theirs broadcast to.

    Args:
        x: [..., event], with n axes of an event.
        n: int.
        context: [..., C] or [..., h, w, C].
        ndims: int, 1 or 3, the axes of a context.

    Raises:
        ValueError: if the batch axes don't broadcast.
    """
    of_x, of_context = _batch(x, n), _batch(context, ndims)
    try:
        common = tf.broadcast_static_shape(of_x, of_context)
    except ValueError as error:
        raise ValueError(
            f"The batch axes of the context, {of_context}, must broadcast to those of the input, {of_x}; got "
            f"shapes {context.shape} and {x.shape}."
        ) from error
    dynamic = None
    if not common.is_fully_defined():
        dynamic = tf.broadcast_dynamic_shape(tf.shape(x)[:-n], tf.shape(context)[:-ndims])

    def broadcast(value, batch, m):
        if batch == common and common.is_fully_defined():
            return value
        wanted = common if dynamic is None else dynamic
        result = tf.broadcast_to(value, tf.concat([wanted, tf.shape(value)[-m:]], 0))
        if common.rank is None or value.shape.rank is None:
            return result
        return told_shape(result, [*common, *value.shape[-m:]])

    return broadcast(x, of_x, n), broadcast(context, of_context, ndims)


def with_flat_context(x, n: int, context, ndims: int):
    """Returns what `with_context` does, but the context as one batch, [N, C] or [N, h, w, C]."""
    event = None if context.shape.rank is None else context.shape[-ndims:]
    x, context = with_context(x, n, context, ndims)
    context = as_batch(context, ndims)
    return x, context if event is None else told_shape(context, [None, *event])


def prepared(name: str, x, n: int, context, ndims: int | None, dtype):
    """Returns what `with_flat_context` does, of a context that isn't checked yet; of none, x and None.

    The arguments are those of `checked` and `with_context`.

    Raises:
        ValueError: as `checked` and `with_context`.
    """
    context = checked(name, context, dtype, ndims)
    return (x, None) if context is None else with_flat_context(x, n, context, ndims)


def _batch(x, n):
    return tf.TensorShape(None) if x.shape.rank is None else x.shape[: x.shape.rank - n]


def at_size(context, n_channels: int, height, width):
    """Returns context images at the size of others: float [N, height, width, n_channels].

    Args:
        context: float [N, h, w, C]. Squeezed until there are n_channels, then repeated if it is smaller.
        n_channels: int, C', those of W.
        height: int, or int32 scalar tensor, of the images.
        width: the same.

    Raises:
        ValueError: if the channels, or the sizes, don't fit.
    """
    given = context.shape
    while (
        (context.shape[-1] or n_channels) < n_channels
        and None not in context.shape[1:3]
        and not any(size % 2 for size in context.shape[1:3])
    ):
        context = Squeeze().forward(context)
    sizes = list(zip(context.shape[1:3], (height, width), strict=True))
    known = [pair for pair in sizes if all(isinstance(size, int) for size in pair)]
    if context.shape[-1] != n_channels or any(small == 0 or large % small for small, large in known):
        raise ValueError(
            f"A context image for images of {height}x{width} must have {n_channels} channels at their size, "
            "4 times as many for each time that it is halved by Squeeze, and as many if it is smaller, a "
            f"divisor of theirs; got {'x'.join(map(str, given[1:]))}."
        )
    for axis, (small, large) in enumerate(sizes, 1):
        if small is None or not isinstance(large, int):
            context = tf.repeat(context, large // tf.shape(context)[axis], axis)
        elif large != small:
            context = tf.repeat(context, large // small, axis)
    static = [size if isinstance(size, int) else None for size in (height, width)]
    return told_shape(context, [given[0], *static, n_channels])


def require_vectors(context, n_channels: int):
    """Returns context vectors [N, C]; raises a ValueError if C isn't n_channels."""
    if context.shape[-1] not in (None, n_channels):
        raise ValueError(f"The context must have {n_channels} entries, got {context.shape[-1]}.")
    return context if context.shape[-1] else tf.ensure_shape(context, [None, n_channels])


def linear_term(context, w, height, width):
    """Returns what a context adds to images, float [N, 1, 1, out] or [N, height, width, out].

    Args:
        context: float [N, C] or [N, h, w, C].
        w: float [C, out] or [1, 1, C', out].
        height: int, or int32 scalar tensor, of the images.
        width: the same.
    """
    if w.shape.rank == 2:
        return (require_vectors(context, w.shape[0]) @ w)[:, None, None, :]
    return tf.nn.conv2d(at_size(context, w.shape[2], height, width), w, 1, "SAME")
