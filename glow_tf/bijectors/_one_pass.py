"""Bijectors whose value and log-det come from one computation."""

import abc

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.shapes import require_event


class OnePassBijector(tfp.bijectors.Bijector):
    """Base class: value and log-det are computed together, whichever is asked for first.

    Subclasses define `_forward_and_log_det(x)` and `_inverse_and_log_det(y)`; both return the log-det
    of the *forward* direction, one number per batch member. The log-det is left where
    `tfb.Bijector` looks for it (the entry "ildj" of the bijector cache), so that
    `forward_log_det_jacobian(x)` after `forward(x)` costs nothing, as does `log_prob(sample())`.
    """

    @abc.abstractmethod
    def _forward_and_log_det(self, x, **kwargs):
        """Returns `forward(x)` and log|det dy/dx|."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y, **kwargs):
        """Returns `inverse(y)` and log|det dy/dx|."""

    @property
    def has_constant_log_det(self) -> bool:
        """Whether the log-det is the same for all inputs, so that `_constant_log_det(x)` computes it.

        Not `is_constant_jacobian`, which TFP takes to mean an affine map: it computes `mean()` from it.
        """
        return False

    def _constant_log_det(self, x):
        """Returns the log-det, without the value, for inputs or outputs with the shape and dtype of x."""
        raise NotImplementedError

    def _get_parameterization(self):
        # Unique: two of these share no cache, whatever their parameters. Comparing many tensors or networks
        # at each call would be slow.
        return id(self)

    def _experimental_compute_density_correction(self, x, tangent_space, backward_compat=False, **kwargs):
        del backward_compat
        return tangent_space.transform_dimension_preserving(x, self, **kwargs)

    def _forward(self, x, **kwargs):
        require_event(self.name, x, self.forward_min_event_ndims)
        y, log_det = self._forward_and_log_det(x, **kwargs)
        self._cache.forward_attributes(x, **kwargs)["ildj"] = -log_det
        return y

    def _inverse(self, y, **kwargs):
        x, log_det = self._inverse_and_log_det(y, **kwargs)
        self._cache.inverse_attributes(y, **kwargs)["ildj"] = -log_det
        return x

    def _forward_log_det_jacobian(self, x, **kwargs):
        if self.has_constant_log_det:
            return self._constant_log_det(x)
        return self._forward_and_log_det(x, **kwargs)[1]

    def _inverse_log_det_jacobian(self, y, **kwargs):
        if self.has_constant_log_det:
            return -self._constant_log_det(y)
        return -self._inverse_and_log_det(y, **kwargs)[1]


def batch_zeros(x, event_ndims: int):
    """Returns a zero for each event of x."""
    shape = tf.shape(x)
    return tf.zeros(shape[: tf.size(shape) - event_ndims], x.dtype)
