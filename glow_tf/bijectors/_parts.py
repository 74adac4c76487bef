"""Which of a bijector's parts take a context, and how it is handed to them."""

import inspect

import tensorflow as tf
import tensorflow_probability as tfp

tfb = tfp.bijectors


def takes_context(function) -> bool:
    """Whether a function has a parameter `context`, or takes any; of a Keras layer, its `call`."""
    try:
        parameters = inspect.signature(getattr(function, "call", function)).parameters
    except (TypeError, ValueError):  # Of some built-in ones nothing is known.
        return False
    return "context" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def context_ndims(bijector) -> int | None:
    """Returns the axes of the context that a bijector takes, or its first part that takes one; else None.

    Of another's bijector, which takes keyword arguments, a context is a vector.
    """
    for part in _parts(bijector):
        ndims = context_ndims(part)
        if ndims is not None:
            return ndims
    if isinstance(bijector, tfb.Composition) or _inverted(bijector):
        return None
    return getattr(bijector, "context_ndims", 1 if takes_context(bijector._forward) else None)


def context_kwargs(bijector, context) -> dict:
    """Returns the keyword arguments that hand a context to a bijector: {} if it takes none.

    A `tfb.Chain` and the like want them by the names of their parts.
    """
    if context is None or context_ndims(bijector) is None:
        return {}
    if _inverted(bijector):
        return context_kwargs(bijector.bijector, context)
    if isinstance(bijector, tfb.Composition):
        named = {part.name: context_kwargs(part, context) for part in _parts(bijector)}
        return {name: kwargs for name, kwargs in named.items() if kwargs}
    return {"context": context}


def _inverted(bijector) -> bool:
    """Whether it is a `tfb.Invert`, which has two classes."""
    return isinstance(getattr(bijector, "bijector", None), tfb.Bijector)


def _parts(bijector):
    if _inverted(bijector):
        return [bijector.bijector]
    if isinstance(bijector, tfb.Composition):
        return tf.nest.flatten(bijector.bijectors)
    return []
