"""The tf_keras.Model that `fit` trains, and the callbacks that belong to every training."""

import math

import tensorflow as tf
import tf_keras
from tqdm.auto import tqdm

from glow_tf.glow import Glow

STATISTICS = ("loss", "bits_x", "bits_y", "pred_loss")


class GlowModel(tf_keras.Model):
    """Trains a Glow with `fit`, evaluates it with `evaluate`.

    Datasets give (images, labels, noise): uint8 [B, H, W, C], int [B], and float [B, H, W, C], the u
    that `Glow.losses` takes. As the noise comes with the data, a step is a function of its batch,
    and two replicas see what one would. The metrics are the means over all examples of the four
    statistics of `Glow.losses`; bits_x is bits per dimension. A dataset to evaluate may give weights too,
    float [B]: 0 for an example that only fills up a batch, for as many examples on every replica.
    """

    def __init__(self, glow: Glow, weight_y: float = 0.0, **kwargs):
        """Makes the model of a Glow; `weight_y` is the weight of the classifier's loss."""
        super().__init__(**kwargs)
        self.glow = glow
        self.weight_y = weight_y
        # The metrics are reduced over the replicas already; Keras would add them up over workers.
        self.distribute_reduction_method = "first"
        self._means = {name: tf_keras.metrics.Mean(name=name) for name in STATISTICS}

    @property
    def metrics(self):
        """The means of the four statistics."""
        return list(self._means.values())

    def _glow_losses(self, data):
        images, labels, noise, *weights = data
        losses = self.glow.losses(images, labels, self.weight_y, noise)
        for name, mean in self._means.items():
            mean.update_state(losses[name], *weights)
        return losses

    def set_means(self, values, n: int) -> None:
        """Sets the metrics to the means of `n` examples; `values` are in the order of STATISTICS."""
        for mean, value in zip(self.metrics, values, strict=True):
            mean.total.assign(value * n)
            mean.count.assign(n)

    def train_step(self, data):
        """Makes one step; `data` is (images, labels, noise)."""
        with tf.GradientTape() as tape:
            losses = self._glow_losses(data)
            # The replicas' gradients are summed, so their losses are parts of the global mean.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = tf.reduce_mean(losses["loss"]) / replicas
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {name: mean.result() for name, mean in self._means.items()}

    def test_step(self, data):
        """Evaluates one batch; `data` is (images, labels, noise) or (images, labels, noise, weights)."""
        self._glow_losses(data)
        return {name: mean.result() for name, mean in self._means.items()}


class NotFiniteError(ArithmeticError):
    """The training loss, or a weight, became infinite or not a number, or the loss explodes."""


class StopOnNotFinite(tf_keras.callbacks.Callback):
    """Stops a training whose loss isn't finite, which Keras' `fit` would go on with, or explodes."""

    def __init__(self, limit: float = math.inf, patience: int = 20, first_step: int = 0):
        """Makes the callback.

        Args:
            limit: float, bits per dimension. A loss above it in `patience` steps in a row explodes; a
                spike that the training recovers from doesn't.
            patience: int, steps.
            first_step: int, how many steps of its first epoch the training has behind it already.
        """
        super().__init__()
        self._limit, self._patience = limit, patience
        self._first_step = first_step
        self._n_above = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts a new running mean."""
        self._step, self._first_step = self._first_step, 0
        self._sum = 0.0 if self._step == 0 else None

    def on_train_batch_end(self, batch, logs=None):
        """Checks the running mean, which a single NaN spoils, and the step's own loss.

        Raises:
            NotFiniteError: if the loss isn't finite or explodes.
        """
        mean = logs["loss"]
        if not math.isfinite(mean):
            raise NotFiniteError(f"The loss became {mean} in training step {self._made}.")
        self._step += 1
        total = mean * self._step
        if self._sum is not None:
            self._n_above = self._n_above + 1 if total - self._sum > self._limit else 0
        self._sum = total
        if self._n_above >= self._patience:
            raise NotFiniteError(
                f"The loss was above {self._limit:g} bits/dim in {self._patience} steps in a row, up to "
                f"training step {self._made}: it explodes."
            )

    @property
    def _made(self) -> int:
        return int(self.model.optimizer.iterations.numpy())


class ProgressBar(tf_keras.callbacks.Callback):
    """A progress bar an epoch, with bits per dimension and images a second."""

    def __init__(self, batch_size: int, disable: bool = False):
        """Makes the bar for batches of `batch_size` images, all replicas together; `disable` shows none."""
        super().__init__()
        self._batch_size = batch_size
        self._disable = disable
        self._bar = None

    def on_epoch_begin(self, epoch, logs=None):
        """Shows a new bar."""
        total = self.params["steps"] * self._batch_size
        self._bar = tqdm(
            total=total,
            desc=f"epoch {epoch + 1}/{self.params['epochs']}",
            unit="img",
            leave=False,
            disable=self._disable,
        )

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self._bar.set_postfix_str(f"{logs['bits_x']:.4f} bits/dim", refresh=False)
        self._bar.update(self._batch_size)

    def on_epoch_end(self, epoch, logs=None):
        """Removes the bar."""
        self.close()

    def close(self):
        """Removes the bar, also in the middle of an epoch."""
        if self._bar is not None:
            self._bar.close()
