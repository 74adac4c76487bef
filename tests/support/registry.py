"""Every bijector by name, with every weight moved away from its special initial value."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import bijectors
from glow_tf.bijectors.glow_step import GlowStep, step_variables
from glow_tf.kernels.glow_step import GlowStepKernel

tfb = tfp.bijectors


@dataclasses.dataclass(frozen=True)
class Entry:
    """A bijector: a function from a dtype to a new one, and the shape of its events."""

    new: Callable[[str], tfb.Bijector]
    event_shape: tuple[int, ...]

    @property
    def ndims(self) -> int:
        """The event_ndims of its inputs."""
        return len(self.event_shape)

    def make(self, dtype: str) -> tfb.Bijector:
        """Returns a new one, the same each time."""
        return moved(self.new(dtype))

    def inputs(self, dtype: str, *batch: int) -> tf.Tensor:
        """Returns random events."""
        return tf.constant(np.random.default_rng(4).normal(size=(*batch, *self.event_shape)), dtype)


def moved(bijector: tfb.Bijector) -> tfb.Bijector:
    """Returns the bijector after every weight was moved away from its special initial value."""
    rng = np.random.default_rng(3)
    for variable in bijector.trainable_variables:
        variable.assign_add(tf.constant(rng.normal(0, 0.1, variable.shape), variable.dtype))
    return bijector


def flat(parts, n_batch: int = 1) -> tf.Tensor:
    """Returns parts as one tensor, flattened but for the batch axes."""
    parts = tf.nest.flatten(parts)
    return tf.concat([tf.reshape(p, [*p.shape[:n_batch], -1]) for p in parts], -1)


def dense_network(out, dtype):
    """A network of positions by themselves, for vectors and any number of spatial axes."""
    rng = np.random.default_rng(5)
    w = lambda *shape: tf.Variable(rng.normal(0, 0.4, shape), dtype=dtype)
    module = tf.Module()
    module.w1, module.w2 = w(2, 8), w(8, out)
    return lambda x: tf.tensordot(tf.tanh(tf.tensordot(x, module.w1, 1)), module.w2, 1)


def scan(dtype, permutation="invconv", coupling="affine", fused=False, memory="reverse", keep_bytes=0):
    """A Scan of three GlowSteps."""
    rng = np.random.default_rng(1)
    values = [GlowStep.initial_values(4, 5, permutation, coupling == "additive", rng) for _ in range(3)]
    stacked = {key: np.stack([v[key] for v in values]) for key in values[0]}
    make = lambda p: GlowStep(permutation=permutation, coupling=coupling, parameters=p)
    kernel = GlowStepKernel(permutation, coupling) if fused else None
    return bijectors.Scan(
        make, step_variables(stacked, dtype), memory=memory, keep_bytes=keep_bytes, kernel=kernel
    )


def multi_scale(dtype):
    """Two levels with a learned top prior."""
    flows = [
        tfb.Chain([GlowStep(n, 5, dtype=dtype, seed=i), bijectors.Squeeze()]) for i, n in enumerate((8, 16))
    ]
    top = bijectors.TopPrior(
        16, step_variables(bijectors.TopPrior.initial_values(16, True), dtype), dtype=dtype
    )
    return bijectors.MultiScale(flows, [bijectors.SplitPrior(8, dtype=dtype)], top)


REGISTRY = {
    "actnorm_image": Entry(lambda d: bijectors.ActNorm(3, dtype=d), (2, 4, 3)),
    "actnorm_vector": Entry(lambda d: bijectors.ActNorm(5, dtype=d), (5,)),
    "actnorm_volume": Entry(lambda d: bijectors.ActNorm(2, dtype=d), (2, 1, 2, 2)),
    "conv_image": Entry(lambda d: bijectors.Invertible1x1Conv(4, dtype=d), (2, 2, 4)),
    "conv_vector": Entry(lambda d: bijectors.Invertible1x1Conv(5, dtype=d), (5,)),
    "conv_lu": Entry(
        lambda d: bijectors.Invertible1x1Conv(4, parameterization="lu", dtype=d),
        (3, 4),
    ),
    "coupling_vector": Entry(
        lambda d: bijectors.AffineCoupling(dense_network(6, d), dtype=d),
        (5,),
    ),
    "coupling_additive": Entry(
        lambda d: bijectors.AffineCoupling(dense_network(3, d), additive=True, dtype=d),
        (3, 5),
    ),
    "squeeze": Entry(lambda d: bijectors.Squeeze(dtype=d), (4, 2, 2)),
    "split_prior": Entry(lambda d: bijectors.SplitPrior(4, dtype=d), (2, 3, 4)),
    "glow_step": Entry(lambda d: GlowStep(4, 5, dtype=d), (3, 2, 4)),
    "glow_step_odd_channels": Entry(lambda d: GlowStep(5, 5, dtype=d), (2, 2, 5)),
    "glow_step_reverse": Entry(lambda d: GlowStep(4, 5, permutation="reverse", dtype=d), (2, 2, 4)),
    "glow_step_shuffle": Entry(
        lambda d: GlowStep(4, 5, permutation="shuffle", coupling="additive", dtype=d),
        (2, 2, 4),
    ),
    "scan": Entry(scan, (2, 2, 4)),
    "scan_fused": Entry(lambda d: scan(d, fused=True), (2, 2, 4)),
    "scan_fused_store": Entry(lambda d: scan(d, "shuffle", fused=True, memory="store"), (1, 2, 4)),
    "scan_fused_additive": Entry(lambda d: scan(d, "reverse", "additive", fused=True), (2, 3, 4)),
    "top_prior": Entry(lambda d: multi_scale(d).top, (2, 2, 16)),
    "multi_scale": Entry(multi_scale, (4, 4, 2)),
}
