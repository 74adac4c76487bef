"""SavedModels of a trained Glow, as TensorFlow Serving takes them."""

from glow_tf.serving.frozen import FrozenGlow
from glow_tf.serving.noise import image_noise, seeded_latents, seeded_noise
from glow_tf.serving.saved_model import MOST_VERSION, export, fingerprint, versions
from glow_tf.serving.signatures import Signatures

__all__ = [
    "MOST_VERSION",
    "FrozenGlow",
    "Signatures",
    "export",
    "fingerprint",
    "image_noise",
    "seeded_latents",
    "seeded_noise",
    "versions",
]
