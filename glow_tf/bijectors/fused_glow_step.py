"""The arithmetic of GlowStep, fused, with its gradient written out.

The same function as `GlowStep`, to which the tests hold it in float64, in fewer operations:

- actnorm and the permutation are one matrix and one bias, m = diag(exp(3 logs)) W, c = b exp(3 logs) W;
- the scales of the network's actnorms are folded into the kernels;
- border channel and bias are one [1, H, W, out] map a convolution;
- log-dets and inverses that depend on the weights alone are one batched operation for all steps.
"""

import tensorflow as tf

from glow_tf.bijectors.invertible_1x1_conv import inverse_matrix, log_abs_det
from glow_tf.data_dependent_init import LOGSCALE_FACTOR
from glow_tf.networks import border_patches, deinterleave

# The order of the weights of one step. In `Scan`, the inverse of m follows them, a constant.
_WEIGHTS = ("m", "c", "k1", "b1", "k2", "c2", "k3", "b3", "l3")


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

        scale1, scale2 = (tf.exp(LOGSCALE_FACTOR * p[f"{layer}_logs"]) for layer in ("l_1", "l_2"))
        k1, b1 = _split_border(p["l_1_W"] * scale1[:, None, None, None, :], p["l_1_b"] * scale1)
        k2, c2 = tf.squeeze(p["l_2_W"], [1, 2]) * scale2[:, None, :], p["l_2_b"] * scale2
        k3, b3 = _split_border(p["l_last_W"], p["l_last_b"])
        dtype = tf.as_dtype(self._compute_dtype or scale.dtype)
        network = [tf.cast(t, dtype) for t in (k1, b1, k2, c2, k3, b3)]
        return [m, c, *network, LOGSCALE_FACTOR * p["l_last_logs"]], [inverse_matrix(m)], positions * log_det

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
        dtype, width, out = w["k1"].dtype, w["k1"].shape[-1], w["l3"].shape[-1]
        like = lambda channels, dtype: tf.TensorSpec([*x.shape[:-1], channels], dtype)
        half = x.shape[-1] // 2
        residuals = [x, like(half, dtype), like(width, dtype), like(width, dtype), like(out, x.dtype)]
        return residuals + ([] if self._additive else [like(out // 2, x.dtype)] * 2)

    def forward(self, weights, x):
        """See `AutodiffKernel.forward`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x1, x2 = _halves(_matmul(x, w["m"], w["c"]))
        h, hidden = self._network(w, x1)
        if self._additive:
            return tf.concat([x1, x2 + h], -1), tf.zeros(tf.shape(x)[:1], x.dtype), [x, *hidden]
        shift, u = deinterleave(h)
        scale = tf.sigmoid(u + 2.0)
        y2 = (x2 + shift) * scale
        return tf.concat([x1, y2], -1), _sum(tf.math.log(scale)), [x, *hidden, y2, scale]

    def inverse(self, weights, y):
        """See `AutodiffKernel.inverse`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x1, y2 = _halves(y)
        h, hidden = self._network(w, x1)
        if self._additive:
            x2, log_det, rest = y2 - h, tf.zeros(tf.shape(y)[:1], y.dtype), []
        else:
            shift, u = deinterleave(h)
            scale = tf.sigmoid(u + 2.0)
            x2, log_det, rest = y2 / scale - shift, _sum(tf.math.log(scale)), [y2, scale]
        x = _matmul(tf.concat([x1, x2], -1) - w["c"], weights[-1])
        return x, log_det, [x, *hidden, *rest]

    def backward(self, weights, residuals, dy, dlog_det):
        """See `AutodiffKernel.backward`."""
        w = dict(zip(_WEIGHTS, weights[:-1], strict=True))
        x, *network = residuals[:5]
        dy1, dy2 = _halves(dy)
        if self._additive:
            dx2 = dh = dy2
        else:
            y2, scale = residuals[5:]
            dx2 = dy2 * scale
            du = (dy2 * y2 + dlog_det[:, None, None, None]) * (1.0 - scale)
            dh = _interleave(dx2, du)
        dx1, dnetwork = self._network_backward(w, *network, dh)
        da = tf.concat([dy1 + tf.cast(dx1, dy1.dtype), dx2], -1)
        dm = tf.matmul(_rows(x), _rows(da), transpose_a=True)
        dc = tf.reduce_sum(da, [0, 1, 2])
        return _matmul(da, w["m"], transpose_b=True), [dm, dc, *dnetwork]

    def _network(self, w, x1):
        """Returns the network's output and what its gradient needs: its input and both hidden layers."""
        dtype = x1.dtype
        x1 = tf.cast(x1, w["k1"].dtype)
        patches = border_patches(x1)
        a1 = tf.nn.relu(_conv(x1, w["k1"], patches, w["b1"]))
        a2 = _matmul(a1, w["k2"], w["c2"], tf.nn.relu)
        h = tf.cast(_conv(a2, w["k3"], patches, w["b3"]), dtype) * tf.exp(w["l3"])
        return h, [x1, a1, a2, h]

    def _network_backward(self, w, x1, a1, a2, h, dh):
        """Returns the gradients for the network's input and for its weights, in `_WEIGHTS`'s order."""
        patches = border_patches(x1)
        dl3 = tf.reduce_sum(dh * h, [0, 1, 2])
        dh = tf.cast(dh * tf.exp(w["l3"]), a2.dtype)
        d2, dk3, db3 = _conv_backward(a2, w["k3"], patches, dh)
        d2 = tf.raw_ops.ReluGrad(gradients=d2, features=a2)
        dk2 = tf.matmul(_rows(a1), _rows(d2), transpose_a=True)
        dc2 = tf.reduce_sum(d2, [0, 1, 2])
        d1 = tf.raw_ops.ReluGrad(gradients=_matmul(d2, w["k2"], transpose_b=True), features=a1)
        dx1, dk1, db1 = _conv_backward(x1, w["k1"], patches, d1)
        return dx1, [dk1, db1, dk2, dc2, dk3, db3, dl3]


def _split_border(kernel, bias):
    """Splits stacked kernels [depth, 3, 3, in + 1, out] by what multiplies images, and what doesn't.

    Returns:
        [depth, 3, 3, in, out]; and [depth, 10, out], the border channel's part and the bias [depth, out].
    """
    depth, _, _, channels, out = kernel.shape
    inside, border = tf.split(kernel, [channels - 1, 1], 3)
    return inside, tf.concat([tf.reshape(border, [depth, 9, out]), bias[:, None, :]], 1)


def _matmul(x, m, b=None, activation=None, transpose_b=False):
    """Mixes the channels: every position is a row of one matrix product; then a bias and an activation."""
    y = tf.matmul(_rows(x), m, transpose_b=transpose_b)
    if b is not None:  # Before the reshape, so that TensorFlow makes one operation of the three.
        y = tf.nn.bias_add(y, b)
    if activation is not None:
        y = activation(y)
    return _like(x, y)


def _rows(x):
    """Returns images [B, H, W, C] as [B * H * W, C]."""
    return tf.reshape(x, [-1, x.shape[-1]])


def _like(x, rows):
    """Returns rows [B * H * W, C] as images, with x's other dimensions."""
    height, width, channels = *_size(x), rows.shape[-1]
    y = tf.reshape(rows, [-1, height, width, channels])
    y.set_shape([*x.shape[:-1], channels])
    return y


def _size(x):
    """Returns the height and the width of images, static where they are known."""
    return [x.shape[i] or tf.shape(x)[i] for i in (1, 2)]


def _halves(x):
    """Returns the first half of the channels and the rest; of rows, whose slices are the faster ones."""
    rows, half = _rows(x), x.shape[-1] // 2
    return _like(x, rows[:, :half]), _like(x, rows[:, half:])


def _interleave(even, odd):
    """The inverse of `deinterleave`."""
    pairs = tf.transpose(tf.stack([_rows(even), _rows(odd)]), [1, 2, 0])
    return _like(even, tf.reshape(pairs, [-1, 2 * even.shape[-1]]))


def _sum(t):
    return tf.reduce_sum(t, [1, 2, 3])


def _conv(x, kernel, patches, b):
    """3x3 convolution of x, plus the map of the border channel and of the bias; see `_split_border`."""
    border = tf.reshape(patches @ b, [1, *_size(x), b.shape[-1]])
    return tf.nn.conv2d(x, kernel, 1, "SAME") + border


def _conv_backward(x, kernel, patches, dy):
    """Returns the gradients of `_conv` for x, the kernel and b."""
    conv = dict(strides=[1] * 4, padding="SAME")
    dx = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **conv)
    dkernel = tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=tf.shape(kernel), out_backprop=dy, **conv)
    db = tf.matmul(patches, _rows(tf.reduce_sum(dy, 0, keepdims=True)), transpose_a=True)
    return dx, dkernel, db
