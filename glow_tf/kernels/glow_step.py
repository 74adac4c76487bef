"""The arithmetic of GlowStep as it runs: folded, in few operations, with its gradient written out.

It is the same function as `bijectors.GlowStep`, its definition, to which the tests hold it in float64.
Training, sampling and the export all run the `forward` and `inverse` below.

- The state of the steps is an image with a channel of ones before its own, x' = [1, x]. So actnorm and the
  permutation are one matrix, x' M with M = [[1, b s W], [0, diag(s) W]] and s = exp(3 logs); and the first
  half of the result, [1, x1], is what the first convolution takes: a channel that is 1 on the border alone
  is one that is 1 everywhere less one that is 1 inside.
- The scales of the network are in its kernels. It returns all shifts, then what the coupling's scales are
  computed of, which has its constant in the bias: the original's log-odds u + 2.
- What the border channel and the bias add to the last convolution is one [H, W, out] map.
- A context image is brought to size once, before the loop; in it, it costs a matrix product.
- The gradient of the last convolution is two matrix products with the neighbourhoods of its few outputs:
  TensorFlow's filter gradient from many channels to few is up to five times slower.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from glow_tf.context import at_size, require_vectors
from glow_tf.kernels.kernel import Kernel
from glow_tf.layers import LOGSCALE_FACTOR, border_patches, inverse_matrix, log_abs_det
from glow_tf.shapes import image_size

# The weights of a step, in their order. With a context, its own follows them; in `inverse`, then, the inverse
# of m.
WEIGHTS = ("m", "k1", "b1", "k2", "b2", "k3", "b3")


@dataclasses.dataclass(frozen=True)
class Scale:
    """The scale of a coupling, a function of v = u + plus, of which the network returns the u.

    Attributes:
        plus: float, which is added to the network's bias.
        value: of v, the scale.
        log: of v, its log: where the scale itself is 0 in float32, its log isn't -inf.
        slope: d log / dv, as a function of the scale.
    """

    plus: float
    value: Callable
    log: Callable
    slope: Callable


_SCALES = {
    "additive": None,
    "affine": Scale(2.0, tf.sigmoid, tf.math.log_sigmoid, slope=lambda scale: 1.0 - scale),
}


class GlowStepKernel(Kernel):
    """The kernel of `bijectors.GlowStep`. States are float [N, H, W, 1 + C], the ones first."""

    def __init__(self, permutation: str, coupling: str, compute_dtype=None):
        """Says which step it is.

        Args:
            permutation: "invconv", "reverse" or "shuffle".
            coupling: "affine" or "additive".
            compute_dtype: of the network's convolutions; that of the parameters unless given.
        """
        self._permutation = permutation
        self._coupling = coupling
        self._compute_dtype = compute_dtype

    def fold(self, parameters, event_shape):
        """See `Kernel`; `parameters` are those of `GlowStep.initial_values`, stacked.

        The weights are, each with the depth as its first axis: m [1 + C, 1 + C]; k1 [3, 3, 1 + C // 2,
        width], b1 [width]; k2 [width, width], b2 [width]; k3 [3, 3, width, out], b3 [10, out], the factor of
        `border_patches`; and with a context, vector or image, [C, width].
        """
        p = parameters
        scale = tf.exp(LOGSCALE_FACTOR * p["actnorm_logs"])
        w = self._permutation_matrix(p)
        log_det = LOGSCALE_FACTOR * tf.reduce_sum(p["actnorm_logs"])
        if self._permutation == "invconv":
            log_det += tf.reduce_sum(log_abs_det(w))
        log_det *= tf.cast(event_shape[0] * event_shape[1], log_det.dtype)
        bias = p["actnorm_b"] * scale
        mixing = tf.concat([bias[:, None, :], tf.linalg.diag(scale)], 1) @ w
        depth, rows, _ = mixing.shape
        first_column = tf.one_hot([[0]] * depth, rows, axis=1, dtype=mixing.dtype)
        m = tf.concat([first_column, mixing], 2)

        dtype = tf.as_dtype(self._compute_dtype or scale.dtype)
        k3, b3 = self._fold_last(p)
        network = [*_fold_first(p), *_fold_second(p), k3]
        return [m, *(tf.cast(t, dtype) for t in network), b3, *_fold_context(p, dtype)], log_det

    @property
    def _scale(self):
        return _SCALES[self._coupling]  # Not an attribute: a bijector that has the kernel can be pickled.

    def _permutation_matrix(self, p):
        if self._permutation == "invconv":
            return p["invconv_W"]
        depth, n = p["actnorm_b"].shape
        dtype = p["actnorm_b"].dtype
        if self._permutation == "reverse":
            return tf.reverse(tf.eye(n, batch_shape=[depth], dtype=dtype), [1])
        return tf.one_hot(p["shuffle_indices"], n, axis=1, dtype=dtype)

    def _fold_last(self, p):
        depth, _, _, inputs, out = p["l_last_W"].shape
        # The scales, in the new order: even channels are shifts, odd ones u; all shifts come first.
        order = tf.linalg.diag(tf.exp(LOGSCALE_FACTOR * p["l_last_logs"]))
        if self._scale:
            order = tf.concat([order[:, :, 0::2], order[:, :, 1::2]], 2)
        kernel, border = tf.split(tf.reshape(p["l_last_W"], [depth, 9, inputs, out]), [inputs - 1, 1], 2)
        kernel = tf.reshape(kernel, [depth, -1, out]) @ order  # Scaled and ordered in one pass.
        border = tf.concat([border[:, :, 0], p["l_last_b"][:, None]], 1) @ order
        if self._scale:
            plus = np.zeros([10, out])
            plus[-1, out // 2 :] = self._scale.plus
            border += tf.constant(plus, border.dtype)
        return tf.reshape(kernel, [depth, 3, 3, inputs - 1, out]), border

    def fold_inverse(self, weights):
        """See `Kernel`; the inverse of m."""
        return [inverse_matrix(weights[0])]

    @staticmethod
    def fold_map(weights, height: int, width: int):
        """Returns the weights for images of one size: b3 is the map, [depth, height, width, out], itself."""
        (*weights, b3), of_context = weights[: len(WEIGHTS)], weights[len(WEIGHTS) :]
        maps = border_patches(height, width, b3.dtype) @ b3
        return [*weights, tf.reshape(maps, [-1, height, width, b3.shape[-1]]), *of_context]

    def enter(self, x):
        """Returns the state of images [N, H, W, C]."""
        # Not by tf.pad, for whose constant `tf.vectorized_map` puts 0.
        return tf.concat([tf.ones_like(x[..., :1]), x], -1)

    def leave(self, y):
        """Returns the images of a state."""
        return y[..., 1:]

    def enter_context(self, parameters, x, context):
        """See `Kernel`; images [N, H, W, C'] at the size of x, or vectors [N, C]."""
        w = parameters.get("l_1_context_W")
        if w is None and context is not None:
            raise ValueError(f"The steps take no context, got one of shape {context.shape}.")
        if w is None:
            return None
        if context is None:
            raise ValueError("The steps depend on a context: context is missing.")
        if context.shape.rank == 2:
            return require_vectors(context, w.shape[-2])
        return at_size(context, w.shape[-2], *image_size(x))

    def forward(self, weights, x, context=None):
        """See `Kernel`; the residuals are both hidden layers and, if the coupling is affine, the scale."""
        # In an export, the inverse of m follows.
        m, *network = weights[: len(WEIGHTS) + (context is not None)]
        x1, x2 = _parts(_rows(x) @ m, network)
        h, hidden = _network(network, _like(x, x1), context)
        if self._scale is None:
            y2, log_det, scale = x2 + h, tf.zeros(tf.shape(x)[:1], x.dtype), []
        else:
            shift, scale, log_det = _shift_and_scale(self._scale, x, h)
            y2 = (x2 + shift) * scale
            scale = [_like(x, scale)]
        return _like(x, tf.concat([x1, y2], 1)), log_det, [*hidden, *scale]

    def inverse(self, weights, y, context=None):
        """See `Kernel`; the residuals are those of `forward`."""
        _, *network, inverse_m = weights
        x1, y2 = _parts(_rows(y), network)
        h, hidden = _network(network, _like(y, x1), context)
        if self._scale is None:
            x2, log_det, scale = y2 - h, tf.zeros(tf.shape(y)[:1], y.dtype), []
        else:
            shift, scale, log_det = _shift_and_scale(self._scale, y, h)
            x2 = y2 / scale - shift
            scale = [_like(y, scale)]
        return _like(y, tf.concat([x1, x2], 1) @ inverse_m), log_det, [*hidden, *scale]

    def residual_specs(self, x, weights):
        """See `Kernel`."""
        k1, k3 = weights[1], weights[5]
        like = lambda channels, dtype: tf.TensorSpec([*x.shape[:-1], channels], dtype)
        hidden = [like(k1.shape[-1], k1.dtype)] * 2
        return hidden + ([like(k3.shape[-1] // 2, x.dtype)] if self._scale else [])

    def backward(self, weights, x, y, residuals, dy, dlog_det, context=None):
        """See `Kernel`."""
        m, *network = weights
        a1, a2, *scale = residuals
        x1, y2 = _parts(_rows(y), network)
        dy1, dy2 = _parts(_rows(dy), network)
        if self._scale is None:
            dx2 = dh = dy2
        else:
            scale = _rows(scale[0])
            dx2 = dy2 * scale
            dlog_scale = _rows(_like(x, dy2 * y2) + dlog_det[:, None, None, None])
            dh = tf.concat([dx2, dlog_scale * self._scale.slope(scale)], 1)
        dx1, dnetwork, *dcontext = _network_backward(network, _like(x, x1), a1, a2, _like(x, dh), context)
        da = tf.concat([dy1 + _rows(dx1), dx2], 1)
        dm = tf.matmul(_rows(x), da, transpose_a=True)
        return _like(x, tf.matmul(da, m, transpose_b=True)), [dm, *dnetwork], *dcontext


def _fold_first(p):
    """Folds the first convolution; see the top of the file for the channel of ones, here the first one."""
    scale = tf.exp(LOGSCALE_FACTOR * p["l_1_logs"])
    inputs = p["l_1_W"].shape[3]
    signs = np.ones([3, 3, inputs, 1])
    signs[:, :, -1] = -1  # The border channel is the last one.
    # It is 0 at each position itself. Without this 0 its weight there would have a gradient of rounding, of
    # which Adamax makes steps of full size.
    signs[1, 1, -1] = 0
    kernel = tf.roll(p["l_1_W"] * (tf.constant(signs, scale.dtype) * scale[:, None, None, None, :]), 1, 3)
    return kernel, p["l_1_b"] * scale - tf.reduce_sum(kernel[:, :, :, 0], [1, 2])


def _fold_second(p):
    scale = tf.exp(LOGSCALE_FACTOR * p["l_2_logs"])
    return tf.squeeze(p["l_2_W"], [1, 2]) * scale[:, None, :], p["l_2_b"] * scale


def _fold_context(p, dtype):
    """Returns a list of the context's weight, scaled as the layer that it is added in; [] without one."""
    if "l_1_context_W" not in p:
        return []
    depth, *_, inputs, width = p["l_1_context_W"].shape
    scale = tf.exp(LOGSCALE_FACTOR * p["l_1_logs"])
    return [tf.cast(tf.reshape(p["l_1_context_W"], [depth, inputs, width]) * scale[:, None, :], dtype)]


def _shift_and_scale(scale, x, h):
    """Returns rows of shifts and scales, and the sum of the scales' logs for each of the images x."""
    half = h.shape[-1] // 2
    shift, v = h[:, :half], h[:, half:]
    return shift, scale.value(v), tf.reduce_sum(_like(x, scale.log(v)), [1, 2, 3])


def _network(network, x1, context):
    """Returns the network's output, rows, and its hidden layers.

    Args:
        network: its weights, without m.
        x1: [N, H, W, 1 + C // 2], the ones first.
        context: [N, C] or [N, H, W, C]; None if there is none.
    """
    k1, b1, k2, b2, k3, b3, *k_context = network
    # What is one operation to TensorFlow stands together: product, bias, relu.
    a1 = tf.nn.conv2d(tf.cast(x1, k1.dtype), k1, 1, "SAME")
    if context is None:
        a1 = tf.nn.relu(tf.nn.bias_add(a1, b1))
    else:
        of_context = tf.nn.bias_add(tf.matmul(_rows(tf.cast(context, k1.dtype)), *k_context), b1)
        a1 = tf.nn.relu(a1 + _at_positions(of_context, context, x1))
    a2 = _like(x1, tf.nn.relu(tf.nn.bias_add(_rows(a1) @ k2, b2)))
    h = tf.cast(_last_convolution(a2, k3), x1.dtype)
    if b3.shape.rank == 2:
        b3 = _like(x1, border_patches(*image_size(x1), b3.dtype) @ b3)
    return _rows(h + b3), [a1, a2]


def _at_positions(rows, context, x):
    """Returns what was computed of a context's rows as images that can be added to those of x's size."""
    return rows[:, None, None, :] if context.shape.rank == 2 else _like(x, rows)


def _last_convolution(x, kernel):
    """Returns conv2d(x, kernel), "SAME"; with few outputs as the gradient of a convolution for its input.

    TensorFlow computes that as one matrix product, [N H W, width] @ [width, 9 out], and each output adds up
    nine of its values; conv2d on CPUs first copies the nine neighbours of each position. With up to 16
    outputs this takes half to three quarters of the time; with more it can take several times as long. Of
    bfloat16 the nine values would be rounded each.
    """
    out = kernel.shape[-1]
    if out > 16 or kernel.dtype == tf.bfloat16:
        return tf.nn.conv2d(x, kernel, 1, "SAME")
    # The nine taps in one row: not every runtime of an export reverses two axes.
    reversed_ = tf.reshape(tf.reverse(tf.reshape(kernel, [9, *kernel.shape[2:]]), [0]), kernel.shape)
    transposed = tf.transpose(reversed_, [0, 1, 3, 2])
    return tf.nn.conv2d_transpose(x, transposed, [tf.shape(x)[0], *image_size(x), out], 1, "SAME")


def _network_backward(network, x1, a1, a2, dh, context):
    """Returns the gradients for the network's input, in the dtype of `dh`, its weights, and a context."""
    k1, _, k2, _, k3, b3, *k_context = network
    db3 = tf.matmul(border_patches(*image_size(x1), b3.dtype), _rows(tf.reduce_sum(dh, 0)), transpose_a=True)
    around, out = _neighbourhoods(tf.cast(dh, a2.dtype)), dh.shape[-1]
    dk3 = tf.matmul(around, _rows(a2), transpose_a=True)
    dk3 = tf.transpose(tf.reshape(dk3, [3, 3, out, -1]), [0, 1, 3, 2])
    d2 = around @ tf.reshape(tf.transpose(k3, [0, 1, 3, 2]), [9 * out, -1])
    d2 = tf.raw_ops.ReluGrad(gradients=d2, features=_rows(a2))
    dk2 = tf.matmul(_rows(a1), d2, transpose_a=True)
    db2 = tf.raw_ops.BiasAddGrad(out_backprop=d2)
    with tf.control_dependencies([dk3, dk2]):  # So a2 and what is around dh are free before d1 takes memory.
        d1 = _like(a1, tf.matmul(d2, k2, transpose_b=True))
    d1 = tf.raw_ops.ReluGrad(gradients=d1, features=a1)
    if context is None:
        db1, dk_context, dcontext = tf.raw_ops.BiasAddGrad(out_backprop=d1), [], []
    else:
        d_rows = _rows(d1) if context.shape.rank == 4 else _sum_of_positions(d1)
        db1 = tf.raw_ops.BiasAddGrad(out_backprop=d_rows)
        dk_context = [tf.matmul(_rows(tf.cast(context, d_rows.dtype)), d_rows, transpose_a=True)]
        dcontext = tf.matmul(d_rows, *k_context, transpose_b=True)
        dcontext = [tf.cast(tf.reshape(dcontext, tf.shape(context)), context.dtype)]
    conv = dict(strides=[1] * 4, padding="SAME")
    x1 = tf.cast(x1, k1.dtype)
    dk1 = tf.raw_ops.Conv2DBackpropFilter(input=x1, filter_sizes=k1.shape, out_backprop=d1, **conv)
    dx1 = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x1), filter=k1, out_backprop=d1, **conv)
    return tf.cast(dx1, dh.dtype), [dk1, db1, dk2, db2, dk3, db3, *dk_context], *dcontext


def _sum_of_positions(x):
    """Returns [N, C], the sum over height and width; as a product, which is faster than `tf.reduce_sum`."""
    height, width = image_size(x)
    rows = tf.reshape(x, [-1, height * width, x.shape[-1]])
    return tf.squeeze(tf.ones([1, 1, height * width], x.dtype) @ rows, 1)


def _neighbourhoods(dy):
    """Returns [N H W, 9 out]: of each position, the gradients of the nine outputs that it has a part in.

    In the order of the kernel's taps: the first one adds a position to what is below it and to the right.
    """
    height, width = image_size(dy)
    padded = tf.pad(dy, [[0, 0], [1, 1], [1, 1], [0, 0]])
    offsets = [(i, j) for i in (2, 1, 0) for j in (2, 1, 0)]
    return _rows(tf.concat([padded[:, i : i + height, j : j + width] for i, j in offsets], -1))


def _parts(rows, network):
    """Returns [1, x1] and x2 of rows [1, x1, x2]."""
    first = network[0].shape[2]
    return rows[:, :first], rows[:, first:]  # Of rows, whose slices are the faster ones.


def _rows(x):
    """Returns images [N, H, W, C] as rows [N H W, C]: mixing the channels is one matrix product then."""
    return tf.reshape(x, [-1, x.shape[-1]])


def _like(x, rows):
    """Returns rows [N H W, C] as images of x's height and width."""
    y = tf.reshape(rows, [-1, *image_size(x), rows.shape[-1]])
    y.set_shape([None, *x.shape[1:-1], rows.shape[-1]])
    return y
