"""Glow for TensorFlow 2 and TensorFlow Probability.

Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, arXiv:1807.03039.
"""

from glow_tf import bijectors, openai_checkpoint, optimizers, serving, threads, training
from glow_tf.glow import Glow, GlowConfig

__version__ = "0.2.0"

__all__ = [
    "Glow",
    "GlowConfig",
    "bijectors",
    "openai_checkpoint",
    "optimizers",
    "serving",
    "threads",
    "training",
]
