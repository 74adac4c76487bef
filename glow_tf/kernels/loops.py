"""The loops over a Scan's steps, and what they keep of the forward pass for the gradient.

Two things limit memory: what is kept from step to step, which `segments_of` says; and that a step of which
nothing is kept is computed for as many images at once as `PART_BYTES` have room for.
"""

import math

import tensorflow as tf

from glow_tf.shapes import told_shape

# What computing a step has in memory at once, where none of it is kept. More at once is no faster.
PART_BYTES = 2**25


# A context, which all steps depend on, is a list of one tensor [N, ...] here, or of none.


class Store:
    """Keeps all that the gradient needs."""

    keeps_residuals = True

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

    keeps_residuals = False

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
        return x, kernel.forward(weights, x, *context)[2]


class Reverse:
    """Keeps nothing: the output tells the input."""

    keeps_residuals = False

    @staticmethod
    def keep(x, residuals):
        """See `Store`."""
        del x, residuals
        return []

    @staticmethod
    def recall(kernel, weights, kept, y, context):
        """See `Store`; here `weights` have what `kernel.fold_inverse` returns at their end."""
        del kept
        x, _, residuals = kernel.inverse(weights, y, *context)
        return x, residuals


MEMORY = ("store", "recompute", "reverse")


def segments_of(memory: str, keep_bytes: int, kernel, x, weights) -> list[tuple]:
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
    step = _n_bytes(Store.keep(x, kernel.residual_specs(x, weights)), x)
    largest = tf.maximum if tf.is_tensor(step) else max
    n_stored = keep_bytes // largest(step, 1) if keep_bytes else 0  # A step on an empty batch has 0 bytes.
    if tf.is_tensor(n_stored):
        first_stored = depth - tf.cast(tf.minimum(n_stored, depth), tf.int32)
        return [(Reverse, 0, first_stored), (Store, first_stored, depth)]
    first_stored = max(depth - n_stored, 0)
    both = (Reverse, 0, first_stored), (Store, first_stored, depth)
    return [segment for segment in both if segment[1] < segment[2]]


def _n_bytes(specs, x):
    """Returns the bytes of tensors: an int, or an int64 tensor where only the run knows their shapes."""

    def n_bytes(spec):
        sizes = [tf.shape(x, tf.int64)[i] if size is None else size for i, size in enumerate(spec.shape)]
        return math.prod([spec.dtype.size, *sizes])

    return sum(map(n_bytes, specs))


def run(kernel, segments, x, weights, backwards: bool = False, n_shares: int = 1, context=None):
    """Runs all steps.

    Args:
        kernel: does one step.
        segments: which steps are kept how; what `segments_of` returned.
        x: float [N, event], as the steps take it.
        weights: list of tensors [depth, ...].
        backwards: whether the last step is the first to run.
        n_shares: int, in how many shares of the batch a step is computed, which don't wait for each other.
        context: float [N, ...], as the steps take it, or None.

    Returns:
        y, like `x`, and the log-det [N].
    """
    n = x.shape[0]
    n_shares = n_shares if n is None else max(1, min(n_shares, n))
    contexts = [] if context is None else _shares(context, n_shares)
    ys, log_dets = _run(kernel, segments, _shares(x, n_shares), contexts, weights, backwards)
    return _joined(ys), _joined(log_dets)


def _shares(x, n):
    """Returns x in n parts of equal size, but for one more example in the first ones."""
    if n == 1:
        return [x]
    if x.shape[0] is None:
        size, rest = tf.shape(x)[0] // n, tf.shape(x)[0] % n
        return tf.split(x, [size + tf.cast(i < rest, tf.int32) for i in range(n)], num=n)
    size, rest = divmod(x.shape[0], n)
    return tf.split(x, [size + (i < rest) for i in range(n)])


def _joined(shares):
    return shares[0] if len(shares) == 1 else tf.concat(shares, 0)


