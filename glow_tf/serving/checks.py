"""Checks of a request inside the graph: a bad one is an INVALID_ARGUMENT with a sentence.

What a session feeds isn't checked against the shapes that a signature declares, so it is here.
"""

import tensorflow as tf


def require(condition, sentence: str, *values):
    """Returns an operation that fails with the sentence and the values where the condition is false.

    `tf.debugging.Assert` would be the same in a conditional, whose two branches cost more than the test.
    """
    return tf.raw_ops.Assert(condition=condition, data=[sentence, *values], summarize=8)


def checked(inputs: dict, specs: dict, n_y: int) -> dict:
    """Returns the inputs of a request, checked: shapes, equal numbers of rows, and values.

    Args:
        inputs: dict of tensors.
        specs: dict of tf.TensorSpec with the same keys; the first axis is the batch.
        n_y: int, the number of labels.
    """
    shapes = {name: _dynamic_shape(value) for name, value in inputs.items()}
    checks = [_require_shape(name, shapes[name], specs[name]) for name in inputs]
    with tf.control_dependencies(checks):
        rows = {name: tf.identity(shape)[0] for name, shape in shapes.items()}
    first = next(iter(rows))
    # TensorFlow's convolutions on a CPU return a wrong shape for an empty batch.
    checks.append(require(rows[first] > 0, f"{first} must have at least one row."))
    checks += [
        require(
            tf.equal(rows[name], rows[first]),
            f"{name} and {first} must have as many rows, got:",
            rows[name],
            rows[first],
        )
        for name in rows
        if name != first
    ]
    with tf.control_dependencies(checks):
        inputs = {name: tf.identity(value) for name, value in inputs.items()}
    checks = [check for name, value in inputs.items() for check in _value_checks(name, value, n_y)]
    with tf.control_dependencies(checks):
        return {name: tf.identity(value) for name, value in inputs.items()}


def _dynamic_shape(value):
    """The shape at run time; a plain tf.shape would be the declared one, folded in as a constant."""
    return tf.shape(tf.raw_ops.PlaceholderWithDefault(input=value, shape=None))


def _require_shape(name, shape, spec):
    wanted = spec.shape.as_list()
    described = ", ".join("batch" if i == 0 else "any" if n is None else str(n) for i, n in enumerate(wanted))
    padded = tf.concat([shape, tf.zeros([len(wanted)], shape.dtype)], 0)[: len(wanted)]
    fits = [tf.equal(tf.size(shape), len(wanted))]
    fits += [tf.equal(padded[i], n) for i, n in enumerate(wanted) if n is not None]
    return require(
        tf.reduce_all(tf.stack(fits)),
        f"{name} must be {spec.dtype.name} of shape [{described}], got shape:",
        shape,
    )


def _value_checks(name, value, n_y):
    all_ = tf.reduce_all
    if name == "labels":
        inside = (value >= 0) & (value < n_y)
        return [require(all_(inside), f"labels must be from 0 to {n_y - 1}, got:", value)]
    if name == "temperature":
        # NaN compares as false.
        inside = (value >= 0) & (value < value.dtype.max)
        return [require(all_(inside), "temperature must be finite and at least 0, got:", value)]
    if name == "points":
        inside = (value >= 0) & (value <= 1)
        return [require(all_(inside), "points must be from 0 to 1, got:", value)]
    if name in ("latents", "direction", "alphas", "context"):
        return [require(all_(tf.math.is_finite(value)), f"{name} must be finite.")]
    return []
