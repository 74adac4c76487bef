"""Bijectors whose value and log-det come from one computation."""

import abc

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import context as contexts
from glow_tf.shapes import require_event


class OnePassBijector(tfp.bijectors.Bijector):
    """Base class: value and log-det are computed together, whichever is asked for first.

    Subclasses define `_forward_and_log_det(x)` and `_inverse_and_log_det(y)`; both return the log-det
    of the *forward* direction, one number per batch member. The log-det is left where
    `tfb.Bijector` looks for it (the entry "ildj" of the bijector cache), so that
    `forward_log_det_jacobian(x)` after `forward(x)` costs nothing, as does `log_prob(sample())`.

    Each method takes `context=`, if the bijector depends on one. TFP's cache knows a result by its input and
    its context: two contexts share none. It knows tensors, not values: a context that is given as an array
    or a tf.Variable, which may change, is another one at each call.
    """

    @property
    def context_ndims(self) -> int | None:
        """The axes of a context: 1, a vector [..., C]; 3, an image [..., h, w, C]; None: it takes none."""
        return None

    def _checked_context(self, context):
        """Returns a context as a tensor; raises a ValueError if there mustn't be one like this."""
        return contexts.checked(self.name, context, self.dtype, self.context_ndims)

    def _with_tensors(self, kwargs):
        """Returns keyword arguments as the cache should know them.

        Those of `bijector_kwargs` may stand under the bijector's own name, as in a `tfb.Chain`: so they are
        right wherever it stands.
        """
        own = kwargs.pop(self.name, {})
        kwargs |= own if isinstance(own, dict) else {self.name: own}
        context = kwargs.pop("context", None)
        return kwargs if context is None else kwargs | {"context": self._checked_context(context)}

    def forward(self, x, name="forward", **kwargs):
        """See `tfb.Bijector`; `context` is what the bijector depends on besides x, if it does."""
        return super().forward(x, name=name, **self._with_tensors(kwargs))

    def inverse(self, y, name="inverse", **kwargs):
        """See `tfb.Bijector`, and `forward`."""
        return super().inverse(y, name=name, **self._with_tensors(kwargs))

    def forward_log_det_jacobian(self, x, event_ndims=None, name="forward_log_det_jacobian", **kwargs):
        """See `tfb.Bijector`, and `forward`."""
        return super().forward_log_det_jacobian(x, event_ndims, name, **self._with_tensors(kwargs))

    def inverse_log_det_jacobian(self, y, event_ndims=None, name="inverse_log_det_jacobian", **kwargs):
        """See `tfb.Bijector`, and `forward`."""
        return super().inverse_log_det_jacobian(y, event_ndims, name, **self._with_tensors(kwargs))

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

    def _constant_log_det(self, x, **kwargs):
        """Returns the log-det, without the value, for inputs or outputs with the shape and dtype of x."""
        raise NotImplementedError(f"{type(self).__name__} has a constant log-det, and no _constant_log_det.")

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
            return self._constant_log_det(x, **kwargs)
        return self._forward_and_log_det(x, **kwargs)[1]

    def _inverse_log_det_jacobian(self, y, **kwargs):
        if self.has_constant_log_det:
            return -self._constant_log_det(y, **kwargs)
        return -self._inverse_and_log_det(y, **kwargs)[1]


def batch_zeros(x, event_ndims: int):
    """Returns a zero for each event of x."""
    shape = tf.shape(x)
    return tf.zeros(shape[: tf.size(shape) - event_ndims], x.dtype)
