"""Bits per dimension over several draws of the dequantisation noise, and the importance-weighted bound.

The probability of an image is the mean of p(x' + u) / n_bins^M over the noise u. Its -log2 is at most the
expected -log2 of one draw, which `evaluate` and the original report; the expected -log2 of a mean over k
draws lies between the two, and comes the closer to the former the larger k is.

#### References

Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016.
"""

import math

import numpy as np
import tensorflow as tf

from experiments.data import batches
from experiments.runs import Run


class Draws:
    """The test images with k draws of noise each, of which the first is the one that `batches.test` gives."""

    def __init__(self, run: Run, data, k: int):
        """Nothing is computed yet.

        Args:
            run: what is evaluated.
            data: the test images.
            k: int, how many draws.
        """
        self._hyperparameters, self._data, self._k = run.hyperparameters, data, k
        self._nats = run.glow.config.n_dims * math.log(2)  # Of a bit per dimension.

        @tf.function(reduce_retracing=True)
        def bits_per_dim(images, labels, noise):
            return run.glow.bits_per_dim(images, noise=noise, **run.conditions(images, labels))

        self._bits_per_dim = bits_per_dim

    def measure(self) -> dict[str, float]:
        """Returns the numbers of the weights as they are now, in bits per dimension.

        Of the images only sums are kept. A standard error is NaN where one value alone would tell it.

        Returns:
            A dict: bits_x, the mean over draws and images; bits_x_error, its standard error over the draws;
            importance_weighted_bound, the mean over the images of -log2(mean over the draws of p) / M;
            importance_weighted_bound_error, its standard error over the images.
        """
        n_batch = self._hyperparameters.n_batch_test
        draws, bounds = np.zeros(self._k), Moments()
        for step, batch in batches.test(self._data, self._hyperparameters, n_batch).enumerate():
            log_p = -math.inf  # The log of the sum of p over the draws so far.
            for draw in range(self._k):
                bits = self._bits(batch, draw, step)
                draws[draw] += bits.sum()
                log_p = np.logaddexp(log_p, -self._nats * bits)
            bounds.add((math.log(self._k) - log_p) / self._nats)
        means = Moments()
        means.add(draws / len(self._data))
        return dict(
            bits_x=means.mean,
            bits_x_error=means.standard_error,
            importance_weighted_bound=bounds.mean,
            importance_weighted_bound_error=bounds.standard_error,
        )

    def _bits(self, batch, draw, step):
        images, labels, noise = batch
        if draw:
            noise = batches.test_noise(tf.shape(images), self._hyperparameters, step, draw)
        return self._bits_per_dim(images, labels, noise).numpy().astype(np.float64)


class Moments:
    """Mean and standard error of values that come in groups, and aren't kept.

    Attributes:
        mean: of all values so far.
    """

    def __init__(self):
        """There are no values yet."""
        self.mean, self._n, self._squares = 0.0, 0, 0.0

    def add(self, values) -> None:
        """Adds a group of values, [B]."""
        n, mean = len(values), values.mean()
        apart = mean - self.mean
        self._squares += ((values - mean) ** 2).sum() + apart**2 * self._n * n / (self._n + n)
        self._n += n
        self.mean += float(apart) * n / self._n

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN of fewer than two values."""
        return math.sqrt(self._squares / (self._n - 1) / self._n) if self._n > 1 else math.nan
