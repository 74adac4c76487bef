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
    """A bijector: a function from a dtype to a new one, the shape of its events, and of its context.

    A `variant` is much like another entry, and as slow: the ordinary tests have it in float64 only.
    """

    new: Callable[[str], tfb.Bijector]
    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] = ()
    variant: bool = False

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

    def given(self, dtype: str, *batch: int) -> dict:
        """Returns the keyword arguments of the bijector's methods: a random context, if it takes one."""
        if not self.context_shape:
            return {}
        context = np.random.default_rng(6).normal(size=(*batch, *self.context_shape))
        return {"context": tf.constant(context, dtype)}


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


def network_of_context(dtype):
    """The same, of two channels and a context of three."""
    network = dense_network(6, dtype)
    w = tf.Variable(np.random.default_rng(7).normal(0, 0.4, (3, 6)), dtype=dtype)
    return lambda x, context: network(x) + tf.tanh(tf.tensordot(context, w, 1))


def scan(
    dtype,
    permutation="invconv",
    coupling="affine",
    fused=False,
    memory="reverse",
    keep_bytes=0,
    context_shape=(),
    n_shares=1,
):
    """A Scan of three GlowSteps."""
    rng = np.random.default_rng(1)
    additive = coupling == "additive"
    values = [GlowStep.initial_values(4, 5, permutation, additive, rng, context_shape) for _ in range(3)]
    stacked = {key: np.stack([v[key] for v in values]) for key in values[0]}
    make = lambda p: GlowStep(permutation=permutation, coupling=coupling, parameters=p)
    kernel = GlowStepKernel(permutation, coupling) if fused else None
    return bijectors.Scan(
        make,
        step_variables(stacked, dtype),
        memory=memory,
        keep_bytes=keep_bytes,
        n_shares=n_shares,
        kernel=kernel,
    )


def multi_scale(dtype, contexts=((), ())):
    """Two levels with a learned top prior; `contexts` are the shapes of a context in them."""
    flows = [
        tfb.Chain([GlowStep(n, 5, context_shape=shape, dtype=dtype, seed=i), bijectors.Squeeze()])
        for i, (n, shape) in enumerate(zip((8, 16), contexts, strict=True))
    ]
    values = bijectors.TopPrior.initial_values(16, True, context_shape=contexts[1])
    top = bijectors.TopPrior(16, step_variables(values, dtype), dtype=dtype)
    split = bijectors.SplitPrior(8, context_shape=contexts[0], dtype=dtype)
    return bijectors.MultiScale(flows, [split], top)


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
    "glow_step_reverse": Entry(
        lambda d: GlowStep(4, 5, permutation="reverse", dtype=d), (2, 2, 4), variant=True
    ),
    "glow_step_shuffle": Entry(
        lambda d: GlowStep(4, 5, permutation="shuffle", coupling="additive", dtype=d),
        (2, 2, 4),
        variant=True,
    ),
    "scan": Entry(scan, (2, 2, 4)),
    "scan_fused": Entry(lambda d: scan(d, fused=True), (2, 2, 4)),
    "scan_fused_store": Entry(
        lambda d: scan(d, "shuffle", fused=True, memory="store"), (1, 2, 4), variant=True
    ),
    "scan_fused_additive": Entry(
        lambda d: scan(d, "reverse", "additive", fused=True), (2, 3, 4), variant=True
    ),
    "top_prior": Entry(lambda d: multi_scale(d).top, (2, 2, 16)),
    "multi_scale": Entry(multi_scale, (4, 4, 2)),
    # Contexts: vectors; images of the same size, larger ones, and ones that are repeated.
    "coupling_context": Entry(
        lambda d: bijectors.AffineCoupling(network_of_context(d), dtype=d), (5,), context_shape=(3,)
    ),
    "split_prior_context": Entry(
        lambda d: bijectors.SplitPrior(4, context_shape=(3,), dtype=d), (2, 3, 4), context_shape=(3,)
    ),
    "glow_step_context": Entry(
        lambda d: GlowStep(4, 5, context_shape=(2, 4, 8), dtype=d), (2, 4, 4), context_shape=(4, 8, 2)
    ),
    "scan_context": Entry(lambda d: scan(d, context_shape=(3,)), (2, 2, 4), context_shape=(3,), variant=True),
    "scan_fused_context": Entry(
        lambda d: scan(d, fused=True, context_shape=(3,)), (2, 2, 4), context_shape=(3,), variant=True
    ),
    "scan_fused_context_image": Entry(
        lambda d: scan(d, "shuffle", "additive", fused=True, context_shape=(2, 4, 2)),
        (2, 4, 4),
        context_shape=(1, 2, 2),
    ),
    "top_prior_context": Entry(
        lambda d: multi_scale(d, ((2, 2, 3), (1, 1, 12))).top, (1, 1, 16), context_shape=(2, 2, 3)
    ),
    "multi_scale_context": Entry(
        lambda d: multi_scale(d, ((2, 2, 3), (1, 1, 12))),
        (4, 4, 2),
        context_shape=(2, 2, 3),
        variant=True,
    ),
}
