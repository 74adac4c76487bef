"""What a Scan needs of a step, and how it follows from any bijector by automatic differentiation."""

import abc

import tensorflow as tf

from glow_tf.bijectors._parts import context_kwargs


class Kernel(abc.ABC):
    """One step of a Scan, on batches [N, event], both ways and with its gradient.

    A step's weights are a list of tensors, its slices of the stacked ones. Residuals are what `backward`
    needs besides the step's input x and output y, a list of tensors too.

    A context, which all steps depend on, is one tensor [N, ...], or None.
    """

    @abc.abstractmethod
    def fold(self, parameters, event_shape):
        """Computes at once, for all steps, what depends on the parameters alone.

        Args:
            parameters: dict of tensors [depth, ...].
            event_shape: int [event_ndims] tensor.

        Returns:
            weights: list of tensors [depth, ...], differentiable where they are floating;
            log_det: what `forward` leaves out of the log-det, summed over all steps, a scalar.
        """

    def fold_inverse(self, weights):
        """Returns a list of tensors [depth, ...] that `inverse` takes after `weights`, the stacked ones."""
        del weights
        return []

    def enter(self, x):
        """Returns x as the steps take it."""
        return x

    def leave(self, y):
        """Returns what `enter` was given."""
        return y

    def enter_context(self, parameters, x, context):
        """Returns a context [N, ...], or None, as the steps take it.

        Args:
            parameters: as `fold` takes them.
            x: as `enter` returned it.
            context: as the bijector of a step takes it, of the batch of x.
        """
        del parameters, x
        return context

    @abc.abstractmethod
    def forward(self, weights, x, context=None):
        """Returns y, the log-det [N], and the residuals; reads no weights but those of `fold`."""

    @abc.abstractmethod
    def inverse(self, weights, y, context=None):
        """Returns x, the log-det of the forward direction [N], and the residuals."""

    def residual_specs(self, x, weights):
        """Returns the `tf.TensorSpec`s of a step's residuals.

        Args:
            x: the step's input. What its shape doesn't know, residuals have as x has it, on the same axis.
            weights: the stacked ones.
        """
        del x, weights
        return []

    def working_specs(self, x, weights):
        """Returns the `tf.TensorSpec`s of what is in memory at once while a step is computed, most of all."""
        return self.residual_specs(x, weights)

    def backward(self, weights, x, y, residuals, dy, dlog_det, context=None):
        """Returns the gradient for x, those for the weights, and, if there is a context, the one for it.

        Those for the weights are a list, with None for what isn't floating.
        """
        del y, residuals
        contexts = [] if context is None else [context]
        sources = [x, *contexts, *(w for w in weights if w.dtype.is_floating)]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            # A tensor that no bijector cache knows: a cached result isn't on the tape.
            outputs = self.forward(weights, tf.identity(x), context)[:2]
        dx, *gradients = tape.gradient(outputs, sources, [dy, dlog_det], tf.UnconnectedGradients.ZERO)
        gradients = iter(gradients)
        dcontext = [next(gradients) for _ in contexts]
        return dx, [next(gradients) if w.dtype.is_floating else None for w in weights], *dcontext


class BijectorKernel(Kernel):
    """The kernel of any bijector: what a step is, as a specification that runs."""

    def __init__(self, make_step, keys):
        """Takes the step.

        Args:
            make_step: callable, dict of one step's weights -> bijector.
            keys: of that dict, in the order of the weights.
        """
        self._make_step = make_step
        self._keys = list(keys)

    def fold(self, parameters, event_shape):
        """See `Kernel`; here the weights are the parameters."""
        weights = [parameters[key] for key in self._keys]
        dtype = next((w.dtype for w in weights if w.dtype.is_floating), tf.float32)
        return weights, tf.zeros([], dtype)

    def forward(self, weights, x, context=None):
        """See `Kernel`."""
        step = self._step(weights)
        kwargs = context_kwargs(step, context)
        y = step.forward(x, **kwargs)
        return y, _per_example(step.forward_log_det_jacobian(x, **kwargs), x), []

    def inverse(self, weights, y, context=None):
        """See `Kernel`."""
        step = self._step(weights)
        kwargs = context_kwargs(step, context)
        x = step.inverse(y, **kwargs)
        return x, _per_example(-step.inverse_log_det_jacobian(y, **kwargs), x), []

    def _step(self, weights):
        return self._make_step(dict(zip(self._keys, weights, strict=True)))


class Inverted(Kernel):
    """The step of another kernel the other way round; its gradient is derived.

    The log-det stays that of the other's forward direction. `weights` have what its `fold_inverse` returns at
    their end.
    """

    def __init__(self, kernel: Kernel):
        """Takes the other kernel."""
        self._kernel = kernel

    def fold(self, parameters, event_shape):
        """See `Kernel`."""
        weights, log_det = self._kernel.fold(parameters, event_shape)
        return [*weights, *self._kernel.fold_inverse(weights)], log_det

    def enter(self, x):
        """See `Kernel`."""
        return self._kernel.enter(x)

    def leave(self, y):
        """See `Kernel`."""
        return self._kernel.leave(y)

    def enter_context(self, parameters, x, context):
        """See `Kernel`."""
        return self._kernel.enter_context(parameters, x, context)

    def forward(self, weights, x, context=None):
        """See `Kernel`."""
        y, log_det, _ = self._kernel.inverse(weights, x, context)
        return y, log_det, []

    def inverse(self, weights, y, context=None):
        """See `Kernel`."""
        x, log_det, _ = self._kernel.forward(weights, y, context)
        return x, log_det, []

    def working_specs(self, x, weights):
        """See `Kernel`; the other's, though none of it is a residual."""
        return self._kernel.working_specs(x, weights)


def _per_example(log_det, x):
    return tf.broadcast_to(log_det, tf.shape(x)[:1])
