"""Glow's bijectors, each a `tfp.bijectors.Bijector`; forward maps data to latents."""

from glow_tf.bijectors.actnorm import ActNorm
from glow_tf.bijectors.affine_coupling import AffineCoupling
from glow_tf.bijectors.glow_step import GlowStep
from glow_tf.bijectors.invertible_1x1_conv import Invertible1x1Conv
from glow_tf.bijectors.multi_scale import MultiScale
from glow_tf.bijectors.scan import Scan
from glow_tf.bijectors.split_prior import SplitPrior
from glow_tf.bijectors.squeeze import Squeeze
from glow_tf.bijectors.top_prior import TopPrior

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "GlowStep",
    "Invertible1x1Conv",
    "MultiScale",
    "Scan",
    "SplitPrior",
    "Squeeze",
    "TopPrior",
]
