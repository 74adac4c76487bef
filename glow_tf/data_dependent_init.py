"""Data-dependent initialisation of activation normalisation (section 3.1 of the paper)."""

import numpy as np
import tensorflow as tf

LOGSCALE_FACTOR = 3.0  # The original learns `logs` and scales by exp(3 logs).

_EPSILON = 1e-6  # The original's, which a deviation of 0 is taken for.


def actnorm_statistics(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the `b` and `logs` that give each channel of `x` zero mean and unit variance.

    ```
    b    = -mean(x)
    logs = log(1 / (sqrt(mean((x + b)^2)) + 1e-6)) / 3
    ```

    Args:
        x: float [..., C]. All axes but the last are averaged over.

    Returns:
        `b` and `logs`, each [C], in the dtype of `x`.
    """
    axes = tf.range(tf.rank(x) - 1)
    b = -tf.reduce_mean(x, axes)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(x + b), axes))
    return b, -tf.math.log(deviation + _EPSILON) / LOGSCALE_FACTOR


def problems(b, logs) -> dict[str, np.ndarray]:
    """Returns where there is no scale that gives the values unit variance, by what is wrong with them.

    Args:
        b: float [..., C], what `actnorm_statistics` returned.
        logs: the same.

    Returns:
        A dict, words -> bool [..., C].
    """
    b, logs = np.asarray(b, np.float64), np.asarray(logs, np.float64)
    return {
        "aren't finite": ~(np.isfinite(b) & np.isfinite(logs)),
        "don't differ": np.exp(-LOGSCALE_FACTOR * logs) < 2.001 * _EPSILON,
    }
