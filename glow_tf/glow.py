"""Glow: from a configuration to a bijector to a distribution over images."""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import quantization
from glow_tf.bijectors import GlowStep, MultiScale, Scan, SplitPrior, Squeeze, TopPrior
from glow_tf.bijectors.glow_step import PERMUTATIONS, step_variables
from glow_tf.data_dependent_init import LOGSCALE_FACTOR
from glow_tf.kernels.glow_step import GlowStepKernel
from glow_tf.kernels.loops import MEMORY

tfb, tfd = tfp.bijectors, tfp.distributions

COUPLINGS = ("additive", "affine")

DTYPES = ("float32", "float64", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlowConfig:
    """What defines a Glow; names are the original's, defaults its CIFAR-10 model's.

    Attributes:
        image_size: int, height and width, or a pair (height, width); 2^n_levels divides both.
        n_channels: int, of the images.
        n_levels: int, L in the paper.
        depth: int, steps of flow a level, K in the paper.
        width: int, channels of the coupling networks' hidden layers.
        flow_permutation: "reverse", "shuffle" or "invconv".
        flow_coupling: "additive" or "affine".
        learntop: whether the top prior is learned.
        ycond: whether the top prior depends on a label.
        n_y: int, the number of labels.
        n_bits_x: int, 1 to 8, bits a dimension of the images.
        memory: "store", "recompute" or "reverse": what training keeps, see `bijectors.Scan`.
        keep_bytes: int, how much "reverse" keeps of each level's last steps, which aren't rebuilt then.
        dtype: "float32", "float64", or "mixed_bfloat16", where only the coupling networks'
            convolutions are bfloat16: faster, and bits per dimension within 0.002; but decoding what was
            encoded is off by up to 0.002 (half a bin of 8 bits), not by 1e-6, for the networks round.

    Raises:
        ValueError: for a value that isn't allowed; the message names it and what is.
    """

    image_size: int | tuple[int, int] = 32
    n_channels: int = 3
    n_levels: int = 3
    depth: int = 32
    width: int = 512
    flow_permutation: str = "invconv"
    flow_coupling: str = "affine"
    learntop: bool = True
    ycond: bool = False
    n_y: int = 10
    n_bits_x: int = 8
    memory: str = "reverse"
    keep_bytes: int = 2**26
    dtype: str = "float32"

    def __post_init__(self):
        """Checks every value."""
        for name in ("n_channels", "n_levels", "depth", "width", "n_y"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}.")
        allowed = {
            "flow_permutation": PERMUTATIONS,
            "flow_coupling": COUPLINGS,
            "memory": MEMORY,
            "dtype": DTYPES,
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}, got {getattr(self, name)!r}.")
        quantization.require_n_bits(self.n_bits_x)
        divisor = 2**self.n_levels
        for size in self.image_shape[:2]:
            if int(size) != size or size < 1 or size % divisor:
                raise ValueError(
                    f"image_size {self.image_size!r} must be a positive multiple of "
                    f"2^n_levels = {divisor}: each of the {self.n_levels} levels halves it."
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, n_channels)."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, (int, np.integer)) else size
        return int(height), int(width), self.n_channels

    @property
    def n_dims(self) -> int:
        """M = height * width * n_channels."""
        return math.prod(self.image_shape)

    @property
    def eps_shapes(self) -> list[tuple[int, int, int]]:
        """The shapes of the latents, the level that is split off first comes first."""
        height, width, channels = self.image_shape
        shapes = []
        for _ in range(self.n_levels):
            height, width, channels = height // 2, width // 2, channels * 2
            shapes.append((height, width, channels))
        shapes[-1] = (height, width, 2 * channels)  # The last level isn't split.
        return shapes


class Glow(tf.Module):
    """A Glow: variables, bijector, distribution, and what one does with them.

    Images are uint8 [B, height, width, n_channels], labels int [B] (only with `ycond`), latents a list
    of float [B, *shape] for the shapes `config.eps_shapes`.

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018.
    """

    def __init__(self, config: GlowConfig, *, seed: int | None = None, name="glow"):
        """Makes the variables.

        Args:
            config: what defines the model.
            seed: int, for the initial values; new ones at each call unless given.
            name: of the module.
        """
        super().__init__(name=name)
        self.config = config
        rng = np.random.default_rng(seed)
        self._dtype = "float64" if config.dtype == "float64" else "float32"
        self._compute_dtype = "bfloat16" if config.dtype == "mixed_bfloat16" else None
        additive = config.flow_coupling == "additive"
        self.levels, self.splits = [], []
        for level, (_, _, channels) in enumerate(config.eps_shapes):
            last = level == config.n_levels - 1
            channels *= 1 if last else 2
            steps = [
                GlowStep.initial_values(channels, config.width, config.flow_permutation, additive, rng)
                for _ in range(config.depth)
            ]
            stacked = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
            with tf.name_scope(f"level_{level}"):
                self.levels.append(step_variables(stacked, self._dtype))
            if not last:
                self.splits.append(SplitPrior(channels, dtype=self._dtype, name=f"split_{level}"))
        n_y = config.n_y if config.ycond else None
        self._top_channels = config.eps_shapes[-1][-1]
        self.top = step_variables(
            TopPrior.initial_values(self._top_channels, config.learntop, n_y), self._dtype
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
        additive = config.flow_coupling == "additive"

        return Scan(
            functools.partial(_step, config.flow_permutation, additive, self._compute_dtype),
            self.levels[level],
            memory=memory,
            keep_bytes=keep_bytes,
            kernel=GlowStepKernel(config.flow_permutation, additive, self._compute_dtype),
            name=f"level_{level}",
        )

    def flow(self, y=None) -> MultiScale:
        """Returns the bijector from dequantised images to the list of latents.

        Args:
            y: int labels [B] or scalar, which the top prior is conditioned on; only with `ycond`.

        Returns:
            A `tfb.Bijector`, float [..., height, width, n_channels] -> list of n_levels latents.

        Raises:
            ValueError: if the model is conditioned on labels and there are none, or they are out of
                range.
        """
        return self._flow(y, self.config.memory, 0)

    def _training_flow(self, y) -> MultiScale:
        """Returns `flow(y)`, faster to train, which a SavedModel can't hold.

        Kept activations are in TensorArrays, and a SavedModel holds no gradient that needs one of these.
        """
        return self._flow(y, self.config.memory, self.config.keep_bytes)

    def _inference_flow(self, y) -> MultiScale:
        """Returns a flow that keeps nothing of a forward pass; its gradient, if asked for, rebuilds all."""
        return self._flow(y, "reverse", 0)

    def _flow(self, y, memory, keep_bytes):
        flows = [
            tfb.Chain([self._scan(level, memory, keep_bytes), Squeeze()], name=f"flow_{level}")
            for level in range(self.config.n_levels)
        ]
        top = TopPrior(self._top_channels, self.top, self._labels(y), dtype=self._dtype)
        return MultiScale(flows, self.splits, top, name="glow")

    @property
    def bijector(self) -> MultiScale:
        """The bijector image -> list of n_levels latents; with `ycond`, see `flow(y)`."""
        return self.flow()

    def distribution(self, y=None, temperature=1.0) -> tfd.TransformedDistribution:
        """Returns the distribution of dequantised images.

        Its samples know their log-density: `log_prob` of a tensor that `sample` returned inverts nothing. A
        tf.Module that has it as an attribute, or calls it, can be saved by `tf.saved_model.save`, gradients
        included (for `memory` "store" and "recompute" only without them:
        `tf.saved_model.SaveOptions(experimental_custom_gradients=False)`). To train, `losses` is faster.

        Args:
            y: int labels [B] or scalar; only with `ycond`. Its shape is the batch shape.
            temperature: float scalar, or [B]: scales the latents' standard deviation (section 6.2).

        Returns:
            A `tfd.TransformedDistribution`, event shape [height, width, n_channels].
        """
        return tfd.TransformedDistribution(
            distribution=self._base(y, temperature), bijector=tfb.Invert(self.flow(y)), name="glow"
        )

    def _base(self, y, temperature):
        scale = tf.convert_to_tensor(temperature, self._dtype)
        batch = tf.shape(scale) if y is None else tf.broadcast_dynamic_shape(tf.shape(y), tf.shape(scale))
        static = scale.shape
        if y is not None:
            static = tf.broadcast_static_shape(static, tf.convert_to_tensor(y).shape)

        def part(shape):
            parts = tf.broadcast_to(scale[..., None, None, None], tf.concat([batch, shape], 0))
            parts = tf.ensure_shape(parts, [*static, *shape])
            return tfd.Independent(tfd.Normal(tf.zeros([], parts.dtype), parts), 3)

        base = tfd.JointDistributionSequential([part(shape) for shape in self.config.eps_shapes])
        # TFP keeps the parts here, in a dict with the number of a graph as key; tracked, such a key would
        # keep a tf.Module that has the distribution as an attribute from being saved. Deleting ends that.
        del base._single_sample_distributions
        base._single_sample_distributions = base._no_dependency({})
        return base

    # --- Inputs, checked ---

    def _labels(self, y):
        if not self.config.ycond:
            return None
        if y is None:
            raise ValueError("This Glow is conditioned on labels (ycond): y is missing.")
        y = tf.convert_to_tensor(y)
        if not y.dtype.is_integer:
            raise TypeError(f"Labels must be integers, got {y.dtype.name}.")
        n_y = self.config.n_y
        value = tf.get_static_value(y)
        if value is not None:
            wrong = np.asarray(value)[(np.asarray(value) < 0) | (np.asarray(value) >= n_y)]
            if wrong.size:
                raise ValueError(f"Labels must be from 0 to {n_y - 1}, got {wrong.ravel()[0]}.")
            return y
        message = f"Labels must be from 0 to {n_y - 1}."
        checks = [
            tf.debugging.assert_non_negative(y, message),
            tf.debugging.assert_less(y, tf.cast(n_y, y.dtype), message),
        ]
        with tf.control_dependencies([c for c in checks if c is not None]):
            return tf.identity(y)

    def dequantize(self, images, noise=None, seed=None):
        """Returns x', the dequantised images, float [B, height, width, n_channels].

        Args:
            images: uint8 [B, height, width, n_channels].
            noise: float, the shape of `images`: u itself; new if None.
            seed: int or int [2] for new noise.

        Raises:
            TypeError: if images aren't uint8.
            ValueError: if images have another shape.
        """
        images = tf.convert_to_tensor(images)
        if not images.shape[-3:].is_compatible_with(self.config.image_shape):
            raise ValueError(
                f"Images must be [B, {', '.join(map(str, self.config.image_shape))}], got shape "
                f"{images.shape}."
            )
        x = quantization.preprocess(images, self.config.n_bits_x, self._dtype)
        if noise is None:
            seed = _stateless_seed(seed)
            noise = quantization.dequantization_noise(tf.shape(x), self.config.n_bits_x, seed, x.dtype)
        return x + tf.cast(noise, x.dtype)

    # --- What one does with it ---

    def initialize(self, images, y=None, noise=None) -> None:
        """Data-dependent initialisation, in the order of the flow, coupling networks included.

        Args:
            images: uint8 [B, height, width, n_channels].
            y: int labels [B]; not used, as in the original, where no normalisation depends on it.
            noise: float, the shape of `images`: u itself; new unless given.
        """
        del y
        self._initialize(self.dequantize(images, noise))

    @tf.function(reduce_retracing=True)
    def _initialize(self, x):
        z = x
        for level in range(self.config.n_levels):
            z = self._scan(level).initialize(Squeeze().forward(z))
            if level < self.config.n_levels - 1:
                z, _ = self.splits[level].forward(z)

    def _latents_and_log_prob(self, flow, x):
        eps = flow.forward(x)
        normal = tf.add_n([-0.5 * tf.reduce_sum(tf.square(e), [-3, -2, -1]) for e in eps])
        normal -= 0.5 * math.log(2 * math.pi) * self.config.n_dims
        return eps, normal + flow.forward_log_det_jacobian(x)

    def bits_per_dim(self, images, y=None, noise=None, seed=None) -> tf.Tensor:
        """Returns bits per dimension of each image, float32 [B].

        Args:
            images: uint8 [B, height, width, n_channels].
            y: int labels [B]; only with `ycond`.
            noise: float, the shape of `images`: u itself, nothing is random then.
            seed: int or int [2] for new noise.

        Raises:
            TypeError: if images aren't uint8, or labels not integers.
            ValueError: if images have another shape, or labels are missing or out of range.
        """
        x = self.dequantize(images, noise, seed)
        _, log_prob = self._latents_and_log_prob(self._inference_flow(y), x)
        return tf.cast(self._bits(log_prob), tf.float32)

    def _bits(self, log_prob):
        return quantization.bits_per_dim(log_prob, self.config.n_dims, self.config.n_bits_x)

    def losses(self, images, y=None, weight_y=0.0, noise=None) -> dict[str, tf.Tensor]:
        """Returns the original's training loss and its parts, each float [B].

        Args:
            images: uint8 [B, height, width, n_channels].
            y: int labels [B]; only with `ycond`.
            weight_y: float, the weight of the classifier's loss; 0 leaves the classifier out.
            noise: float, the shape of `images`: u itself; new unless given.

        Returns:
            A dict: loss = bits_x + weight_y * bits_y; bits_x, bits per dimension; bits_y, the
            classifier's cross-entropy in bits; pred_loss, 1 where its most likely label is wrong.
            Without a classifier bits_y is 0 and pred_loss 1, as in the original.
        """
        flow = self._training_flow(y)
        eps, log_prob = self._latents_and_log_prob(flow, self.dequantize(images, noise))
        bits_x = self._bits(log_prob)
        if not (self.config.ycond and weight_y > 0):
            return dict(loss=bits_x, bits_x=bits_x, bits_y=0 * bits_x, pred_loss=1 + 0 * bits_x)
        z = flow.top.inverse(eps[-1])
        w = self.classifier
        logits = tf.reduce_mean(z, [1, 2]) @ tf.convert_to_tensor(w["W"]) + w["b"]
        logits *= tf.exp(LOGSCALE_FACTOR * tf.convert_to_tensor(w["logs"]))
        y = tf.cast(y, tf.int64)
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        bits_y = cross_entropy / math.log(2.0)
        wrong = tf.cast(tf.argmax(logits, -1) != y, bits_x.dtype)
        return dict(loss=bits_x + weight_y * bits_y, bits_x=bits_x, bits_y=bits_y, pred_loss=wrong)

    def encode(self, images, y=None, noise=None) -> list[tf.Tensor]:
        """Returns the latents of images, the level that is split off first comes first.

        Args:
            images: uint8 [B, height, width, n_channels].
            y: int labels [B]; only with `ycond`.
            noise: float, the shape of `images`: u itself; new unless given.
        """
        return self._inference_flow(y).forward(self.dequantize(images, noise))

    def decode_float(self, eps, y=None) -> tf.Tensor:
        """Returns the dequantised images of latents, float [B, height, width, n_channels].

        Args:
            eps: list of n_levels float [B, *shape].
            y: int labels [B]; only with `ycond`.

        Raises:
            ValueError: if the latents aren't as many, or not as large, as `config.eps_shapes`.
        """
        shapes = self.config.eps_shapes
        eps = [tf.convert_to_tensor(e, self._dtype) for e in eps]
        fits = len(eps) == len(shapes) and all(
            e.shape[-3:].is_compatible_with(s) for e, s in zip(eps, shapes, strict=True)
        )
        if not fits:
            raise ValueError(
                f"Latents must be a list of [B, *shape] for the shapes {shapes}, got "
                f"{[tuple(e.shape) for e in eps]}."
            )
        return self._inference_flow(y).inverse(eps)

    def decode(self, eps, y=None) -> tf.Tensor:
        """Returns the images of latents, uint8 [B, height, width, n_channels]; see `decode_float`."""
        return quantization.postprocess(self.decode_float(eps, y), self.config.n_bits_x)

    def sample(self, n, y=None, temperature=0.7, seed=None) -> tf.Tensor:
        """Returns new images, uint8 [n, height, width, n_channels].

        Args:
            n: int, how many.
            y: int labels [n] or scalar; only with `ycond`.
            temperature: float scalar or [n], at least 0; the paper shows 0.7 (section 6.2).
            seed: int or int [2]; the same seed gives the same images.

        Raises:
            ValueError: if the temperature is negative or not finite.
        """
        value = tf.get_static_value(tf.convert_to_tensor(temperature))
        if value is not None and not (np.isfinite(value).all() and (value >= 0).all()):
            raise ValueError(f"temperature must be finite and at least 0, got {temperature!r}.")
        if self.config.ycond and y is not None:
            y = tf.broadcast_to(self._labels(y), [n])
        scale = tf.convert_to_tensor(temperature, self._dtype)
        scale = tf.broadcast_to(scale, [n])[:, None, None, None]
        seeds = tf.random.split(_stateless_seed(seed), self.config.n_levels)
        eps = [
            scale * tf.random.stateless_normal([n, *shape], s, dtype=self._dtype)
            for shape, s in zip(self.config.eps_shapes, tf.unstack(seeds), strict=True)
        ]
        return self.decode(eps, y)

    def flatten_latents(self, eps) -> tf.Tensor:
        """Returns the latents as float [B, M], in the order of `eps`, each in row-major order."""
        eps = [tf.convert_to_tensor(e) for e in eps]
        return tf.concat([tf.reshape(e, [tf.shape(e)[0], math.prod(e.shape[1:])]) for e in eps], -1)

    def unflatten_latents(self, flat) -> list[tf.Tensor]:
        """Returns the latents, a list, of what `flatten_latents` returned.

        Raises:
            ValueError: if the last axis isn't M.
        """
        flat = tf.convert_to_tensor(flat, self._dtype)
        shapes = self.config.eps_shapes
        if flat.shape[-1] != self.config.n_dims:
            raise ValueError(f"Flat latents must be [B, {self.config.n_dims}], got shape {flat.shape}.")
        parts = tf.split(flat, [math.prod(shape) for shape in shapes], -1)
        return [tf.reshape(e, [-1, *shape]) for e, shape in zip(parts, shapes, strict=True)]


def _step(permutation, additive, compute_dtype, parameters):
    """Makes a step for `Scan`; no closure, so that bijectors can be pickled."""
    return GlowStep(
        permutation=permutation, additive=additive, compute_dtype=compute_dtype, parameters=parameters
    )


def _stateless_seed(seed):
    """Returns int [2]: a new seed for None. The stateless generators give the same on any device."""
    if seed is None:
        return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    seed = tf.convert_to_tensor(seed)
    return tf.stack([seed, tf.zeros_like(seed)]) if seed.shape.rank == 0 else seed
