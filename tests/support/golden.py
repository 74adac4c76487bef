"""The numbers recorded from the original's own code, which lie beside the project."""

import json
import os
import pathlib

import numpy as np
import pytest

import glow_tf
from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS

ROOT = pathlib.Path(
    os.environ.get("GLOW_GOLDEN", pathlib.Path(__file__).resolve().parents[3] / "shared" / "golden")
)
CASES = sorted(path.name for path in ROOT.glob("case*"))
if "GLOW_GOLDEN" in os.environ and not CASES:
    raise FileNotFoundError(f"GLOW_GOLDEN={ROOT} holds no recorded cases.")
# They are 14 MB and not part of the project: whoever has them says where.
require_cases = pytest.mark.skipif(
    not CASES, reason=f"The original's recorded numbers aren't in {ROOT}; GLOW_GOLDEN says where they are."
)


class Case:
    """One recorded case."""

    def __init__(self, name: str):
        """Reads its numbers."""
        self.path = ROOT / name
        self.meta = json.loads((self.path / "meta.json").read_text())
        self.hps = self.meta["hps"]
        self.arrays = np.load(self.path / "arrays.npz")

    def config(self, **changes) -> glow_tf.GlowConfig:
        """Returns the model's configuration."""
        names = ("image_size", "n_levels", "depth", "width", "learntop", "ycond", "n_y", "n_bits_x")
        values = {name: self.hps[name] for name in names}
        values["flow_permutation"] = PERMUTATIONS[self.hps["flow_permutation"]]
        values["flow_coupling"] = COUPLINGS[self.hps["flow_coupling"]]
        return glow_tf.GlowConfig(**values | changes)

    def checkpoint(self, name: str) -> str:
        """Returns the prefix of a recorded checkpoint."""
        return str(self.path / f"ckpt_{name}")

    def model(self, checkpoint: str, **changes) -> glow_tf.Glow:
        """Returns a model with the weights of a recorded checkpoint."""
        model = glow_tf.Glow(self.config(**changes), seed=0)
        glow_tf.openai_checkpoint.restore(model, self.checkpoint(checkpoint))
        return model

    def batch(self, which: str, step: int | None = None):
        """Returns images, labels (None without ycond) and noise of "init", "eval" or "train"."""
        index = self.arrays[f"{which}_idx"]
        seed = self.meta["noise_seeds"][which]
        if step is not None:
            index, seed = index[step], seed[step]
        images = self.arrays["pool_x"][index]
        labels = self.arrays["pool_y"][index] if self.hps["ycond"] else None
        scale = np.float32(2 ** self.hps["n_bits_x"])
        noise = np.random.default_rng(seed).random(images.shape, dtype=np.float32) / scale
        return images, labels, noise


def relative_error(value, reference, floor: float = 1e-3) -> float:
    """Returns |value - reference| / |reference| in L2; `floor` is for references that are rounding noise."""
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    return np.linalg.norm(value.ravel() - reference.ravel()) / max(np.linalg.norm(reference), floor)
