"""Factoring out half of the channels, with their learned Gaussian (section 3.6 of Dinh et al. 2017)."""

import numpy as np
import tensorflow as tf

from glow_tf import context as contexts
from glow_tf.bijectors._one_pass import OnePassBijector
from glow_tf.bijectors._parameters import as_parameter, common_dtype, require_all_or_none
from glow_tf.inputs import require_int
from glow_tf.layers import conv_zeros, deinterleave
from glow_tf.shapes import as_batch, image_size, n_channels_of, require_event, require_shapes, told_shape


class SplitPrior(OnePassBijector):
    """Splits an image's channels into what goes on and what is factored out, standardised.

    The mean and scale depend on what goes on, and on a context, `forward(x, context=c)`, if there is one.

    ```
    z1, z2 = halves of the last axis; h = conv_zeros(z1); mean = h[..., 0::2], logs = h[..., 1::2]
    forward: x -> [z1, eps],  eps = (z2 - mean) * exp(-logs)
    inverse: [z1, eps] -> x,  z2 = mean + eps * exp(logs)
    log|det| = -sum(logs)
    ```

    So a standard normal `eps` is z2 ~ N(mean, exp(logs)), the original's learned prior of a
    factored-out part. Input float [..., H, W, C] with an even C; outputs [..., H, W, C / 2] each.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    z1, eps = glow_tf.bijectors.SplitPrior(4).forward(tf.ones([2, 8, 8, 4]))  # [2, 8, 8, 2] each.
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, section 3.
    Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP, 2017, section 3.6.
    """

    def __init__(
        self,
        n_channels=None,
        *,
        w=None,
        b=None,
        logs=None,
        context_w=None,
        context_shape=(),
        dtype=None,
        validate_args=False,
        name="split_prior",
    ) -> None:
        """The parameters are new variables of zeros unless they are given.

        Args:
            n_channels: int, C. Not needed where the parameters are given.
            w: float [3, 3, C / 2 + 1, C] tensor, tf.Variable or DeferredTensor; the kernel.
            b: the same for the bias [C].
            logs: the same for the log-scale of the convolution's output, divided by 3, [C].
            context_w: the same for the weight of a context, whose linear term is added to the convolution:
                [C_context, C] of a vector, [1, 1, C_context, C] of an image; see `glow_tf.context`.
            context_shape: of the context, where the parameters aren't given: () for none, (C_context,) a
                vector, (h, w, C_context) an image, at the size of the input.
            dtype: of the variables; float32 unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: if only some of the parameters are given, they have other shapes, or `n_channels`
                isn't even.
        """
        dtype = tf.as_dtype(dtype or common_dtype([w, b, logs]))
        parameters = dict(locals())
        with tf.name_scope(name):
            if not require_all_or_none("SplitPrior", w=w, b=b, logs=logs):
                n = require_int("n_channels", n_channels, 1)
                w = tf.Variable(np.zeros([3, 3, n // 2 + 1, n]), dtype=dtype, name="w")
                b = tf.Variable(np.zeros([n]), dtype=dtype, name="b")
                logs = tf.Variable(np.zeros([n]), dtype=dtype, name="logs")
                for value in contexts.weight(context_shape, n).values():
                    context_w = tf.Variable(value, dtype=dtype, name="context_w")
            self.w = as_parameter(w, dtype)
            self.b = as_parameter(b, dtype)
            self.logs = as_parameter(logs, dtype)
            given = {"w": self.w, "b": self.b, "logs": self.logs}
            c = n_channels_of(self.b) or n_channels_of(self.w)
            if c and c % 2:
                raise ValueError(f"SplitPrior needs an even number of channels, got {c}.")
            wanted = {"w": [3, 3, c and c // 2 + 1, c], "b": [c], "logs": [c]}
            self.context_w = None if context_w is None else as_parameter(context_w, dtype)
            if self.context_w is not None:
                given["context_w"] = self.context_w
                wanted["context_w"] = contexts.wanted_shape(self.context_w, c)
            require_shapes("SplitPrior", given, **wanted)
            self._n_channels = c
            parameters.update(given)
            super().__init__(
                forward_min_event_ndims=3,
                inverse_min_event_ndims=[3, 3],
                dtype=dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def _parts_interact(self):
        return True

    @property
    def context_ndims(self) -> int | None:
        """The axes of a context: 1, a vector [..., C]; 3, an image [..., h, w, C]; None: it takes none."""
        return contexts.ndims_of(self.context_w)

    def _mean_and_logs(self, z1, context):
        batch, b = as_batch(z1, 3, self._n_channels and self._n_channels // 2), tf.convert_to_tensor(self.b)
        if context is not None:
            b += contexts.linear_term(context, tf.convert_to_tensor(self.context_w), *image_size(batch))
        h = conv_zeros(batch, tf.convert_to_tensor(self.w), b, tf.convert_to_tensor(self.logs))
        return [told_shape(tf.reshape(part, tf.shape(z1)), z1.shape) for part in deinterleave(h)]

    def _forward_and_log_det(self, x, context=None):
        require_event(self.name, x, 3, self._n_channels)
        x, context = contexts.prepared(self.name, x, 3, context, self.context_ndims, self.dtype)
        z1, z2 = tf.split(x, 2, -1)
        mean, logs = self._mean_and_logs(z1, context)
        return [z1, (z2 - mean) * tf.exp(-logs)], -tf.reduce_sum(logs, [-3, -2, -1])

    def _inverse_and_log_det(self, parts, context=None):
        for part in parts:
            require_event(self.name, part, 3, self._n_channels and self._n_channels // 2)
        z1, eps = parts
        z1, context = contexts.prepared(self.name, z1, 3, context, self.context_ndims, self.dtype)
        mean, logs = self._mean_and_logs(z1, context)
        return tf.concat([z1, mean + eps * tf.exp(logs)], -1), -tf.reduce_sum(logs, [-3, -2, -1])

    def _forward_event_shape(self, shape):
        if shape.rank is None:
            return [shape, shape]
        c = shape[-1]
        half = shape[:-1].concatenate(None if c is None else c // 2)
        return [half, half]

    def _inverse_event_shape(self, shapes):
        shape = shapes[0].merge_with(shapes[1])
        if shape.rank is None:
            return shape
        c = shape[-1]
        return shape[:-1].concatenate(None if c is None else 2 * c)

    def _forward_event_shape_tensor(self, shape):
        half = tf.concat([shape[:-1], shape[-1:] // 2], 0)
        return [half, half]

    def _inverse_event_shape_tensor(self, shapes):
        return tf.concat([shapes[0][:-1], shapes[0][-1:] * 2], 0)

    def _forward_dtype(self, dtype, **kwargs):
        del kwargs
        return [dtype, dtype]

    def _inverse_dtype(self, dtypes, **kwargs):
        del kwargs
        return dtypes[0]
