"""The original's training step of several workers: the mean of their gradients is that of one batch."""

import numpy as np
import pytest

from experiments.runs import Run
from experiments.settings import resolve
from glow_tf import openai_checkpoint
from tests.support.golden import CASES, Case, require_cases

N_STEPS = 25
RECORDED = (
    *("image_size", "n_levels", "depth", "width", "learntop", "ycond", "n_bits_x", "flow_permutation"),
    *("flow_coupling", "weight_y", "lr", "beta1", "weight_decay", "polyak_epochs"),
)
pytestmark = require_cases


@pytest.mark.parametrize("name", [*CASES[:1], *(pytest.param(n, marks=pytest.mark.slow) for n in CASES[1:])])
def test_two_workers_with_half_the_batch(name):
    """Recorded are steps of 16 images, with a warm-up of 64 and 25 steps per epoch."""
    case = Case(name)
    given = {name: value for name, value in case.hps.items() if name in RECORDED}
    given |= dict(problem="cifar10", anchor_size=case.hps["image_size"])
    given |= dict(world_size=2, n_batch_train=8, n_train=N_STEPS * 16, epochs_warmup=64 / (N_STEPS * 16))
    run = Run(resolve(given), "none", micro_batch=8)
    assert (run.batch_size, run.hyperparameters.train_its) == (16, N_STEPS)
    openai_checkpoint.restore(run.glow, case.checkpoint("init"))
    losses = []
    for step in range(N_STEPS):
        images, labels, noise = case.batch("train", step)
        labels = np.zeros(16, np.int32) if labels is None else labels
        losses.append(run.model.train_on_batch((images, labels, noise), return_dict=True)["loss"])
    np.testing.assert_allclose(losses, case.arrays["train_stats"][:, 0], atol=1e-4, rtol=0)
