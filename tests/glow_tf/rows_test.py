"""The paper's own models against what the original computes for them, with weights from a recipe."""

import json
import zlib

import numpy as np
import pytest

import glow_tf
from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS
from glow_tf.openai_checkpoint import _names as original_names
from tests.support.golden import CASES, ROOT, Case, require_cases

pytestmark = require_cases
ROWS = sorted(path.stem for path in (ROOT / "rows").glob("*.json"))
ORDINARY = "cifar10"  # One in the ordinary run; the others take minutes.


def row_model(config: dict) -> glow_tf.Glow:
    """Returns the model of a row, with the recipe's weights."""
    names = ("image_size", "n_levels", "depth", "width", "learntop", "ycond", "n_y", "n_bits_x")
    model = glow_tf.Glow(
        glow_tf.GlowConfig(
            **{name: config[name] for name in names},
            flow_permutation=PERMUTATIONS[config["flow_permutation"]],
            flow_coupling=COUPLINGS[config["flow_coupling"]],
        ),
        seed=0,
    )
    stacked = {}
    for name, (variable, step) in original_names(model).items():
        shape = variable.shape[0 if step is None else 1 :]
        value = recipe(name, shape, affine=not model.config.additive)
        stacked.setdefault(variable.ref(), []).append((step, value))
    for variable, values in stacked.items():
        steps = [value for _, value in sorted(values, key=lambda pair: pair[0] or 0)]
        variable.deref().assign(steps[0] if values[0][0] is None else np.stack(steps))
    return model


def recipe(name: str, shape, affine: bool) -> np.ndarray:
    """Returns the weights of a variable with an original's name, as the rows' README says."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("invconv/W"):
        return np.linalg.qr(rng.normal(size=shape))[0]
    scales = {"l_1/W": 0.05, "l_2/W": 0.05, "/W": 0.003, "": 0.02}  # The first that the name ends with.
    scale = next(scale for end, scale in scales.items() if name.endswith(end))
    value = scale * rng.normal(size=shape)
    if name.endswith("l_last/b") and affine:
        value[1::2] += 2
    return value


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == ORDINARY else pytest.mark.slow) for name in ROWS]
)
def test_row(name):
    recorded = json.loads((ROOT / "rows" / f"{name}.json").read_text())
    config, n = recorded["config"], len(recorded["bits_x"])
    model = row_model(config)
    # The original has a classifier only where its loss has a weight.
    without = {v.ref() for v in model.classifier.values()} if not config.get("weight_y") else set()
    counted = [v for v in model.trainable_variables if v.ref() not in without]
    assert sum(int(np.prod(v.shape)) for v in counted) == recorded["n_parameters"]

    pool = Case(CASES[0]).arrays
    images = pool["pool_x"][:n]
    images = images.repeat(config["image_size"] // images.shape[1], 1).repeat(
        config["image_size"] // images.shape[2], 2
    )
    labels = pool["pool_y"][:n] if config["ycond"] else None
    noise = np.random.default_rng(7).random(images.shape, np.float32) / np.float32(2 ** config["n_bits_x"])
    bits = model.bits_per_dim(images, labels, noise)
    np.testing.assert_allclose(bits, recorded["bits_x"], atol=2e-5, rtol=0)

    eps = model.encode(images, labels, noise)
    rows = [np.asarray(e, np.float64).reshape(n, -1) for e in eps]
    norms = np.stack([np.linalg.norm(e, axis=1) for e in rows], 1)
    np.testing.assert_allclose(norms, recorded["eps_norm"], rtol=1e-6)
    for part, ends in (("eps_head", slice(None, 8)), ("eps_tail", slice(-8, None))):
        np.testing.assert_allclose(np.stack([e[:, ends] for e in rows], 1), recorded[part], atol=1e-4)
    back = model.decode_float(eps, labels)
    assert np.abs(back - model.dequantize(images, noise)).max() < 1e-4
