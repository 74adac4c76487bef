"""The arithmetic of GlowStep, fused, with its gradient written out.

The same function as `GlowStep`, to which the tests hold it in float64, in fewer operations:

- actnorm and the permutation are one matrix and one bias, m = diag(exp(3 logs)) W, c = b exp(3 logs) W;
- the scales of the network's actnorms and of its last convolution are folded into the kernels;
- the border channel is one [1, H, W, out] map a convolution, added with the bias;
- the network's last kernel has its channels reordered, so that shift and scale are contiguous;
- log-dets and inverses that depend on the weights alone are one batched operation for all steps.
"""

import tensorflow as tf

from glow_tf.bijectors.invertible_1x1_conv import inverse_matrix, log_abs_det
from glow_tf.data_dependent_init import LOGSCALE_FACTOR
from glow_tf.networks import border_indicator, border_map

# The order of the weights of one step; the last is the inverse matrix, a constant.
_WEIGHTS = ("m", "c", "k1", "e1", "c1", "k2", "c2", "k3", "e3", "c3")


class FusedGlowStep:
    """The kernel of GlowStep for `Scan`; `AutodiffKernel` says what its methods are."""

    def __init__(self, permutation: str, additive: bool, compute_dtype=None):
        """Makes the kernel.

        Args:
            permutation: "invconv", "reverse" or "shuffle".
            additive: whether the coupling is additive.
            compute_dtype: of the network's convolutions; that of the parameters unless given.
        """
        self._permutation = permutation
        self._additive = additive
        self._compute_dtype = compute_dtype

    def prepare(self, parameters, event_shape):
        """See `AutodiffKernel.prepare`; `parameters` are those of `GlowStep.initial_values`, stacked."""
        p = parameters
        scale = tf.exp(LOGSCALE_FACTOR * p["actnorm_logs"])
        positions = tf.cast(event_shape[0] * event_shape[1], scale.dtype)
        log_det = LOGSCALE_FACTOR * tf.reduce_sum(p["actnorm_logs"])
        w = self._permutation_matrix(p)
        if self._permutation == "invconv":
            log_det += tf.reduce_sum(log_abs_det(w))
        m = scale[:, :, None] * w
        c = tf.einsum("kc,kcd->kd", p["actnorm_b"] * scale, w)

        scale1, scale2, scale3 = (
            tf.exp(LOGSCALE_FACTOR * p[f"{layer}_logs"]) for layer in ("l_1", "l_2", "l_last")
        )
        k1 = p["l_1_W"] * scale1[:, None, None, None, :]
        k2 = p["l_2_W"][:, 0, 0] * scale2[:, None, :]
        k3 = p["l_last_W"] * scale3[:, None, None, None, :]
        c1, c2, c3 = p["l_1_b"] * scale1, p["l_2_b"] * scale2, p["l_last_b"] * scale3
        if not self._additive:
            k3, c3 = (tf.concat([t[..., 0::2], t[..., 1::2]], -1) for t in (k3, c3))
        network = [k1[:, :, :, :-1], k1[:, :, :, -1:], c1, k2, c2, k3[:, :, :, :-1], k3[:, :, :, -1:], c3]
        dtype = tf.as_dtype(self._compute_dtype or scale.dtype)
        network = [tf.cast(t, dtype) for t in network]
        return [m, c, *network], [inverse_matrix(m)], positions * log_det

    def _permutation_matrix(self, p):
        if self._permutation == "invconv":
            return p["invconv_W"]
        depth, n = p["actnorm_b"].shape
        dtype = p["actnorm_b"].dtype
        if self._permutation == "reverse":
            return tf.reverse(tf.eye(n, batch_shape=[depth], dtype=dtype), [1])
        return tf.one_hot(p["shuffle_indices"], n, axis=1, dtype=dtype)

    def residual_specs(self, x, stacked):
        """See `AutodiffKernel.residual_specs`."""
        w = dict(zip(_WEIGHTS, stacked[:-1], strict=True))
        dtype, width, half = w["k1"].dtype, w["k1"].shape[-1], x.shape[-1] // 2
        like = lambda channels, dtype: tf.TensorSpec([*x.shape[:-1], channels], dtype)
        hidden = [like(half, dtype), like(width, dtype), like(width, dtype)]
        return [x, *hidden] + ([] if self._additive else [like(half, x.dtype)] * 2)

    def forward(self, weights, x):
        """See `AutodiffKernel.forward`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x1, x2 = tf.split(_matmul(x, w["m"]) + w["c"], 2, -1)
        h, hidden = self._network(w, x1)
        if self._additive:
            return tf.concat([x1, x2 + h], -1), tf.zeros(tf.shape(x)[:1], x.dtype), [x, *hidden]
        shift, u = tf.split(h, 2, -1)
        u += 2.0
        scale = tf.sigmoid(u)
        y2 = (x2 + shift) * scale
        return tf.concat([x1, y2], -1), _sum(tf.math.log_sigmoid(u)), [x, *hidden, y2, scale]

    def inverse(self, weights, y):
        """See `AutodiffKernel.inverse`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x1, y2 = tf.split(y, 2, -1)
        h, hidden = self._network(w, x1)
        if self._additive:
            x2, log_det, rest = y2 - h, tf.zeros(tf.shape(y)[:1], y.dtype), []
        else:
            shift, u = tf.split(h, 2, -1)
            u += 2.0
            scale = tf.sigmoid(u)
            x2, log_det, rest = y2 / scale - shift, _sum(tf.math.log_sigmoid(u)), [y2, scale]
        x = _matmul(tf.concat([x1, x2], -1) - w["c"], weights[-1])
        return x, log_det, [x, *hidden, *rest]

    def backward(self, weights, residuals, dy, dlog_det):
        """See `AutodiffKernel.backward`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x, x1, a1, a2, *rest = residuals
        dy1, dy2 = tf.split(dy, 2, -1)
        if self._additive:
            dx2 = dh = dy2
        else:
            y2, scale = rest
            dx2 = dy2 * scale
            du = (dy2 * y2 + dlog_det[:, None, None, None]) * (1.0 - scale)
            dh = tf.concat([dx2, du], -1)
        dx1, dnetwork = self._network_backward(w, x1, a1, a2, tf.cast(dh, a2.dtype))
        da = tf.concat([dy1 + tf.cast(dx1, dy1.dtype), dx2], -1)
        dm = tf.matmul(_rows(x), _rows(da), transpose_a=True)
        dc = tf.reduce_sum(da, [0, 1, 2])
        return _matmul(da, w["m"], transpose_b=True), [dm, dc, *dnetwork]

    def _network(self, w, x1):
        """Returns the network's output and what its gradient needs: its input and both hidden layers."""
        dtype = x1.dtype
        x1 = tf.cast(x1, w["k1"].dtype)
        shape = tf.shape(x1)
        add_map = lambda h, e, c: h + (border_map(e, shape[1], shape[2]) + c)
        a1 = tf.nn.relu(add_map(tf.nn.conv2d(x1, w["k1"], 1, "SAME"), w["e1"], w["c1"]))
        a2 = tf.nn.relu(tf.nn.bias_add(_matmul(a1, w["k2"]), w["c2"]))
        h = add_map(tf.nn.conv2d(a2, w["k3"], 1, "SAME"), w["e3"], w["c3"])
        return tf.cast(h, dtype), [x1, a1, a2]

    def _network_backward(self, w, x1, a1, a2, dh):
        """Returns the gradients for the network's input and for its weights, in `_WEIGHTS`'s order."""
        dk3, de3, dc3 = _conv_weights_backward(a2, w["k3"], dh)
        d2 = tf.raw_ops.ReluGrad(gradients=_conv_input_backward(a2, w["k3"], dh), features=a2)
        dk2 = tf.matmul(_rows(a1), _rows(d2), transpose_a=True)
        dc2 = tf.reduce_sum(d2, [0, 1, 2])
        d1 = tf.raw_ops.ReluGrad(gradients=_matmul(d2, w["k2"], transpose_b=True), features=a1)
        dk1, de1, dc1 = _conv_weights_backward(x1, w["k1"], d1)
        return _conv_input_backward(x1, w["k1"], d1), [dk1, de1, dc1, dk2, dc2, dk3, de3, dc3]


