"""SavedModels of a trained Glow, as TensorFlow Serving takes them."""

from glow_tf.serving.frozen import FrozenGlow
from glow_tf.serving.saved_model import export
from glow_tf.serving.signatures import Signatures, seeded_latents, seeded_noise

__all__ = ["FrozenGlow", "Signatures", "export", "seeded_latents", "seeded_noise"]
