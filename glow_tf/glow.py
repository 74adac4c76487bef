"""Glow: from a configuration to a bijector to a distribution over images."""

import functools
import math
import warnings

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import inputs, quantization, threads
from glow_tf.bijectors import GlowStep, MultiScale, Scan, SplitPrior, Squeeze, TopPrior
from glow_tf.bijectors._parameters import as_parameter, may_change
from glow_tf.bijectors.glow_step import step_variables
from glow_tf.config import GlowConfig
from glow_tf.kernels.glow_step import GlowStepKernel
from glow_tf.layers import LOGSCALE_FACTOR, initialization_fault

tfb, tfd = tfp.bijectors, tfp.distributions

__all__ = ["Glow", "GlowConfig"]


class Glow(tf.Module):
    """A Glow: variables, bijector, distribution, and what one does with them.

    Images are uint8 [B, height, width, n_channels], 0 to 255 whatever `n_bits_x` is, which keeps their top
    bits. Labels, only with `ycond`, are integers of any type, [B] or one for all. Contexts, only with
    `context_shape`, are floats, [B, *context_shape] or one for all: every coupling and every prior depends on
    them. A new model doesn't depend on it yet: the weights start at zero. Latents are a list of float
    [B, *shape] for the shapes `config.eps_shapes`. B may be 0.

    What is given is checked: a wrong value is a ValueError, and if its type is wrong a TypeError too; what
    only the run of a graph knows is a tf.errors.InvalidArgumentError of that run.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    model = glow_tf.Glow(glow_tf.GlowConfig(image_size=8, n_levels=2, depth=2, width=16))
    images = tf.cast(tf.random.uniform([32, 8, 8, 3], maxval=256, dtype=tf.int32), tf.uint8)
    model.initialize(images)
    model.bits_per_dim(images)  # [32]
    model.sample(4, temperature=0.7)  # uint8 [4, 8, 8, 3]
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018.
    """

    def __init__(self, config: GlowConfig, *, seed: int | None = None, name="glow"):
        """The weights are random; `initialize` has the normalisations depend on data.

        Args:
            config: what defines the model.
            seed: int, at least 0, for the initial values; new ones at each call unless given.
            name: of the module.
        """
        inputs.require_a(GlowConfig, "config", config)
        super().__init__(name=name)
        self.config = config
        rng = np.random.default_rng(None if seed is None else inputs.require_int("seed", seed, 0))
        self._dtype = config.variable_dtype
        self.levels, self.splits = [], []
        shapes = list(zip(config.level_shapes, config.context_shapes, strict=True))
        for level, ((_, _, channels), context) in enumerate(shapes):
            steps = [
                GlowStep.initial_values(
                    channels, config.width, config.flow_permutation, config.additive, rng, context
                )
                for _ in range(config.depth)
            ]
            stacked = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
            with tf.name_scope(f"level_{level}"):
                self.levels.append(step_variables(stacked, self._dtype))
            if level < config.n_levels - 1:
                self.splits.append(
                    SplitPrior(channels, context_shape=context, dtype=self._dtype, name=f"split_{level}")
                )
        n_y = config.n_y if config.ycond else None
        self._top_channels = config.eps_shapes[-1][-1]
        self.top = step_variables(
            TopPrior.initial_values(self._top_channels, config.learntop, n_y, context), self._dtype
        )
        self.classifier = {}
        if config.ycond:
            zeros = lambda *shape: np.zeros(shape, np.float32)
            values = {
                "W": zeros(self._top_channels, n_y),
                "b": zeros(n_y),
                "logs": zeros(n_y),
            }
            self.classifier = step_variables(values, self._dtype)

    # --- The flow ---

    def _scan(self, level: int, memory: str = "reverse", keep_bytes: int = 0) -> Scan:
        config = self.config
        kind = config.flow_permutation, config.flow_coupling, config.compute_dtype
        return Scan(
            functools.partial(_step, *kind),
            self.levels[level],
            memory=memory,
            keep_bytes=keep_bytes,
            n_shares=threads.n_shares(),
            kernel=GlowStepKernel(*kind),
            name=f"level_{level}",
        )

    def flow(self, y=None, context=None) -> MultiScale:
        """Returns the bijector from dequantised images to the list of latents.

        Its name is "glow". A context may also be given to its methods, `forward(x, context=c)`, or as TFP's
        distributions hand it on, `log_prob(x, bijector_kwargs={"glow": {"context": c}})`.

        Args:
            y: int labels [B] or scalar, which the top prior is conditioned on; only with `ycond`.
            context: float [..., *context_shape], which all is conditioned on; only with `context_shape`. A
                tf.Variable, or a `tfp.util.DeferredTensor`, is read whenever the bijector is asked.

        Returns:
            A `tfb.Bijector`, float [..., height, width, n_channels] -> list of n_levels latents.

        Raises:
            ValueError: if labels are missing, or there are some though the model isn't conditioned on
                them; if they have another shape, or are out of range; for a context likewise, but that it may
                be missing.
        """
        return self._flow(self._labels(y), self._bound_context(context), self.config.memory, 0)

    def _training_flow(self, labels, context) -> MultiScale:
        """Returns a flow that is faster to train than `flow(y)`, which a SavedModel can't hold.

        Kept activations are in TensorArrays, and a SavedModel holds no gradient that needs one of these.
        """
        return self._flow(labels, context, self.config.memory, self.config.keep_bytes)

    def _inference_flow(self, labels, context) -> MultiScale:
        """Returns a flow that keeps nothing of a forward pass; its gradient, if asked for, rebuilds all."""
        return self._flow(labels, context, "reverse", 0)

    def _flow(self, labels, context, memory, keep_bytes):
        flows = [
            tfb.Chain([self._scan(level, memory, keep_bytes), Squeeze()], name=f"flow_{level}")
            for level in range(self.config.n_levels)
        ]
        top = TopPrior(self._top_channels, self.top, labels, dtype=self._dtype)
        return MultiScale(flows, self.splits, top, context=context, name="glow")

    @property
    def bijector(self) -> MultiScale:
        """The bijector image -> list of n_levels latents; with `ycond`, see `flow(y)`.

        With `context_shape`, its methods take the context: `forward(x, context=c)`.
        """
        return self.flow()

    def distribution(self, y=None, temperature=1.0, context=None, name=None) -> tfd.TransformedDistribution:
        """Returns the distribution of dequantised images.

        Its samples know their log-density: `log_prob` of a tensor that `sample` returned inverts nothing. A
        tf.Module that has it as an attribute, or calls it, can be saved by `tf.saved_model.save`, gradients
        included (for `memory` "store" and "recompute" only without them:
        `tf.saved_model.SaveOptions(experimental_custom_gradients=False)`). To train, `losses` is faster.

        Args:
            y: int labels [B] or scalar; only with `ycond`. Its shape is the batch shape, and each label has
                samples of its own.
            temperature: float scalar, or [B], finite and at least 0: scales the latents' standard deviation
                (section 6.2). A tf.Variable, or a `tfp.util.DeferredTensor`, is read whenever the
                distribution is asked, and has a gradient. At 0 there are samples, but no density.
            context: float [..., *context_shape]; only with `context_shape`. Its batch axes, with the labels',
                are the batch shape. Without one, the methods take it: `log_prob(x, bijector_kwargs={"glow":
                {"context": c}})`, and `sample` likewise.
            name: of the distribution. TFP makes one up unless given, which may be that of another one in a
                joint distribution.

        Returns:
            A `tfd.TransformedDistribution`, event shape [height, width, n_channels].

        Raises:
            ValueError: as `flow`; if the temperature is negative or no finite number, or the shapes of
                temperature, labels and the context's batch don't fit.
        """
        labels, context = self._labels(y), self._bound_context(context)
        return tfd.TransformedDistribution(
            distribution=self._base(labels, context, temperature),
            bijector=tfb.Invert(self._flow(labels, context, self.config.memory, 0)),
            name=name,
        )

    def _batch_shape(self, scale, labels, context):
        """Returns the batch shape of a distribution, as far as it is known, and as a tensor."""
        static, batch = scale.shape, tf.shape(scale)
        others = {} if labels is None else {"labels": (labels.shape, tf.shape(labels))}
        if context is not None:
            n = len(self.config.context_shape)
            others["contexts"] = tf.TensorShape(context.shape)[:-n], tf.shape(context)[:-n]
        for name, (its_static, its_batch) in others.items():
            try:
                static = tf.broadcast_static_shape(static, its_static)
            except ValueError as error:
                raise ValueError(
                    f"A temperature of shape {scale.shape} doesn't fit {name} of shape {its_static}."
                    if scale.shape.rank
                    else f"Labels of shape {labels.shape} don't fit contexts of shape {its_static}."
                ) from error
            batch = tf.broadcast_dynamic_shape(batch, its_batch)
        return static, batch

    def _base(self, labels, context, temperature):
        """Returns the distribution of the latents, whose scale is the temperature."""
        scale = inputs.temperature(temperature, self._dtype)
        static, batch = self._batch_shape(scale, labels, context)

        def part(event):
            shape = [*static, *event]

            def latent_scale(temperature):
                scale = inputs.temperature(temperature, self._dtype)[..., None, None, None]
                return tf.ensure_shape(tf.broadcast_to(scale, tf.concat([batch, event], 0)), shape)

            if may_change(temperature):
                parts = tfp.util.DeferredTensor(temperature, latent_scale, dtype=self._dtype, shape=shape)
            else:
                parts = latent_scale(scale)
            return tfd.Independent(tfd.Normal(tf.zeros([], self._dtype), parts), 3)

        base = tfd.JointDistributionSequential([part(shape) for shape in self.config.eps_shapes])
        # TFP keeps the parts here, in a dict with the number of a graph as key; tracked, such a key would
        # keep a tf.Module that has the distribution as an attribute from being saved. Deleting ends that.
        del base._single_sample_distributions
        base._single_sample_distributions = base._no_dependency({})
        return base

    # --- Inputs, checked ---

    def _labels(self, y, n_images=None):
        if self.config.ycond:
            if y is None:
                raise ValueError("This Glow is conditioned on labels (ycond): y is missing.")
            return inputs.labels(y, self.config.n_y, n_images)
        if y is not None:
            raise ValueError("This Glow isn't conditioned on labels (ycond is False): it takes no y.")
        return None

    def _context(self, context, n_images=None):
        """Returns the context in the model's dtype, or None for a model without one."""
        shape = self.config.context_shape
        if not shape:
            if context is not None:
                raise ValueError(
                    "This Glow isn't conditioned on a context (context_shape is ()): it takes none."
                )
            return None
        if context is None:
            raise ValueError(
                f"This Glow is conditioned on a context of the shape {shape}: context is missing."
            )
        return inputs.context(context, shape, self._dtype, n_images)

    def _bound_context(self, context):
        """Returns what a flow is bound to: as `_context`; None leaves it to the flow's methods."""
        if context is None:
            return None
        if not may_change(context):
            return self._context(context)
        self._context(tf.convert_to_tensor(context))
        return as_parameter(context, tf.as_dtype(self._dtype))

    def dequantize(self, images, noise=None, seed=None) -> tf.Tensor:
        """Returns x', the dequantised images, float [B, height, width, n_channels].

        Args:
            images: uint8 [B, height, width, n_channels], 0 to 255: `n_bits_x` keeps the top bits.
            noise: float, the shape of `images`, in [0, 2^-n_bits_x): u itself; new if None.
            seed: for new noise: an integer of any type, or a pair of them. The same number is the same seed.

        Raises:
            TypeError: if images aren't uint8, or noise isn't floating.
            ValueError: if images or noise have another shape, or noise is out of range.
        """
        images = inputs.images(images, self.config.image_shape)
        n_bits = self.config.n_bits_x
        x = quantization.preprocess(images, n_bits, self._dtype)
        if noise is None:
            seed = inputs.stateless_seed(seed)
            return x + quantization.dequantization_noise(tf.shape(x), n_bits, seed, x.dtype)
        return x + inputs.noise(noise, x, n_bits)

    # --- What one does with it ---

    def initialize(self, images, y=None, noise=None, context=None) -> None:
        """Data-dependent initialisation, in the order of the flow, coupling networks included.

        Args:
            images: uint8 [B, height, width, n_channels], 0 to 255: `n_bits_x` keeps the top bits. A warning
                says so if all of them are in one bin.
            y: int labels [B]; not used, as in the original, where no normalisation depends on it.
            noise: float, the shape of `images`, in [0, 2^-n_bits_x): u itself; new unless given.
            context: float [B, *context_shape], or [*context_shape] for all; zeros unless given. Nothing in a
                new model depends on it.

        Raises:
            ValueError: if there are no images, or values within the flow don't differ, or aren't finite, so
                that no scale can give them unit variance. The model is left as it was.
        """
        del y
        images = inputs.images(images, self.config.image_shape, one_batch=True)
        x = self.dequantize(images, noise)
        if context is None and self.config.context_shape:
            context = tf.zeros(self.config.context_shape, self._dtype)
        context = self._context(context, _batch(x))
        if not tf.executing_eagerly():
            self._initialize(x, context)
            return
        if not tf.size(x):
            raise ValueError(f"Data-dependent initialisation needs images, got none: shape {x.shape}.")
        self._warn_of_one_bin(images)
        initialized = [(level, key) for level in self.levels for key in GlowStep.data_dependent_keys]
        before = [tf.identity(level[key]) for level, key in initialized]
        self._initialize(x, context)
        fault = self._initialization_fault()
        if fault:
            for (level, key), value in zip(initialized, before, strict=True):
                level[key].assign(value)
            raise ValueError(
                f"Data-dependent initialisation from {x.shape[0]} images: {fault} The model is as it was."
            )

    def _warn_of_one_bin(self, images):
        least, most = (int(reduce(tf.cast(images, tf.int32))) for reduce in (tf.reduce_min, tf.reduce_max))
        size = 2 ** (8 - self.config.n_bits_x)
        if least // size == most // size:
            warnings.warn(
                f"The images to initialise from have values from {least} to {most}, which are all in one of "
                f"the {2**self.config.n_bits_x} bins. Images are 0 to 255: n_bits_x={self.config.n_bits_x} "
                "keeps the top bits.",
                stacklevel=3,
            )

    def _initialization_fault(self) -> str | None:
        """Returns what is wrong with the first normalisation, in the flow's order, that has no scale."""
        for level, variables in enumerate(self.levels):
            fault = initialization_fault({key: variables[key] for key in GlowStep.data_dependent_keys})
            if fault:
                return f"on level {level}, {fault}."
        return None

    @tf.function(reduce_retracing=True, autograph=False)
    def _initialize(self, x, context=None):
        z = x
        for level in range(self.config.n_levels):
            z = self._scan(level).initialize(Squeeze().forward(z), context)
            if level < self.config.n_levels - 1:
                z, _ = self.splits[level].forward(z, context=context)

    def _latents_and_log_prob(self, flow, x):
        eps = flow.forward(x)
        normal = tf.add_n([-0.5 * tf.reduce_sum(tf.square(e), [-3, -2, -1]) for e in eps])
        normal -= 0.5 * math.log(2 * math.pi) * self.config.n_dims
        return eps, normal + flow.forward_log_det_jacobian(x)

    def bits_per_dim(self, images, y=None, noise=None, seed=None, context=None) -> tf.Tensor:
        """Returns bits per dimension of each image, float32 [B].

        Args:
            images: uint8 [B, height, width, n_channels], 0 to 255: `n_bits_x` keeps the top bits.
            y: int labels [B] or scalar; only with `ycond`.
            noise: float, the shape of `images`, in [0, 2^-n_bits_x): u itself, nothing is random then.
            seed: for new noise: an integer of any type, or a pair of them. The same number is the same seed.
            context: float [B, *context_shape], or [*context_shape] for all; only with `context_shape`.

        Raises:
            TypeError: if images aren't uint8, labels not integers, noise or context not floating.
            ValueError: if images, labels, noise or context have another shape, or are out of range; if labels
                or a context are missing, or there are some though the model isn't conditioned on them.
        """
        x = self.dequantize(images, noise, seed)
        _, log_prob = self._latents_and_log_prob(self._inference_flow(*self._conditions(y, context, x)), x)
        return tf.cast(self._bits(log_prob), tf.float32)

    def _bits(self, log_prob):
        return quantization.bits_per_dim(log_prob, self.config.n_dims, self.config.n_bits_x)

    def _conditions(self, y, context, x):
        """Returns labels and context for images or latents x, None for what the model doesn't depend on."""
        return self._labels(y, _batch(x)), self._context(context, _batch(x))

    def losses(self, images, y=None, weight_y=0.0, noise=None, context=None) -> dict[str, tf.Tensor]:
        """Returns the original's training loss and its parts, each float [B].

        Args:
            images: uint8 [B, height, width, n_channels], 0 to 255: `n_bits_x` keeps the top bits.
            y: int labels [B] or scalar; only with `ycond`.
            weight_y: float, at least 0, the weight of the classifier's loss; 0 leaves the classifier out.
            noise: float, the shape of `images`, in [0, 2^-n_bits_x): u itself; new unless given.
            context: float [B, *context_shape], or [*context_shape] for all; only with `context_shape`. It has
                a gradient.

        Returns:
            A dict: loss = bits_x + weight_y * bits_y; bits_x, bits per dimension; bits_y, the
            classifier's cross-entropy in bits; pred_loss, 1 where its most likely label is wrong.
            Without a classifier bits_y is 0 and pred_loss 1, as in the original.

        Raises:
            TypeError, ValueError: as `bits_per_dim`; and if `weight_y` isn't a number, or is negative or not
                finite.
        """
        weight_y = inputs.require_number("weight_y", weight_y, 0)
        x = self.dequantize(images, noise)
        labels, context = self._conditions(y, context, x)
        flow = self._training_flow(labels, context)
        eps, log_prob = self._latents_and_log_prob(flow, x)
        bits_x = self._bits(log_prob)
        if not (self.config.ycond and weight_y > 0):
            return dict(loss=bits_x, bits_x=bits_x, bits_y=0 * bits_x, pred_loss=1 + 0 * bits_x)
        z = flow.top.inverse(eps[-1], context=context)
        w = self.classifier
        logits = tf.reduce_mean(z, [1, 2]) @ tf.convert_to_tensor(w["W"]) + w["b"]
        logits *= tf.exp(LOGSCALE_FACTOR * tf.convert_to_tensor(w["logs"]))
        labels = tf.broadcast_to(labels, tf.shape(logits)[:1])
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        bits_y = cross_entropy / math.log(2.0)
        wrong = tf.cast(tf.argmax(logits, -1) != labels, bits_x.dtype)
        return dict(loss=bits_x + weight_y * bits_y, bits_x=bits_x, bits_y=bits_y, pred_loss=wrong)

    def encode(self, images, y=None, noise=None, context=None) -> list[tf.Tensor]:
        """Returns the latents of images, the level that is split off first comes first.

        Args:
            images: uint8 [B, height, width, n_channels], 0 to 255: `n_bits_x` keeps the top bits.
            y: int labels [B] or scalar; only with `ycond`.
            noise: float, the shape of `images`, in [0, 2^-n_bits_x): u itself; new unless given.
            context: float [B, *context_shape], or [*context_shape] for all; only with `context_shape`.

        Raises:
            TypeError, ValueError: as `bits_per_dim`.
        """
        x = self.dequantize(images, noise)
        return self._inference_flow(*self._conditions(y, context, x)).forward(x)

    def decode_float(self, eps, y=None, context=None) -> tf.Tensor:
        """Returns the dequantised images of latents, float [B, height, width, n_channels].

        Args:
            eps: list of n_levels float [B, *shape].
            y: int labels [B] or scalar; only with `ycond`.
            context: float [B, *context_shape], or [*context_shape] for all; only with `context_shape`.

        Raises:
            ValueError: if the latents aren't as many, or not as large, as `config.eps_shapes`; for labels and
                context, as `bits_per_dim`.
        """
        eps = self._latents(eps)
        return self._inference_flow(*self._conditions(y, context, eps[-1])).inverse(eps)

    def _latents(self, eps) -> list[tf.Tensor]:
        shapes = self.config.eps_shapes
        eps = [tf.convert_to_tensor(e, self._dtype) for e in eps]
        fits = len(eps) == len(shapes) and all(
            e.shape[-3:].is_compatible_with(shape) and e.shape[:-3].is_compatible_with(eps[0].shape[:-3])
            for e, shape in zip(eps, shapes, strict=True)
        )
        if not fits:
            raise ValueError(
                f"Latents must be a list of [B, *shape], one B for all, for the shapes {shapes}, got "
                f"{[tuple(e.shape) for e in eps]}."
            )
        return eps

    def decode(self, eps, y=None, context=None) -> tf.Tensor:
        """Returns the images of latents, uint8 [B, height, width, n_channels]; see `decode_float`."""
        return quantization.postprocess(self.decode_float(eps, y, context), self.config.n_bits_x)

    def sample(self, n, y=None, temperature=0.7, seed=None, context=None) -> tf.Tensor:
        """Returns new images, uint8 [n, height, width, n_channels].

        Args:
            n: int, how many, at least 0.
            y: int labels [n] or scalar; only with `ycond`.
            temperature: float scalar or [n], at least 0; the paper shows 0.7 (section 6.2).
            seed: an integer of any type, or a pair of them. The same number gives the same images.
            context: float [n, *context_shape], or [*context_shape] for all; only with `context_shape`.

        Raises:
            TypeError: if n or labels aren't integers.
            ValueError: if n or the temperature is negative, or the temperature isn't finite; for labels and
                context, as `bits_per_dim`.
        """
        n = inputs.n_samples(n)
        scale = tf.broadcast_to(inputs.temperature(temperature, self._dtype, n), [n])[:, None, None, None]
        seeds = inputs.split_seed(inputs.stateless_seed(seed), self.config.n_levels)
        eps = [
            scale * tf.random.stateless_normal([n, *shape], s, dtype=self._dtype)
            for shape, s in zip(self.config.eps_shapes, seeds, strict=True)
        ]
        return self.decode(eps, y, context)

    def flatten_latents(self, eps) -> tf.Tensor:
        """Returns the latents as float [B, M], in the order of `eps`, each in row-major order.

        Raises:
            ValueError: if the latents aren't as many, or not as large, as `config.eps_shapes`.
        """
        eps = self._latents(eps)
        return tf.concat([tf.reshape(e, [-1, math.prod(e.shape[-3:])]) for e in eps], -1)

    def unflatten_latents(self, flat) -> list[tf.Tensor]:
        """Returns the latents, a list, of what `flatten_latents` returned.

        Raises:
            ValueError: if the shape isn't [B, M].
        """
        flat = tf.convert_to_tensor(flat, self._dtype)
        shapes = self.config.eps_shapes
        if not flat.shape.is_compatible_with([None, self.config.n_dims]):
            raise ValueError(f"Flat latents must be [B, {self.config.n_dims}], got shape {flat.shape}.")
        parts = tf.split(flat, [math.prod(shape) for shape in shapes], -1)
        return [tf.reshape(e, [-1, *shape]) for e, shape in zip(parts, shapes, strict=True)]


def _step(permutation, coupling, compute_dtype, parameters):
    """Makes a step for `Scan`; no closure, so that bijectors can be pickled."""
    return GlowStep(
        permutation=permutation, coupling=coupling, compute_dtype=compute_dtype, parameters=parameters
    )


def _batch(x):
    """Returns B of images or latents [B, H, W, C], static where it is known; None for a single image."""
    if x.shape.rank is not None and x.shape.rank < 4:
        return None
    return tf.shape(x)[-4] if x.shape.rank is None or x.shape[-4] is None else x.shape[-4]
