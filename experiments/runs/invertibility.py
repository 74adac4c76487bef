"""What is measured of a model besides its loss: whether it still inverts what it computes."""

import numpy as np
import tensorflow as tf

from experiments.runs import Run
from glow_tf.micro_batches import MicroBatches


def inverse_error(run: Run, batch) -> float:
    """Returns the largest absolute error of decode_float(encode(x)) on a batch."""
    return float(_inverse_error(run)(*batch))


def _inverse_error(run):
    @tf.function(autograph=False)
    def error(images, labels, noise):
        given = run.conditions(images, labels)
        restored = run.glow.decode_float(run.glow.encode(images, noise=noise, **given), **given)
        return tf.reduce_max(tf.abs(restored - run.glow.dequantize(images, noise)))

    return error


def condition_number(run: Run) -> float:
    """Returns the largest condition number of the 1x1 convolutions' matrices, 1 where there are none."""
    matrices = [level["invconv_W"].numpy() for level in run.glow.levels if "invconv_W" in level]
    return max((float(np.linalg.cond(m.astype(np.float64)).max()) for m in matrices), default=1.0)


class Monitor:
    """The inverse's error on one batch, the same at every evaluation, and the condition number."""

    def __init__(self, run: Run, batch):
        """`batch` is (images, labels, noise); it is computed in the parts that the run's model takes."""
        self._run = run
        n = len(batch[0])
        parts = MicroBatches(n, run.model.micro_batch or n)
        self._parts = list(zip(*(tf.unstack(parts.divide(x)) for x in batch), strict=True))
        self._inverse_error = _inverse_error(run)  # Traced once.

    def measure(self) -> dict:
        """Returns `inverse_error` and `condition_number`."""
        error = max(float(self._inverse_error(*part)) for part in self._parts)
        return dict(
            inverse_error=float(f"{error:.3g}"),
            condition_number=float(f"{condition_number(self._run):.5g}"),
        )