def _rows(x):
    return tf.reshape(x, [-1, x.shape[-1]])


def _matmul(x, m, transpose_b=False):
    """Mixes the channels: every position is a row of one matrix product."""
    y = tf.matmul(_rows(x), m, transpose_b=transpose_b)
    channels = m.shape[0 if transpose_b else 1]
    y = tf.reshape(y, tf.concat([tf.shape(x)[:-1], [channels]], 0))
    return tf.ensure_shape(y, [*x.shape[:-1], channels])


def _sum(t):
    return tf.reduce_sum(t, [1, 2, 3])


def _conv_weights_backward(x, kernel, dy):
    """Returns the gradients of a 3x3 convolution for its kernel, its border kernel and its bias."""
    conv = dict(strides=[1, 1, 1, 1], use_cudnn_on_gpu=True)
    dkernel = tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=tf.shape(kernel), out_backprop=dy, padding="SAME", **conv
    )
    dmap = tf.reduce_sum(dy, 0, keepdims=True)
    shape = tf.shape(dy)
    dborder = tf.raw_ops.Conv2DBackpropFilter(
        input=border_indicator(shape[1], shape[2], dy.dtype),
        filter_sizes=[3, 3, 1, kernel.shape[-1]],
        out_backprop=dmap,
        padding="VALID",
        **conv,
    )
    return dkernel, dborder, tf.reduce_sum(dmap, [0, 1, 2])


def _conv_input_backward(x, kernel, dy):
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x),
        filter=kernel,
        out_backprop=dy,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
