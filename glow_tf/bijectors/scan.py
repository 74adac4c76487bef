"""A level of the flow: one step bijector run over stacked weights in a loop.

With the weights of `depth` steps in one variable `[depth, ...]` a kind, and the steps in a
`tf.while_loop`, the graph, the time to trace it and the number of the optimizer's operations don't
depend on the depth; and as each step can be inverted, neither need the activations.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors._one_pass import OnePassBijector, batch_zeros
from glow_tf.bijectors._parameters import as_parameter, may_change
from glow_tf.bijectors._scan_loop import MEMORY, forward_loop, inverse_loop
from glow_tf.shapes import as_batch, require_event, told_shape


class AutodiffKernel:
    """What Scan needs of a step, derived from an ordinary bijector by automatic differentiation.

    A kernel works on batches [N, event] and on the weights of one step, a list of tensors.
    Residuals are what `backward` needs of a step, a list of tensors, the step's input first; here, only that.
    """

    def __init__(self, make_step, parameters):
        """Makes the kernel.

        Args:
            make_step: callable, dict of one step's weights -> bijector.
            parameters: dict of stacked tensors or variables; integers among them are constants.
        """
        self._make_step = make_step
        self._weights = [key for key, value in parameters.items() if value.dtype.is_floating]
        self._constants = [key for key in parameters if key not in self._weights]

    def prepare(self, parameters, event_shape):
        """Computes at once, for all steps, what depends on the weights alone.

        Args:
            parameters: dict of tensors [depth, ...].
            event_shape: int [event_ndims] tensor.

        Returns:
            weights: list of tensors [depth, ...] that the forward direction is differentiated by;
            constants: the same for what it isn't; the methods below take one step's slices of both;
            log_det: what `forward` leaves out of the log-det, summed over all steps, a scalar.
        """
        del event_shape
        weights = [parameters[key] for key in self._weights]
        constants = [parameters[key] for key in self._constants]
        return weights, constants, tf.zeros([], weights[0].dtype)

    def residual_specs(self, x, stacked):
        """Returns what has the dtypes and (static) shapes of the residuals of a step."""
        del stacked
        return [x]

    def forward(self, weights, x):
        """Returns y, the log-det [N], and the residuals."""
        step = self._step(weights)
        y = step.forward(x)
        return y, self._log_det(step.forward_log_det_jacobian(x), x), [x]

    def inverse(self, weights, y):
        """Returns x, the log-det of the forward direction [N], and the residuals."""
        step = self._step(weights)
        x = step.inverse(y)
        return x, self._log_det(-step.inverse_log_det_jacobian(y), x), [x]

    def backward(self, weights, residuals, dy, dlog_det):
        """Returns the gradients for x and for the weights, the constants left out."""
        (x,) = residuals
        sources = [x, *weights[: len(self._weights)]]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            # A tensor that no bijector cache knows: a cached result isn't on the tape.
            outputs = self.forward(weights, tf.identity(x))[:2]
        dx, *dweights = tape.gradient(outputs, sources, [dy, dlog_det], tf.UnconnectedGradients.ZERO)
        return dx, dweights

    def _step(self, weights):
        return self._make_step(dict(zip(self._weights + self._constants, weights, strict=True)))

    @staticmethod
    def _log_det(log_det, x):
        return tf.broadcast_to(log_det, tf.shape(x)[:1])


class Scan(OnePassBijector):
    """Applies a step bijector `depth` times, each time with its own slice of stacked weights.

    ```
    forward: y = step[depth - 1](... step[0](x))
    inverse: x = step[0]^-1(... step[depth - 1]^-1(y))
    log|det| = the sum over the steps
    ```

    What training keeps of the forward pass for the gradient is `memory`:
        "store": what the gradient of each step needs (most memory, least computation);
        "recompute": each step's input, as the original's gradient checkpointing;
        "reverse": the last step's output; each step's input is rebuilt by its inverse. What the gradients of
            the last `n_kept` steps need is kept too: it saves their rebuilding, and as many steps, whatever
            the depth, are a constant amount of memory.
    The gradients are the same, and can be differentiated again, in reverse or in forward mode.

    `scan.step(k)` is the ordinary bijector of step k.

    #### References

    Gomez et al., The Reversible Residual Network: Backpropagation Without Storing Activations, 2017.
    """

    def __init__(
        self,
        make_step,
        parameters,
        *,
        memory="reverse",
        n_kept=0,
        kernel=None,
        validate_args=False,
        name="scan",
    ):
        """Makes the bijector.

        Args:
            make_step: callable, dict of one step's weights -> bijector that keeps the event shape.
            parameters: dict of tensors, arrays, tf.Variables or DeferredTensors [depth, ...], the same depth
                for all.
            memory: "store", "recompute" or "reverse", see above.
            n_kept: int, of how many steps "reverse" keeps what the gradient needs, see above.
            kernel: a faster equivalent of the steps, with `AutodiffKernel`'s methods.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: for an unknown `memory`, parameters that don't agree on the depth, or steps with a
                batch of parameters.
        """
        arguments = dict(locals())
        if memory not in MEMORY:
            raise ValueError(f"memory must be one of {MEMORY}, got {memory!r}.")
        if int(n_kept) != n_kept or n_kept < 0:
            raise ValueError(f"n_kept must be an integer, at least 0, got {n_kept!r}.")
        self._stacked = {key: as_parameter(value) for key, value in parameters.items()}
        depths = {key: value.shape[0] if value.shape.rank else None for key, value in self._stacked.items()}
        if len(set(depths.values())) != 1 or not all(depths.values()):
            raise ValueError(f"The parameters must be stacked to one depth, at least 1, got {depths}.")
        if not any(value.dtype.is_floating for value in self._stacked.values()):
            raise ValueError(f"At least one of the parameters {sorted(depths)} must be floating.")
        arguments.update(parameters=self._stacked)
        self._make_step = make_step
        self._memory = memory
        self._n_kept = int(n_kept)
        self._depth = next(iter(depths.values()))
        self._kernel = kernel or AutodiffKernel(make_step, self._stacked)
        template = self.step(0)
        batch_shape = template.experimental_batch_shape()
        if batch_shape.rank:
            raise ValueError(
                f"The steps of a Scan can't have a batch of parameters, got the batch shape {batch_shape} "
                f"for events of {template.forward_min_event_ndims} axes."
            )
        self._n_channels = getattr(template, "n_channels", None)
        self._has_constant_log_det = getattr(template, "has_constant_log_det", template.is_constant_jacobian)
        super().__init__(
            forward_min_event_ndims=template.forward_min_event_ndims,
            is_constant_jacobian=template.is_constant_jacobian,
            dtype=template.dtype,
            validate_args=validate_args,
            parameters=arguments,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def depth(self) -> int:
        """The number of steps."""
        return self._depth

    @property
    def memory(self) -> str:
        """What training keeps of the forward pass."""
        return self._memory

    @property
    def has_constant_log_det(self) -> bool:
        """Whether the log-det is the same for all inputs, as each step's is."""
        return self._has_constant_log_det

    def _constant_log_det(self, x):
        n = self.forward_min_event_ndims
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}

        def of_step(k):
            step = self._make_step({key: value[k] for key, value in stacked.items()})
            return step.forward_log_det_jacobian(x, n) + batch_zeros(x, n)

        return tf.reduce_sum(tf.map_fn(of_step, tf.range(self.depth), fn_output_signature=x.dtype), 0)

    def step(self, k: int) -> tfp.bijectors.Bijector:
        """Returns the bijector of step `k`, which shares this one's variables.

        Raises:
            IndexError: if there is no such step.
        """
        if not -self.depth <= k < self.depth:
            raise IndexError(f"There is no step {k} in a Scan of {self.depth} steps.")
        take = lambda value: value[k]
        return self._make_step(
            {
                key: tfp.util.DeferredTensor(value, take, shape=value.shape[1:])
                if may_change(value)
                else value[k]
                for key, value in self._stacked.items()
            }
        )

    def initialize(self, x):
        """Data-dependent initialisation of all steps in order; assigns each stacked variable once.

        The step bijectors must have a method `data_dependent_values(x)`, as `GlowStep`'s.

        Args:
            x: float [B, ...], the initialisation batch at this level's input.

        Returns:
            The level's output with the new values.
        """
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}

        def values_of(k, x):
            step = self._make_step({key: value[k] for key, value in stacked.items()})
            return step.data_dependent_values(x)

        # The keys are known only from the step itself: trace one to see them.
        keys = list(tf.function(values_of).get_concrete_function(0, x).structured_outputs[0])
        arrays = [
            tf.TensorArray(stacked[key].dtype, self.depth, element_shape=stacked[key].shape[1:])
            for key in keys
        ]

        def body(k, x, arrays):
            values, y = values_of(k, x)
            y = told_shape(y, x.shape)
            return k + 1, y, [a.write(k, values[key]) for a, key in zip(arrays, keys, strict=True)]

        _, y, arrays = tf.while_loop(
            lambda k, *_: k < self.depth, body, [0, x, arrays], parallel_iterations=1
        )
        for key, array in zip(keys, arrays, strict=True):
            self._stacked[key].assign(array.stack())
        return y

    def _forward_and_log_det(self, x):
        return self._run(x, forward_loop)

    def _inverse_and_log_det(self, y):
        return self._run(y, inverse_loop)

    def _run(self, x, loop):
        n = self.forward_min_event_ndims
        require_event(self.name, x, n, self._n_channels)
        shape = tf.shape(x)
        event_shape = shape[tf.size(shape) - n :]
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}
        weights, constants, log_det = self._kernel.prepare(stacked, event_shape)
        batch = as_batch(x, n, self._n_channels)
        y, batch_log_det = loop(self._kernel, self._memory, self._n_kept, batch, weights, constants)
        y = told_shape(tf.reshape(y, shape), x.shape)
        return y, tf.reshape(batch_log_det, shape[: tf.size(shape) - n]) + log_det
