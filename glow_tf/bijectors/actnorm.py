"""Activation normalisation, Table 1 (first row) of Kingma & Dhariwal (2018)."""

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors._parameters import as_parameter, common_dtype, require_all_or_none
from glow_tf.inputs import require_int
from glow_tf.layers import LOGSCALE_FACTOR, actnorm_statistics, without_scale
from glow_tf.shapes import at_each_channel, common_channels, require_event, require_shapes

tfb = tfp.bijectors


class ActNorm(tfb.AutoCompositeTensorBijector):
    """A learned shift and scale for each channel, the last axis.

    ```
    forward: y = (x + b) * exp(3 logs)
    inverse: x = y * exp(-3 logs) - b
    log|det dy/dx| = sum(3 logs)  for each position; over an [H, W, C] event, H W times that
    ```

    Events are vectors [C] or have any number of spatial axes before C: `event_ndims` says how many,
    as with every TFP bijector. `initialize` sets `b` and `logs` from data.

    A `Glow` never runs this: `kernels.glow_step` computes a whole step at once. This is its definition.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    x = tf.random.normal([16, 8, 8, 3], 5.0, 2.0)
    actnorm = glow_tf.bijectors.ActNorm(3)
    y = actnorm.initialize(x)  # Zero mean and unit variance per channel.
    actnorm.forward_log_det_jacobian(x, event_ndims=3)  # Of an image, in nats.
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, section 3.1.
    """

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        b=None,
        logs=None,
        dtype=None,
        validate_args: bool = False,
        name: str = "actnorm",
    ) -> None:
        """The parameters are new variables of zeros unless they are given.

        Args:
            n_channels: int, C. Not needed where `b` and `logs` are given.
            b: float [C] tensor, tf.Variable or DeferredTensor; with `logs`. One of the two may be [1], an
                entry for all channels. Batch axes may stand before.
            logs: the same for the log of the scale, divided by 3.
            dtype: of the variables; float32 unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: if one of `b`, `logs` is missing, their numbers of channels differ, or `n_channels`
                isn't a positive integer.
        """
        dtype = tf.as_dtype(dtype or common_dtype([b, logs]))
        parameters = dict(locals())
        with tf.name_scope(name):
            if not require_all_or_none("ActNorm", b=b, logs=logs):
                n_channels = require_int("n_channels", n_channels, 1)
                b = tf.Variable(tf.zeros([n_channels], dtype), name="b")
                logs = tf.Variable(tf.zeros([n_channels], dtype), name="logs")
            self.b = as_parameter(b, dtype)
            self.logs = as_parameter(logs, dtype)
            both = {"b": self.b, "logs": self.logs}
            self._n_channels = common_channels(both.values())
            wanted = {key: [self._n_channels] for key in both}
            require_shapes("ActNorm", both, batch=True, broadcast=tuple(both), **wanted)
            # The bijector cache compares `parameters`: without the variables two ActNorms of the
            # same size would return each other's results.
            parameters.update(both)
            super().__init__(
                forward_min_event_ndims=1,
                is_constant_jacobian=True,
                dtype=dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype):
        properties = tfp.util.ParameterProperties
        return {"b": properties(event_ndims=1), "logs": properties(event_ndims=1)}

    def initialize(self, x) -> tf.Tensor:
        """Assigns `b` and `logs` such that `forward(x)` has zero mean and unit variance.

        Args:
            x: float [..., C], averaged over all axes but the last.

        Returns:
            `forward(x)` with the new values.

        Raises:
            ValueError: if the parameters aren't variables; outside a tf.function, if the values of a channel
                don't differ, or aren't finite.
        """
        if not (isinstance(self.b, tf.Variable) and isinstance(self.logs, tf.Variable)):
            raise ValueError("ActNorm.initialize needs `b` and `logs` to be tf.Variables.")
        # Not the caller's tensor: the bijector cache may hold results of the old values for it.
        x = tf.identity(tf.convert_to_tensor(x, self.dtype))
        require_event(self.name, x, 1, self._n_channels)
        b, logs = actnorm_statistics(x)
        if tf.executing_eagerly():
            for what, wrong in without_scale(b, logs).items():
                if wrong.any():
                    raise ValueError(
                        f"ActNorm can't be initialised: the values {what} in {wrong.sum()} of {wrong.size} "
                        "channels."
                    )
        self.b.assign(b)
        self.logs.assign(logs)
        return self._forward(x)

    def _experimental_compute_density_correction(self, x, tangent_space, backward_compat=False, **kwargs):
        del backward_compat
        return tangent_space.transform_coordinatewise(x, self, **kwargs)

    def _forward(self, x):
        b, log_scale = self._bias_and_log_scale(x)
        return (x + b) * tf.exp(log_scale)

    def _inverse(self, y):
        b, log_scale = self._bias_and_log_scale(y)
        return y * tf.exp(-log_scale) - b

    def _forward_log_det_jacobian(self, x):
        return tf.reduce_sum(self._bias_and_log_scale(x)[1], -1)

    def _bias_and_log_scale(self, x):
        require_event(self.name, x, 1, self._n_channels)
        return at_each_channel(self.b, x), LOGSCALE_FACTOR * at_each_channel(self.logs, x)
