"""The loops of Scan, forward, inverse and backward, with their three ways to keep what a gradient needs.

A kernel (`AutodiffKernel` says what it is) does one step; here, steps are run over stacked weights.
"""

import tensorflow as tf

from glow_tf.shapes import told_shape

MEMORY = ("store", "recompute", "reverse")


def forward_loop(kernel, memory: str, n_kept: int, x, weights, constants):
    """Runs all steps forward.

    Args:
        kernel: does one step.
        memory: "store", "recompute" or "reverse": what is kept for the gradient.
        n_kept: of how many steps, the last ones, "reverse" keeps the residuals.
        x: float [N, event].
        weights: list of tensors [depth, ...], which have gradients.
        constants: list of tensors [depth, ...], which have none.

    Returns:
        y, like `x`, and the log-det [N].
    """
    depth = weights[0].shape[0]
    n_kept = min(n_kept, depth) if memory == "reverse" else depth
    first_kept = depth - n_kept

    @tf.custom_gradient
    def run(x, *stacked):
        def body(k, x, log_det, saved):
            y, step_log_det, residuals = kernel.forward(_take(stacked, k), x)
            # Before the first kept step, slot 0 is written to and overwritten: one loop is enough.
            slot = tf.maximum(k - first_kept, 0)
            kept = [x] if memory == "recompute" else residuals
            saved = [array.write(slot, value) for array, value in zip(saved, kept, strict=False)]
            return k + 1, told_shape(y, x.shape), log_det + step_log_det, saved

        specs = [x] if memory == "recompute" else kernel.residual_specs(x, stacked)
        saved = [_array(n_kept, like.dtype, like.shape) for like in specs] if n_kept else []
        _, y, log_det, saved = _while(depth, body, [0, x, _zeros(x), saved])

        def gradient(dy, dlog_det):
            kept = _readable(saved)

            def step_back(k, residuals, dy, gradients):
                dx, dweights = kernel.backward(_take(stacked, k), residuals, dy, dlog_det)
                gradients = [a.write(k, g) for a, g in zip(gradients, dweights, strict=True)]
                return told_shape(residuals[0], x.shape), told_shape(dx, x.shape), gradients

            def from_kept(i, _, dy, gradients):
                k = depth - 1 - i
                residuals = [array.read(k - first_kept) for array in kept]
                if memory == "recompute":
                    residuals = kernel.forward(_take(stacked, k), residuals[0])[2]
                return i + 1, *step_back(k, residuals, dy, gradients)

            def from_output(i, y, dy, gradients):
                k = first_kept - 1 - i
                residuals = kernel.inverse(_take(stacked, k), y)[2]
                return i + 1, *step_back(k, residuals, dy, gradients)

            gradients = [_array(depth, w.dtype, w.shape[1:]) for w in weights]
            state = y, dy, gradients
            for n_steps, body in ((n_kept, from_kept), (first_kept, from_output)):
                if n_steps:
                    _, *state = _while(n_steps, body, [0, *state])
            _, dx, gradients = state
            return dx, *[array.stack() for array in gradients], *[None] * len(constants)

        return (y, log_det), gradient

    return run(x, *weights, *constants)


def inverse_loop(kernel, memory: str, n_kept: int, y, weights, constants):
    """Runs all steps backward, from `y` to x; arguments and results as for `forward_loop`.

    The log-det returned is the forward direction's. Here `constants` have gradients too, where they are
    floating, and "reverse" keeps nothing.
    """
    del n_kept
    depth = weights[0].shape[0]
    rebuild = memory == "reverse"

    @tf.custom_gradient
    def run(y, *stacked):
        def body(i, y, log_det, saved):
            k = depth - 1 - i
            x, step_log_det, _ = kernel.inverse(_take(stacked, k), y)
            saved = [array.write(k, y) for array in saved]
            return i + 1, told_shape(x, y.shape), log_det + step_log_det, saved

        saved = [] if rebuild else [_array(depth, y.dtype, y.shape)]
        _, x, log_det, saved = _while(depth, body, [0, y, _zeros(y), saved])
        floating = [i for i, value in enumerate(stacked) if value.dtype.is_floating]

        def gradient(dx, dlog_det):
            kept = _readable(saved)

            def backward_body(k, x, dx, gradients):
                step_weights = _take(stacked, k)
                y = kernel.forward(step_weights, x)[0] if rebuild else kept[0].read(k)
                sources = [y, *[step_weights[i] for i in floating]]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(sources)
                    # A tensor that no bijector cache knows: a cached result isn't on the tape.
                    outputs = kernel.inverse(step_weights, tf.identity(y))[:2]
                dy, *dweights = tape.gradient(outputs, sources, [dx, dlog_det], tf.UnconnectedGradients.ZERO)
                gradients = [a.write(k, g) for a, g in zip(gradients, dweights, strict=True)]
                return k + 1, told_shape(y, x.shape), told_shape(dy, x.shape), gradients

            arrays = [_array(depth, stacked[i].dtype, stacked[i].shape[1:]) for i in floating]
            _, _, dy, arrays = _while(depth, backward_body, [0, x, dx, arrays])
            by_index = dict(zip(floating, arrays, strict=True))
            return dy, *[by_index[i].stack() if i in by_index else None for i in range(len(stacked))]

        return (x, log_det), gradient

    return run(y, *weights, *constants)


def _while(depth, body, state):
    return tf.while_loop(
        lambda k, *_: k < depth,
        lambda *state: list(body(*state)),
        state,
        parallel_iterations=1,
        maximum_iterations=depth,
    )


def _take(stacked, k):
    """Returns value[k] of each value; one index for all makes a smaller graph than Python's notation."""
    begin = tf.reshape(k, [1])
    end = begin + 1
    return [tf.strided_slice(value, begin, end, [1], shrink_axis_mask=1) for value in stacked]


def _array(depth, dtype, element_shape):
    return tf.TensorArray(dtype, depth, element_shape=element_shape, clear_after_read=False)


def _readable(arrays):
    """Returns TensorArrays that were written eagerly as ones of the graph that is made now, if one is.

    So it is for `tape.jacobian` and `batch_jacobian`, which vectorize the gradient in a graph of its own.
    """
    return [
        a if tf.executing_eagerly() or tf.is_symbolic_tensor(a.flow) else _array_of(a.stack()) for a in arrays
    ]


def _array_of(stacked):
    return _array(stacked.shape[0], stacked.dtype, stacked.shape[1:]).unstack(stacked)


def _zeros(x):
    return tf.zeros(tf.shape(x)[:1], x.dtype)
