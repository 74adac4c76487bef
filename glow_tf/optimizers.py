"""The original's optimizers, Polyak average and warm-up, for tf_keras.

These are not Keras' own Adam and Adamax: both correct the step size by sqrt(1 - beta2^t) / (1 - beta1^t),
t from 1, and both keep a Polyak average of every weight. Update and average are one fused operation
per variable, over Glow's stacked variables.

#### References

Kingma & Ba, Adam: A Method for Stochastic Optimization, 2015.
Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.
"""

import abc
import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from glow_tf import inputs


class _AveragingOptimizer(tf_keras.optimizers.Optimizer, abc.ABC):
    """What Adam and Adamax share: step size, weight decay and Polyak average."""

    def __init__(
        self,
        learning_rate=0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        weight_decay: float = 1.0,
        epsilon: float = 1e-8,
        name: str | None = None,
        **kwargs,
    ) -> None:
        """Takes what the formulas name.

        Args:
            learning_rate: float, or a schedule of the steps made (from 0), such as `WarmUp`.
            beta_1: float in [0, 1), decay of the first moment.
            beta_2: float in [0, 1), decay of the second moment, and of the Polyak average.
                The original's is 1 - 1 / (steps per epoch * polyak_epochs).
            weight_decay: float, the factor that weights are multiplied by at each step; 1 is none.
            epsilon: float, added to the denominator.
            name: of the optimizer.
            **kwargs: of `tf_keras.optimizers.Optimizer`, such as `global_clipnorm`.

        Raises:
            ValueError: if a beta isn't in [0, 1), or another number isn't finite or is negative; a TypeError
                too if it is no number.
        """
        for key, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if inputs.require_number(key, beta, 0) >= 1:
                raise ValueError(f"{key} must be at least 0 and less than 1, got {beta!r}.")
        may_change = isinstance(learning_rate, tf_keras.optimizers.schedules.LearningRateSchedule)
        if tf.is_tensor(learning_rate):
            learning_rate = tf.cast(learning_rate, tf_keras.backend.floatx())
        elif not may_change:
            learning_rate = inputs.require_number("learning_rate", learning_rate, 0)
        # Keras' own `weight_decay` subtracts lr * decay * w: another formula, and a pass even where it is 0.
        super().__init__(name=name or type(self).__name__, jit_compile=False, weight_decay=None, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.weight_factor = inputs.require_number("weight_decay", weight_decay, 0)
        self.epsilon = inputs.require_number("epsilon", epsilon, 0)

    def build(self, var_list) -> None:
        """The moments start at zero, the averages at the variables' values of now."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._moments_1, self._moments_2, self._averages = [], [], []
        for variable in var_list:
            new = self.add_variable_from_reference
            self._moments_1.append(new(variable, "moment_1"))
            self._moments_2.append(new(variable, "moment_2"))
            self._averages.append(new(variable, "average", initial_value=variable))
        self._built = True

    def polyak_average(self, variable) -> tf.Variable:
        """Returns the Polyak average of a variable; a ValueError if the optimizer isn't built for it."""
        index = getattr(self, "_index_dict", {}).get(self._var_key(variable))
        if index is None:
            raise ValueError(
                f"The optimizer isn't built for {variable.name!r}: build(variables) comes before."
            )
        return self._averages[index]

    @contextlib.contextmanager
    def averaged_weights(self, variables) -> Iterator[None]:
        """A context in which `variables` hold their Polyak averages; their values come back after it."""
        variables = list(variables)
        values = [tf.identity(v) for v in variables]
        for variable in variables:
            variable.assign(self.polyak_average(variable))
        try:
            yield
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def update_step(self, gradient, variable):
        """Updates one variable, its moments and its average."""
        dtype = variable.dtype
        t = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = (tf.cast(beta, dtype) for beta in (self.beta_1, self.beta_2))
        correction = tf.sqrt(1 - tf.pow(beta_2, t)) / (1 - tf.pow(beta_1, t))
        step_size = tf.cast(self.learning_rate, dtype) * correction
        index = self._index_dict[self._var_key(variable)]
        if self.weight_factor != 1.0 and self._use_weight_decay(variable):
            variable.assign(variable * tf.cast(self.weight_factor, dtype))
        zero = tf.zeros_like(step_size)
        self._apply(
            var=variable.handle,
            m=self._moments_1[index].handle,
            v=self._moments_2[index].handle,
            grad=tf.convert_to_tensor(gradient),
            lr=step_size,
            beta1=beta_1,
            beta2=beta_2,
            beta1_power=zero,  # The powers are in the step size.
            epsilon=tf.cast(self.epsilon, dtype),
        )
        average = self._averages[index]
        # average -= (1 - beta_2) * (average - variable), in one pass over the average.
        tf.raw_ops.ResourceApplyGradientDescent(
            var=average.handle, alpha=1 - beta_2, delta=average - variable
        )

    @abc.abstractmethod
    def _apply(self, **operands):
        """Updates a variable and its two moments by a kernel of TensorFlow, which takes these operands."""

    def get_config(self):
        """Returns what `from_config` makes an equal optimizer of."""
        config = super().get_config()
        # Set in __init__, not by the caller.
        for key in ("jit_compile", "is_legacy_optimizer"):
            config.pop(key, None)
        learning_rate = self._serialize_hyperparameter(self._learning_rate)
        if isinstance(learning_rate, np.generic):
            learning_rate = float(learning_rate)
        return config | {
            "learning_rate": learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "weight_decay": self.weight_factor,
            "epsilon": self.epsilon,
        }


@tf_keras.saving.register_keras_serializable(package="glow_tf")
class Adamax(_AveragingOptimizer):
    """The original's "adamax".

    ```
    step = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t),  t = 1, 2, ...
    m = beta_1 m + (1 - beta_1) g
    v = max(beta_2 v, |g|)
    w = weight_decay * w - step * m / (v + epsilon)
    average = average - (1 - beta_2) (average - w)
    ```

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    optimizer = glow_tf.optimizers.Adamax(glow_tf.optimizers.WarmUp(1e-3, 100), beta_2=0.99)
    weight = tf.Variable([1.0])
    optimizer.build([weight])
    optimizer.apply_gradients([(tf.constant([0.5]), weight)])
    optimizer.polyak_average(weight)
    ```
    """

    def _apply(self, **operands):
        tf.raw_ops.ResourceApplyAdaMax(**operands)


@tf_keras.saving.register_keras_serializable(package="glow_tf")
class Adam(_AveragingOptimizer):
    """The original's "adam".

    ```
    step = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t),  t = 1, 2, ...
    m = beta_1 m + (1 - beta_1) g
    v = beta_2 v + (1 - beta_2) g^2
    w = weight_decay * w - step * m / (sqrt(v) + epsilon)
    average = average - (1 - beta_2) (average - w)
    ```

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    optimizer = glow_tf.optimizers.Adam(glow_tf.optimizers.WarmUp(1e-3, 100), beta_2=0.99)
    weight = tf.Variable([1.0])
    optimizer.build([weight])
    optimizer.apply_gradients([(tf.constant([0.5]), weight)])
    optimizer.polyak_average(weight)
    ```
    """

    def _apply(self, **operands):
        tf.raw_ops.ResourceApplyAdam(beta2_power=operands["beta1_power"], **operands)


@tf_keras.saving.register_keras_serializable(package="glow_tf")
class WarmUp(tf_keras.optimizers.schedules.LearningRateSchedule):
    """learning_rate * min(1, step / warmup_steps): the first step has rate 0.

    Example:
    ```python
    import glow_tf

    glow_tf.optimizers.WarmUp(1e-3, 100)(50)  # 5e-4
    ```
    """

    def __init__(self, learning_rate: float, warmup_steps: float) -> None:
        """Takes the rate to come to, and in how many steps.

        Args:
            learning_rate: float, after the warm-up.
            warmup_steps: float; 0 or less is no warm-up.

        Raises:
            ValueError: if one isn't a finite number, or the rate is negative.
        """
        self.peak = inputs.require_number("learning_rate", learning_rate, 0)
        self.warmup_steps = inputs.require_number("warmup_steps", warmup_steps)

    def __call__(self, step):
        """Returns the learning rate of a step, counted from 0, a float scalar."""
        peak = tf.constant(self.peak, tf.float32)
        if self.warmup_steps <= 0:
            return peak
        return peak * tf.minimum(1.0, tf.cast(step, tf.float32) / self.warmup_steps)

    def get_config(self):
        """Returns the arguments of `__init__`."""
        return {"learning_rate": self.peak, "warmup_steps": self.warmup_steps}
