"""The loops over a Scan's steps, and what they keep of the forward pass for the gradient."""

import math

import tensorflow as tf

from glow_tf.shapes import told_shape


class Store:
    """Keeps all that the gradient needs."""

    @staticmethod
    def keep(x, residuals):
        """Returns what is kept of a step, a list of tensors."""
        return [x, *residuals]

    @staticmethod
    def recall(kernel, weights, kept, y, context):
        """Returns the step's input and residuals, from what was kept and from its output."""
        del kernel, weights, y, context
        x, *residuals = kept
        return x, residuals


class Recompute:
    """Keeps each step's input, as gradient checkpointing does."""

    @staticmethod
    def keep(x, residuals):
        """See `Store`."""
        del residuals
        return [x]

    @staticmethod
    def recall(kernel, weights, kept, y, context):
        """See `Store`."""
        del y
        (x,) = kept
        return x, kernel.forward(weights, x, context)[2]


class Reverse:
    """Keeps nothing: the output tells the input."""

    @staticmethod
    def keep(x, residuals):
        """See `Store`."""
        del x, residuals
        return []

    @staticmethod
    def recall(kernel, weights, kept, y, context):
        """See `Store`; here `weights` have what `kernel.fold_inverse` returns at their end."""
        del kept
        x, _, residuals = kernel.inverse(weights, y, context)
        return x, residuals


MEMORY = ("store", "recompute", "reverse")


def segments(memory: str, keep_bytes: int, kernel, x, weights) -> list[tuple]:
    """Returns which steps are kept how, a list of (policy, start, stop).

    Args:
        memory: "store", "recompute" or "reverse".
        keep_bytes: how much "reverse" may store of the last steps.
        kernel: of the steps.
        x: [N, event], as the steps take it.
        weights: the stacked ones.
    """
    depth = weights[0].shape[0]
    if memory != "reverse":
        return [({"store": Store, "recompute": Recompute}[memory], 0, depth)]
    step = sum(_n_bytes(spec, x) for spec in Store.keep(x, kernel.residual_specs(x, weights)))
    largest = tf.maximum if tf.is_tensor(step) else max
    n_stored = keep_bytes // largest(step, 1) if keep_bytes else 0  # A step on an empty batch has 0 bytes.
    if tf.is_tensor(n_stored):
        first_stored = depth - tf.cast(tf.minimum(n_stored, depth), tf.int32)
        return [(Reverse, 0, first_stored), (Store, first_stored, depth)]
    first_stored = max(depth - n_stored, 0)
    return [part for part in ((Reverse, 0, first_stored), (Store, first_stored, depth)) if part[1] < part[2]]


def _n_bytes(spec, x):
    """Returns the bytes of a tensor: an int, or an int64 tensor where only the run knows its shape."""
    sizes = [tf.shape(x, tf.int64)[axis] if size is None else size for axis, size in enumerate(spec.shape)]
    return math.prod([spec.dtype.size, *sizes])


def run(kernel, parts, x, weights, backwards: bool = False, n_loops: int = 1, context=None):
    """Runs all steps.

    Args:
        kernel: does one step.
        parts: what `segments` returned.
        x: float [N, event], as the steps take it.
        weights: list of tensors [depth, ...].
        backwards: whether the last step is the first to run.
        n_loops: int, how many loops share the batch. They don't wait for each other.
        context: [N, ...], as the steps take it, or None.

    Returns:
        y, like `x`, and the log-det [N].
    """
    n = x.shape[0]
    n_loops = n_loops if n is None else max(1, min(n_loops, n))
    if n_loops == 1:
        return _run(kernel, parts, x, context, weights, backwards)
    n = tf.shape(x)[0] if n is None else n
    contexts = [None] * n_loops if context is None else _shares(context, n, n_loops)
    shares = [
        _run(kernel, parts, share, its_context, weights, backwards)
        for share, its_context in zip(_shares(x, n, n_loops), contexts, strict=True)
    ]
    y, log_det = (tf.concat(values, 0) for values in zip(*shares, strict=True))
    return y, log_det


def _shares(x, n, n_loops):
    """Returns x, of n examples, in parts of equal size, but for one more example in the first ones."""
    size, rest = n // n_loops, n % n_loops
    if tf.is_tensor(n):
        return tf.split(x, [size + tf.cast(i < rest, tf.int32) for i in range(n_loops)], num=n_loops)
    return tf.split(x, [size + (i < rest) for i in range(n_loops)])


