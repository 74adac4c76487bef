"""The tf_keras.Model that `fit` trains, and the callbacks that belong to every training."""

import dataclasses
import functools
import math

import tensorflow as tf
import tf_keras
from tqdm.auto import tqdm

from glow_tf import inputs, quantization
from glow_tf.glow import Glow, GlowConfig

STATISTICS = ("loss", "bits_x", "bits_y", "pred_loss")


class GlowVariables(tf_keras.layers.Layer):
    """A Glow's variables as a layer: Keras' own files and summaries pass over a tf.Module that isn't one."""

    def __init__(self, glow: Glow):
        """Takes the Glow."""
        super().__init__(name="glow")
        self.glow = glow
        self.built = True

    def save_own_variables(self, store):
        """Puts the values into a dict."""
        for i, variable in enumerate(self.glow.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store):
        """Takes the values from a dict; raises a ValueError if they are of another Glow: nothing changes."""
        variables = self.glow.variables
        values = [store[str(i)][()] for i in range(len(store.keys()))]
        shapes = [tuple(v.shape) for v in variables]
        if [v.shape for v in values] != shapes:
            raise ValueError(
                f"These are the weights of another model than {self.glow.config}: the shapes of its "
                f"{len(shapes)} variables are {shapes}, those of the file {[v.shape for v in values]}."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


@tf_keras.saving.register_keras_serializable(package="glow_tf")
class GlowModel(tf_keras.Model):
    """Trains a Glow with `fit`, evaluates it with `evaluate`; `predict` gives bits per dimension of images.

    Data are images, or a tuple that begins with them:

    ```
    images; (images,); (images, labels)
    (images, labels, noise)
    (images, labels, weights), which Keras makes of `sample_weight` and `class_weight`, if there are labels
    (images, labels, noise, weights)
    ```

    images are uint8 [B, H, W, C], 0 to 255; labels int [B] or None, not used by a Glow without labels; noise
    float [B, H, W, C] in [0, 2^-n_bits_x), the u that `Glow.losses` takes; weights float [B]. Where no noise
    is given, it is drawn anew at every step. Where it comes with the data, as in every run of
    `experiments.train`, a step is a function of its batch, and two replicas see what one would.

    The metrics are the means, by the weights, over all examples of the four statistics of `Glow.losses`;
    bits_x is bits per dimension. The loss that is trained is mean(weights * loss). To evaluate, an example of
    weight 0 only fills up a batch, for as many examples on every replica.

    `save_weights`, `load_weights` and `ModelCheckpoint` keep the Glow's variables in every format of Keras';
    `save` is for files NAME.keras, which `tf_keras.models.load_model` reads.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    glow = glow_tf.Glow(glow_tf.GlowConfig(image_size=8, n_levels=1, depth=2, width=16))
    images = tf.cast(tf.random.uniform([32, 8, 8, 3], maxval=256, dtype=tf.int32), tf.uint8)
    glow.initialize(images)
    model = glow_tf.training.GlowModel(glow)
    model.compile(glow_tf.optimizers.Adamax(1e-3))
    model.fit(images, batch_size=16, epochs=1)
    ```
    """

    def __init__(self, glow: Glow, weight_y: float = 0.0, **kwargs):
        """Makes the model of a Glow; `weight_y` is the weight of the classifier's loss."""
        super().__init__(**kwargs)
        self.glow = glow
        self.weight_y = weight_y
        self._variables_layer = GlowVariables(glow)
        self.built = True  # A Glow has its variables from the start.
        # The metrics are reduced over the replicas already; Keras would add them up over workers.
        self.distribute_reduction_method = "first"
        # Not tracked: they are no weights.
        self._means = self._no_dependency({name: tf_keras.metrics.Mean(name=name) for name in STATISTICS})

    @property
    def metrics(self):
        """The means of the four statistics."""
        return list(self._means.values())

    def _unpack(self, data):
        """Returns images, labels, noise and weights, None for what isn't there."""
        parts = list(data) if isinstance(data, (tuple, list)) else [data]
        if len(parts) == 1 and isinstance(parts[0], (tuple, list)):  # Of `fit((images, labels, noise))`.
            parts = list(parts[0])
        if not 1 <= len(parts) <= 4 or not all(part is None or tf.is_tensor(part) for part in parts):
            given = tf.nest.map_structure(lambda part: getattr(part, "shape", part), data)
            raise ValueError(
                "GlowModel takes images, (images, labels), (images, labels, noise), (images, labels, "
                f"weights) or (images, labels, noise, weights), got {given}."
            )
        if len(parts) == 3 and parts[2] is not None:
            parts[2:] = self._noise_and_weights(parts[0], parts[2])
        images, labels, noise, weights = parts + [None] * (4 - len(parts))
        if weights is not None and not weights.shape.is_compatible_with(images.shape[:1]):
            raise ValueError(
                f"The weights of examples must have the shape [B], one an image, got {weights.shape} for "
                f"images of shape {images.shape}."
            )
        return images, labels if self.glow.config.ycond else None, noise, weights

    def _noise_and_weights(self, images, third):
        """Returns noise and weights, of which `third` is one; its rank says which."""
        if third.shape.rank is not None:
            return (third, None) if third.shape.rank > 2 else (None, third)
        # Keras traces its function once for data of both kinds: only the run knows.
        is_noise = tf.rank(third) > 2
        n_bits, dtype = self.glow.config.n_bits_x, third.dtype
        draw = functools.partial(
            quantization.dequantization_noise, tf.shape(images), n_bits, inputs.stateless_seed(), dtype
        )
        noise = tf.cond(is_noise, lambda: third, draw)
        ones = lambda: tf.ones(tf.shape(images)[:1], dtype)
        return noise, tf.cond(is_noise, ones, lambda: tf.ensure_shape(third, [None]))

    def _weighted_losses(self, data):
        """Returns `Glow.losses` of a batch, and its weights or None; updates the metrics."""
        images, labels, noise, weights = self._unpack(data)
        losses = self.glow.losses(images, labels, self.weight_y, noise)
        for name, mean in self._means.items():
            mean.update_state(losses[name], weights)
        return losses, weights

    def set_means(self, values, n: int) -> None:
        """Sets the metrics to the means of `n` examples; `values` are in the order of STATISTICS."""
        for mean, value in zip(self.metrics, values, strict=True):
            mean.total.assign(value * n)
            mean.count.assign(n)

    def train_step(self, data):
        """Makes one step; the class says what `data` may be."""
        with tf.GradientTape() as tape:
            losses, weights = self._weighted_losses(data)
            loss = (
                losses["loss"] if weights is None else losses["loss"] * tf.cast(weights, losses["loss"].dtype)
            )
            # The replicas' gradients are summed, so their losses are parts of the global mean.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            loss = tf.reduce_mean(loss) / replicas
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {name: mean.result() for name, mean in self._means.items()}

    def test_step(self, data):
        """Evaluates one batch; the class says what `data` may be."""
        self._weighted_losses(data)
        return {name: mean.result() for name, mean in self._means.items()}

    def predict_step(self, data):
        """Returns bits per dimension, float32 [B]; the class says what `data` may be."""
        images, labels, noise, _ = self._unpack(data)
        return self.glow.bits_per_dim(images, labels, noise)

    def get_config(self):
        """Returns what `from_config` makes an equal model of, with new weights."""
        return dict(name=self.name, glow=dataclasses.asdict(self.glow.config), weight_y=self.weight_y)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model, and its Glow, of what `get_config` returned."""
        del custom_objects
        return cls(Glow(GlowConfig(**config["glow"])), config["weight_y"], name=config["name"])

    def save(self, filepath, overwrite=True, save_format=None, **kwargs):
        """Saves configuration, weights and optimizer to a file NAME.keras, for `tf_keras.models.load_model`.

        Raises:
            ValueError: for Keras' other formats, which can't hold a Glow.
        """
        if save_format not in (None, "keras", "keras_v3") or not str(filepath).endswith(".keras"):
            raise ValueError(
                f"A GlowModel is saved to a file NAME.keras, got {str(filepath)!r} in the format "
                f"{save_format or 'that its name says'}. Weights alone are saved by save_weights, as by "
                "ModelCheckpoint(save_weights_only=True); a SavedModel to serve is made by "
                "glow_tf.serving.export."
            )
        super().save(filepath, overwrite=overwrite, **kwargs)


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
