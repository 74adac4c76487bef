"""The tf_keras.Model that `fit` trains, and the callbacks that belong to every training."""

import dataclasses
import functools
import math

import tensorflow as tf
import tf_keras
from tqdm.auto import tqdm

from glow_tf import inputs, quantization
from glow_tf.glow import Glow, GlowConfig
from glow_tf.micro_batches import MicroBatches

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

    With a context, a dict {"images": images, "context": context} is in the place of the images; context is
    float [B, *context_shape].

    The metrics are the means, by the weights, over all examples of the four statistics of `Glow.losses`;
    bits_x is bits per dimension. The loss that is trained is sum(weights * loss) / `global_batch_size`. An
    example of weight 0 only fills up a batch, for as many examples on every replica.

    A batch, a replica's share of it, is computed in parts of at most `micro_batch` examples, and their
    gradients are added up: the memory is that of a part, the step is the same.

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

    def __init__(
        self,
        glow: Glow,
        weight_y: float = 0.0,
        micro_batch: int | None = None,
        global_batch_size: int | None = None,
        **kwargs,
    ):
        """The weights are the Glow's: they aren't copied.

        Args:
            glow: what is trained.
            weight_y: float, at least 0, the weight of the classifier's loss.
            micro_batch: int, how many examples a replica computes at once; a whole batch unless given.
            global_batch_size: int, how many examples of weight 1 a training step has, those of all replicas;
                as many as there are unless given, those that only fill up among them.
            **kwargs: of `tf_keras.Model`.

        Raises:
            ValueError: if `weight_y` is negative or isn't finite; if `micro_batch` or `global_batch_size` is
                less than 1.
        """
        inputs.require_a(Glow, "glow", glow)
        super().__init__(**kwargs)
        self.glow = glow
        self.weight_y = inputs.require_number("weight_y", weight_y, 0)
        count = lambda name, value: None if value is None else inputs.require_int(name, value, 1)
        self.micro_batch = count("micro_batch", micro_batch)
        self.global_batch_size = count("global_batch_size", global_batch_size)
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
        """Returns images, labels, noise, context and weights, None for what isn't there."""
        parts = list(data) if isinstance(data, (tuple, list)) else [data]
        if len(parts) == 1 and isinstance(parts[0], (tuple, list)):  # Of `fit((images, labels, noise))`.
            parts = list(parts[0])
        context = None
        if parts and isinstance(parts[0], dict) and set(parts[0]) == {"images", "context"}:
            context = parts[0]["context"]
            parts[0] = parts[0]["images"]
        tensors = all(part is None or tf.is_tensor(part) for part in [*parts, context])
        if not 1 <= len(parts) <= 4 or not tensors:
            given = tf.nest.map_structure(lambda part: getattr(part, "shape", part), data)
            raise ValueError(
                "GlowModel takes images, (images, labels), (images, labels, noise), (images, labels, "
                "weights) or (images, labels, noise, weights), where images may be a dict of images and "
                f"context, got {given}."
            )
        if len(parts) == 3 and parts[2] is not None:
            parts[2:] = self._noise_and_weights(parts[0], parts[2])
        images, labels, noise, weights = parts + [None] * (4 - len(parts))
        images = inputs.images(images, self.glow.config.image_shape, one_batch=True)
        if weights is not None and not weights.shape.is_compatible_with(images.shape[:1]):
            raise ValueError(
                f"The weights of examples must have the shape [B], one per image, got {weights.shape} for "
                f"images of shape {images.shape}."
            )
        return images, labels if self.glow.config.ycond else None, noise, context, weights

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

    def _divided(self, images, labels, noise, context):
        """Returns how a batch is divided, None if it isn't, and what of it is."""
        n = images.shape[0]
        if self.micro_batch is None or (n is not None and n <= self.micro_batch):
            return None, [images, labels, noise, context]
        if noise is None:  # Drawn for all, as it would be without parts.
            seed, n_bits = inputs.stateless_seed(), self.glow.config.n_bits_x
            dtype = self.glow.config.variable_dtype
            noise = quantization.dequantization_noise(tf.shape(images), n_bits, seed, dtype)
        if labels is not None and labels.shape.rank == 0:
            labels = tf.fill(tf.shape(images)[:1], labels)
        return MicroBatches(_n_examples(images), self.micro_batch), [images, labels, noise, context]

    def _statistics(self, images, labels, noise, context):
        """Returns `Glow.losses`, [4, B] in the order of STATISTICS."""
        losses = self.glow.losses(images, labels, self.weight_y, noise, context)
        return tf.stack([losses[name] for name in STATISTICS])

    def _losses_and_gradients(self, images, labels, noise, context, weights, n_examples):
        """Returns `_statistics`, and the gradients of the sum of weights * loss / n_examples."""
        with tf.GradientTape() as tape:
            losses = self._statistics(images, labels, noise, context)
            loss = losses[0] if weights is None else losses[0] * tf.cast(weights, losses.dtype)
            loss = tf.reduce_sum(loss) / tf.cast(n_examples, losses.dtype)
        return losses, tape.gradient(loss, self.trainable_variables)

    def _losses_and_gradients_of_parts(self, parts, batch, weights, n_examples):
        """Returns the same, computed part by part: gradients of the parts are added up."""
        unconnected = set()

        def compute(part, real):
            *part, part_weights = part
            part_weights = tf.where(real, part_weights, 0)
            losses, gradients = self._losses_and_gradients(*part, part_weights, n_examples)
            unconnected.update(i for i, gradient in enumerate(gradients) if gradient is None)
            return [z if g is None else g for z, g in zip(zeros, gradients, strict=True)], losses

        zeros = [tf.zeros(v.shape, v.dtype) for v in self.trainable_variables]
        weights = tf.ones(tf.shape(batch[0])[:1]) if weights is None else weights
        gradients, losses = parts.run(
            compute, [*batch, weights], zeros, len(STATISTICS), self.glow.config.variable_dtype
        )
        return losses, [None if i in unconnected else gradient for i, gradient in enumerate(gradients)]

    def _update_means(self, losses, weights):
        for mean, values in zip(self.metrics, tf.unstack(losses), strict=True):
            mean.update_state(values, weights)
        return {name: mean.result() for name, mean in self._means.items()}

    def set_means(self, values, n: int) -> None:
        """Sets the metrics to the means of `n` examples; `values` are in the order of STATISTICS."""
        for mean, value in zip(self.metrics, values, strict=True):
            mean.total.assign(value * n)
            mean.count.assign(n)

    def train_step(self, data):
        """Makes one step; the class says what `data` may be."""
        *batch, weights = self._unpack(data)
        # The replicas' gradients are summed, so their losses are parts of the global mean.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        n_examples = self.global_batch_size or _n_examples(batch[0]) * replicas
        parts, batch = self._divided(*batch)
        if parts is None:
            losses, gradients = self._losses_and_gradients(*batch, weights, n_examples)
        else:
            losses, gradients = self._losses_and_gradients_of_parts(parts, batch, weights, n_examples)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._update_means(losses, weights)

    def test_step(self, data):
        """Evaluates one batch; the class says what `data` may be."""
        *batch, weights = self._unpack(data)
        losses = self._part_by_part(self._statistics, batch, len(STATISTICS), self.glow.config.variable_dtype)
        return self._update_means(losses, weights)

    def predict_step(self, data):
        """Returns bits per dimension, float32 [B]; the class says what `data` may be."""
        *batch, _ = self._unpack(data)

        def bits(images, labels, noise, context):
            return self.glow.bits_per_dim(images, labels, noise, context=context)[None]

        return self._part_by_part(bits, batch, 1, tf.float32)[0]

    def _part_by_part(self, function, batch, n_rows, dtype):
        """Returns function(images, labels, noise, context), [n_rows, B] in `dtype`, of a batch."""
        parts, batch = self._divided(*batch)
        if parts is None:
            return function(*batch)
        return parts.run(lambda part, real: ([], function(*part)), batch, [], n_rows, dtype)[1]

    def get_config(self):
        """Returns what `from_config` makes an equal model of, with new weights."""
        return dict(
            name=self.name,
            glow=dataclasses.asdict(self.glow.config),
            weight_y=self.weight_y,
            micro_batch=self.micro_batch,
            global_batch_size=self.global_batch_size,
        )

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Returns a model, and a Glow of its own, of what `get_config` returned."""
        del custom_objects
        return cls(**config | dict(glow=Glow(GlowConfig(**config["glow"]))))

    def load_weights(self, filepath, *args, **kwargs):
        """Loads what `save_weights` wrote, as Keras' own; what is refused leaves the model as it was.

        Raises:
            ValueError: if they are the weights of another model.
        """
        before = [tf.identity(variable) for variable in self.glow.variables]
        try:
            status = super().load_weights(filepath, *args, **kwargs)
            if status is not None:  # Of TensorFlow's format, which passes over what one of both hasn't.
                self._require_all_of(str(filepath))
            return status
        except BaseException:  # Ctrl-C too.
            for variable, value in zip(self.glow.variables, before, strict=True):
                variable.assign(value)
            raise

    def _require_all_of(self, path):
        """Raises a ValueError unless a checkpoint has the Glow's variables, and no further ones of a Glow."""
        shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        there = [name for name in shapes if name.startswith("glow/")]
        try:
            tf.train.Checkpoint(glow=self.glow).read(path).assert_existing_objects_matched()
        except AssertionError as error:
            raise ValueError(f"{path!r} lacks weights of {self.glow.config}: {error}") from error
        if len(there) != len(self.glow.variables):
            raise ValueError(
                f"{path!r} holds the weights of another model than {self.glow.config}: {len(there)} "
                f"variables, not {len(self.glow.variables)}."
            )

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


def _n_examples(images):
    """Returns B, an int where it is known, else an int32 scalar."""
    return tf.shape(images)[0] if images.shape[0] is None else images.shape[0]


class NotFiniteError(ArithmeticError):
    """The training loss, or a weight, became infinite or not a number, or the loss explodes."""


class StopOnNotFinite(tf_keras.callbacks.Callback):
    """Stops a training whose loss isn't finite, which Keras' `fit` would go on with, or explodes."""

    def __init__(self, limit: float = math.inf, patience: int = 20, first_step: int = 0):
        """Nothing is seen yet.

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
    """A progress bar per epoch, with bits per dimension and images per second."""

    def __init__(self, batch_size: int, disable: bool = False):
        """`batch_size` counts the images of all replicas together; `disable` shows no bar."""
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