def _run(kernel, parts, x, context, weights, backwards):
    contexts = [] if context is None else [context]  # As the loops' state has it: none is no entry.
    depth = weights[0].shape[0]
    position = (lambda k: depth - 1 - k) if backwards else (lambda k: k)

    @tf.custom_gradient
    def steps(x, *inputs):
        contexts, stacked = list(inputs[: -len(weights)]), inputs[-len(weights) :]
        context = contexts[0] if contexts else None

        def run_part(policy, start, stop, x, log_det):
            def body(k, x, log_det, saved):
                y, step_log_det, residuals = kernel.forward(_take(stacked, position(k)), x, context)
                kept = policy.keep(x, residuals)
                saved = [array.write(k - start, value) for array, value in zip(saved, kept, strict=True)]
                return k + 1, told_shape(y, x.shape), log_det + step_log_det, saved

            kept = policy.keep(x, kernel.residual_specs(x, stacked))
            saved = [_array(stop - start, like.dtype, like.shape) for like in kept]
            _, *results = _while(lambda k, *_: k < stop, body, [start, x, log_det, saved], depth)
            return results

        y, log_det, saved = x, tf.zeros(tf.shape(x)[:1], x.dtype), []
        for part in parts:
            y, log_det, kept = run_part(*part, y, log_det)
            saved.append(kept)

        def gradient(dy, dlog_det):
            readable = [[_readable(array) for array in arrays] for arrays in saved]
            inverses = kernel.fold_inverse(stacked) if any(part[0] is Reverse for part in parts) else []

            def part_gradient(policy, start, stop, kept, y, dy, dcontexts, gradients):
                def body(k, y, dy, dcontexts, gradients):
                    step = _take([*stacked, *(inverses if policy is Reverse else [])], position(k))
                    kept_values = [a.read(k - start) for a in kept]
                    x, residuals = policy.recall(kernel, step, kept_values, y, context)
                    x = told_shape(x, y.shape)
                    step = step[: len(stacked)]
                    dx, dweights, dcontext = kernel.backward(step, x, y, residuals, dy, dlog_det, context)
                    dcontexts = [told_shape(total + dcontext, total.shape) for total in dcontexts]
                    dweights = [g for g in dweights if g is not None]
                    gradients = [a.write(position(k), g) for a, g in zip(gradients, dweights, strict=True)]
                    return k - 1, x, told_shape(dx, y.shape), dcontexts, gradients

                state = [stop - 1, y, dy, dcontexts, gradients]
                _, *results = _while(lambda k, *_: k >= start, body, state, depth)
                return results

            floating = [i for i, w in enumerate(stacked) if w.dtype.is_floating]
            gradients = [_array(depth, stacked[i].dtype, stacked[i].shape[1:]) for i in floating]
            state = y, dy, [tf.zeros_like(c) for c in contexts], gradients
            for part, kept in zip(reversed(parts), reversed(readable), strict=True):
                state = part_gradient(*part, kept, *state)
            _, dx, dcontexts, gradients = state
            dweights = dict(zip(floating, [array.stack() for array in gradients], strict=True))
            return dx, *dcontexts, *[dweights.get(i) for i in range(len(stacked))]

        return (y, log_det), gradient

    return steps(x, *contexts, *weights)


def _while(condition, body, state, maximum):
    return tf.while_loop(
        condition,
        lambda *state: list(body(*state)),
        state,
        parallel_iterations=1,
        maximum_iterations=maximum,
    )


def _take(stacked, k):
    """Returns value[k] of each value; one index for all makes a smaller graph than Python's notation."""
    begin = tf.reshape(k, [1])
    end = begin + 1
    return [tf.strided_slice(value, begin, end, [1], shrink_axis_mask=1) for value in stacked]


def _array(size, dtype, element_shape):
    if tf.is_tensor(size):
        size = tf.maximum(size, 1)  # XLA compiles no reading of an array of none, even if nothing is read.
    return tf.TensorArray(dtype, size, element_shape=element_shape, clear_after_read=False)


def _readable(array):
    """Returns a TensorArray that was written eagerly as one of the graph that is made now, if one is.

    So it is for `tape.jacobian` and `batch_jacobian`, which vectorize the gradient in a graph of its own.
    """
    if tf.executing_eagerly() or tf.is_symbolic_tensor(array.flow):
        return array
    values = array.stack()
    return _array(values.shape[0], values.dtype, values.shape[1:]).unstack(values)