def _run(kernel, segments, shares, contexts, weights, backwards):
    """Runs all steps on shares of a batch; returns lists of the outputs and of the log-dets.

    `contexts` are those of the shares, [] if there is none.
    """
    depth, n = weights[0].shape[0], len(shares)
    position = (lambda k: depth - 1 - k) if backwards else (lambda k: k)

    # One loop, not one for each share: the gradients for the weights are added up step by step.
    @tf.custom_gradient
    def steps(*inputs):
        xs, stacked = list(inputs[:n]), inputs[-len(weights) :]
        contexts = [[c] for c in inputs[n : -len(weights)]] or [[] for _ in xs]

        def run_segment(policy, start, stop, xs, log_dets):
            def body(k, xs, log_dets, saved):
                step = _take(stacked, position(k))
                results = [_forward(kernel, policy, step, *share) for share in zip(xs, contexts, strict=True)]
                ys, step_log_dets, kept = zip(*results, strict=True)
                saved = [
                    _write(arrays, k - start, values) for arrays, values in zip(saved, kept, strict=True)
                ]
                log_dets = [a + b for a, b in zip(log_dets, step_log_dets, strict=True)]
                return k + 1, list(ys), log_dets, saved

            kept = [policy.keep(x, kernel.residual_specs(x, stacked)) for x in xs]
            saved = [[_array(stop - start, like.dtype, like.shape) for like in share] for share in kept]
            _, *results = _while(lambda k, *_: k < stop, body, [start, xs, log_dets, saved], depth)
            return results

        ys, log_dets, saved = xs, [tf.zeros(tf.shape(x)[:1], x.dtype) for x in xs], []
        for segment in segments:
            ys, log_dets, kept = run_segment(*segment, ys, log_dets)
            saved.append(kept)

        def gradient(*upstream):
            dys, dlog_dets = list(upstream[:n]), upstream[n:]
            readable = tf.nest.map_structure(_readable, saved)
            inverses = (
                kernel.fold_inverse(stacked) if any(policy is Reverse for policy, _, _ in segments) else []
            )

            def segment_gradient(policy, start, stop, kept, ys, dys, dcontexts, gradients):
                def body(k, ys, dys, dcontexts, gradients):
                    step = _take([*stacked, *(inverses if policy is Reverse else [])], position(k))
                    read = [[array.read(k - start) for array in arrays] for arrays in kept]
                    shares = zip(read, ys, dys, dlog_dets, contexts, strict=True)
                    results = [_backward(kernel, policy, step, len(stacked), *share) for share in shares]
                    xs, dxs, step_dcontexts, dweights = zip(*results, strict=True)
                    dcontexts = [
                        [told_shape(a + b, a.shape) for a, b in zip(*share, strict=True)]
                        for share in zip(dcontexts, step_dcontexts, strict=True)
                    ]
                    dweights = map(tf.add_n, zip(*dweights, strict=True))
                    return k - 1, list(xs), list(dxs), dcontexts, _write(gradients, position(k), dweights)

                state = [stop - 1, ys, dys, dcontexts, gradients]
                _, *results = _while(lambda k, *_: k >= start, body, state, depth)
                return results

            floating = [i for i, w in enumerate(stacked) if w.dtype.is_floating]
            gradients = [_array(depth, stacked[i].dtype, stacked[i].shape[1:]) for i in floating]
            state = ys, dys, tf.nest.map_structure(tf.zeros_like, contexts), gradients
            for segment, kept in zip(reversed(segments), reversed(readable), strict=True):
                state = segment_gradient(*segment, kept, *state)
            _, dxs, dcontexts, gradients = state
            dweights = dict(zip(floating, [array.stack() for array in gradients], strict=True))
            return *dxs, *tf.nest.flatten(dcontexts), *[dweights.get(i) for i in range(len(stacked))]

        return (*ys, *log_dets), gradient

    outputs = steps(*shares, *contexts, *weights)
    return outputs[:n], outputs[n:]


def _forward(kernel, policy, weights, x, context):
    """Returns a step's output, its log-det, and what is kept."""
    if policy.keeps_residuals:
        y, log_det, residuals = kernel.forward(weights, x, *context)
        return told_shape(y, x.shape), log_det, policy.keep(x, residuals)
    function = lambda x, *context: (kernel.forward(weights, x, *context)[:2], [])
    (y, log_det), _ = _by_parts(function, _n_parts(kernel, x, weights), [x, *context])
    return told_shape(y, x.shape), log_det, policy.keep(x, [])


def _backward(kernel, policy, weights, n_folded, kept, y, dy, dlog_det, context):
    """Returns a step's input, the gradients for it and the context, and for its first `n_folded` weights."""

    def gradient(y, dy, dlog_det, *others):
        context, kept = others[:n_contexts], others[n_contexts:]
        x, residuals = policy.recall(kernel, weights, kept, y, context)
        x = told_shape(x, y.shape)
        dx, dweights, *dcontext = kernel.backward(weights[:n_folded], x, y, residuals, dy, dlog_det, *context)
        return [x, told_shape(dx, y.shape), *dcontext], [g for g in dweights if g is not None]

    n_contexts = len(context)
    n_parts = 1 if policy.keeps_residuals else _n_parts(kernel, y, weights)
    (x, dx, *dcontext), dweights = _by_parts(gradient, n_parts, [y, dy, dlog_det, *context, *kept])
    return x, dx, dcontext, dweights


def _n_parts(kernel, x, weights) -> int:
    """Returns in how many parts a step whose residuals aren't kept computes its images."""
    if not x.shape.is_fully_defined() or not x.shape[0]:
        return 1
    n_bytes = _n_bytes(kernel.working_specs(x, weights), x)
    return max(1, min(x.shape[0], -(-n_bytes // PART_BYTES)))


def _by_parts(function, n_parts, batch):
    """Returns function(*batch), computed for one part of the batch after the other.

    Args:
        function: from tensors [N, ...] to a list of tensors [N, ...], and a list of sums over the N.
        n_parts: int.
        batch: list of tensors [N, ...].
    """
    if n_parts == 1:
        return function(*batch)
    results, done = [], []
    for part in zip(*(_shares(value, n_parts) for value in batch), strict=True):
        with tf.control_dependencies(done):
            results.append(function(*map(tf.identity, part)))
        done = tf.nest.flatten(results[-1])
    each, sums = zip(*results, strict=True)
    return list(map(_joined, zip(*each, strict=True))), list(map(tf.add_n, zip(*sums, strict=True)))


def _write(arrays, k, values):
    return [array.write(k, value) for array, value in zip(arrays, values, strict=True)]


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
