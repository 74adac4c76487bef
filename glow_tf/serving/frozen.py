"""The flow of a trained Glow with all that depends on the weights alone computed once."""

import math

import tensorflow as tf

from glow_tf import inputs
from glow_tf.bijectors import Squeeze
from glow_tf.context import linear_term
from glow_tf.glow import Glow
from glow_tf.kernels.glow_step import WEIGHTS, GlowStepKernel
from glow_tf.layers import LOGSCALE_FACTOR, border_map, conv_zeros


class FrozenGlow(tf.Module):
    """A Glow for inference: the same function as the model's bijector, several times faster for one image.

    Computed here, once: the fused kernels, the inverse 1x1 convolutions, the log-dets of the weights,
    the border maps and the top prior. The steps of a level are unrolled, not a loop, over one variable
    `[depth, ...]` per kind of weight. Later changes of the model's variables aren't seen.

    Latents come in two kinds, which are one where the model has no labels. Given a label, they are those
    of `Glow.encode`, standardised by the prior of that label. Without one, the last latent is standardised
    by the prior with the label's own part left out: so images of different labels can be mixed.

    A context, float [B, *config.context_shape], is given where the model depends on one, and only there.
    """

    def __init__(self, model: Glow, name="frozen_glow"):
        """Computes the weights from the model's current ones; raises a ValueError if one isn't finite."""
        inputs.require_a(Glow, "model", model)
        wrong = [v.name for v in model.variables if v.dtype.is_floating and not _is_finite(v)]
        if wrong:
            raise ValueError(f"{len(wrong)} weights of the model aren't finite: {', '.join(wrong[:5])}.")
        super().__init__(name=name)
        config = self.config = model.config
        self.dtype = tf.as_dtype(config.variable_dtype)
        self._kernel = GlowStepKernel(config.flow_permutation, config.flow_coupling, config.compute_dtype)
        self._log_det = 0.0
        self._levels, self._splits = [], []
        for variables, (height, width, _) in zip(model.levels, config.level_shapes, strict=True):
            parameters = {key: tf.convert_to_tensor(value) for key, value in variables.items()}
            weights, log_det = self._kernel.fold(parameters, [height, width])
            weights = [*self._kernel.fold_map(weights, height, width), *self._kernel.fold_inverse(weights)]
            names = [*WEIGHTS, *(["context"] if config.context_shape else []), "inverse_m"]
            self._levels.append([_constant(w, name) for w, name in zip(weights, names, strict=True)])
            self._log_det += float(log_det)
        for split, (height, width, _) in zip(model.splits, config.level_shapes, strict=False):
            weights = _split_weights(split, height, width)
            self._splits.append({key: _constant(value, key) for key, value in weights.items()})
        prior, label_prior = _top_prior(model)
        self._prior = _constant(prior, "prior")
        self._label_prior = None if label_prior is None else _constant(label_prior, "label_prior")
        w = model.top.get("context_W")
        self._context_prior = None if w is None else _constant(w, "context_prior")

    def prior(self, y=None, context=None) -> tf.Tensor:
        """Returns the mean and logs of the last latent, float [B, height, width, 2 channels].

        Args:
            y: int labels [B], which must be in range; None leaves the label's part out.
            context: see the class. B is 1 without labels and context.
        """
        prior = tf.convert_to_tensor(self._prior)[None]
        if y is not None and self._label_prior is not None:
            prior += tf.gather(self._label_prior, y)[:, None, None, :]
        if context is not None:
            prior += linear_term(context, tf.convert_to_tensor(self._context_prior), *prior.shape[1:3])
        return prior

    def encode(self, x, prior, context=None) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the latents of dequantised images, and log p(x) in nats.

        Args:
            x: float [B, height, width, n_channels].
            prior: what `prior` returned.
            context: see the class.

        Returns:
            A list of float [B, *shape] for the shapes `config.eps_shapes`, and float [B].
        """
        log_det = tf.fill(tf.shape(x)[:1], tf.constant(self._log_det, self.dtype))
        eps, squeeze, last = [], Squeeze(), self.config.n_levels - 1
        for level in range(self.config.n_levels):
            x = squeeze.forward(x)
            x = self._kernel.enter(x)
            at_level = self._context_at(level, x, context)
            for weights in self._steps(level):
                x, step_log_det, _ = self._kernel.forward(weights, x, at_level)
                log_det += step_log_det
            x = self._kernel.leave(x)
            if level < last:
                x, z = tf.split(x, 2, -1)
                moments = self._split_moments(level, x, context)
            else:
                z, moments = x, prior
            mean, logs = tf.split(moments, 2, -1)
            eps.append((z - mean) * tf.exp(-logs))
            log_det -= _sum(logs)
        normal = tf.add_n([-0.5 * _sum(tf.square(e)) for e in eps])
        return eps, normal - 0.5 * math.log(2 * math.pi) * self.config.n_dims + log_det

    def decode(self, eps, prior, context=None) -> tf.Tensor:
        """Returns the dequantised images of latents, float [B, height, width, n_channels].

        Args:
            eps: list of float [B, *shape] for the shapes `config.eps_shapes`.
            prior: what `prior` returned.
            context: see the class.
        """

        def scaled(e, moments):
            mean, logs = tf.split(moments, 2, -1)
            return mean + e * tf.exp(logs)

        squeeze, x = Squeeze(), scaled(eps[-1], prior)
        for level in reversed(range(self.config.n_levels)):
            if level < self.config.n_levels - 1:
                x = tf.concat([x, scaled(eps[level], self._split_moments(level, x, context))], -1)
            x = self._kernel.enter(x)
            at_level = self._context_at(level, x, context)
            for weights in reversed(self._steps(level)):
                x, _, _ = self._kernel.inverse(weights, x, at_level)
            x = squeeze.inverse(self._kernel.leave(x))
        return x

    def flatten(self, eps) -> tf.Tensor:
        """Returns latents as float [B, M], in the order of `Glow.flatten_latents`."""
        return tf.concat([tf.reshape(e, [-1, math.prod(e.shape[1:])]) for e in eps], -1)

    def unflatten(self, flat) -> list[tf.Tensor]:
        """Returns the latents, a list, of what `flatten` returned."""
        shapes = self.config.eps_shapes
        parts = tf.split(flat, [math.prod(shape) for shape in shapes], -1)
        return [tf.reshape(e, [-1, *shape]) for e, shape in zip(parts, shapes, strict=True)]

    def _steps(self, level):
        """Returns the weights of each step; one operation per kind for all, whose slices are no copies."""
        return list(zip(*(tf.unstack(tf.convert_to_tensor(w)) for w in self._levels[level]), strict=True))

    def _context_at(self, level, x, context):
        """Returns a context as the steps of a level take it, whose state is x; None if there is none."""
        if context is None:
            return None
        return self._kernel.enter_context({"l_1_context_W": self._levels[level][len(WEIGHTS)]}, x, context)

    def _split_moments(self, level, z1, context):
        w = self._splits[level]
        moments = tf.nn.conv2d(z1, tf.convert_to_tensor(w["kernel"]), 1, "SAME") + w["map"]
        if context is None:
            return moments
        return moments + linear_term(context, tf.convert_to_tensor(w["context"]), *z1.shape[1:3])


def _is_finite(variable):
    return bool(tf.reduce_all(tf.math.is_finite(variable)))


def _constant(value, name):
    """A variable, not a constant of the graph: each signature's graph would hold a copy of that."""
    return tf.Variable(value, trainable=False, name=name)


def _shifts_first(t):
    """Reorders the last axis: the even channels, which are shifts or means, before the odd ones, scales."""
    return tf.concat([t[..., 0::2], t[..., 1::2]], -1)


def _split_weights(split, height, width):
    """Returns the convolution of a SplitPrior with its scale folded in.

    `map`, [height, width, channels], is what the border channel and the bias add.
    """
    scale = tf.exp(LOGSCALE_FACTOR * split.logs)
    kernel, bias = _shifts_first(split.w * scale), _shifts_first(split.b * scale)
    border = border_map(kernel[:, :, -1:], height, width)[0]
    weights = dict(kernel=kernel[:, :, :-1], map=border + bias)
    if split.context_w is not None:
        weights["context"] = _shifts_first(split.context_w * scale)
    return weights


def _top_prior(model):
    """Returns the top prior without a label [H, W, 2 C], and what each label adds [n_y, 2 C] or None."""
    height, width, channels = model.config.eps_shapes[-1]
    w = model.top
    prior = tf.zeros([height, width, 2 * channels], model.config.variable_dtype)
    if "p_W" in w:
        prior = conv_zeros(prior[None], tf.convert_to_tensor(w["p_W"]), w["p_b"], w["p_logs"])[0]
    if "y_emb_W" not in w:
        return prior, None
    scale = tf.exp(LOGSCALE_FACTOR * w["y_emb_logs"])
    return prior + w["y_emb_b"] * scale, w["y_emb_W"] * scale


def _sum(t):
    return tf.reduce_sum(t, [1, 2, 3])
