"""A level of the flow: one step bijector run over stacked weights in a loop.

With the weights of `depth` steps in one variable `[depth, ...]` per kind, and the steps in a
`tf.while_loop`, the graph, the time to trace it and the number of the optimizer's operations don't
depend on the depth; and as each step can be inverted, neither need the activations.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors._one_pass import OnePassBijector, batch_zeros
from glow_tf.bijectors._parameters import as_parameter, may_change
from glow_tf.bijectors._parts import context_kwargs, context_ndims
from glow_tf.context import with_context, with_flat_context
from glow_tf.kernels import loops
from glow_tf.kernels.kernel import BijectorKernel, Inverted
from glow_tf.layers import initialization_fault
from glow_tf.shapes import as_batch, require_event, told_shape


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
        "reverse": the last step's output; each step's input is rebuilt by its inverse. Of the last steps, as
            many as `keep_bytes` have room for, all that the gradient needs is kept: they aren't rebuilt.
    The gradients are the same, and can be differentiated again, in reverse or in forward mode.

    `scan.step(k)` is the ordinary bijector of step k. `forward(x, context=c)`, and so the others, hands a
    context to each step; its gradient is the sum over the steps, in the memory of one.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    weights = {"b": tf.Variable(tf.ones([5, 3])), "logs": tf.Variable(tf.zeros([5, 3]))}
    scan = glow_tf.bijectors.Scan(lambda p: glow_tf.bijectors.ActNorm(**p), weights)
    scan.forward(tf.zeros([2, 3]))  # Five steps later: fives.
    ```

    #### References

    Gomez et al., The Reversible Residual Network: Backpropagation Without Storing Activations, 2017.
    """

    def __init__(
        self,
        make_step,
        parameters,
        *,
        memory="reverse",
        keep_bytes=0,
        n_shares=1,
        kernel=None,
        validate_args=False,
        name="scan",
    ) -> None:
        """Takes the step and its stacked weights.

        Args:
            make_step: callable, dict of one step's weights -> bijector that keeps the event shape.
            parameters: dict of tensors, arrays, tf.Variables or DeferredTensors [depth, ...], the same depth
                for all.
            memory: "store", "recompute" or "reverse", see above.
            keep_bytes: int, how much "reverse" keeps of the last steps, see above. A SavedModel can only hold
                the gradient if it is 0.
            n_shares: int, in how many shares of the batch a step is computed at once; see `glow_tf.threads`.
            kernel: a faster equivalent of the steps, a `kernels.kernel.Kernel`; derived from them by default.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: for an unknown `memory`, parameters that don't agree on the depth, or steps with a
                batch of parameters.
        """
        arguments = dict(locals())
        if memory not in loops.MEMORY:
            raise ValueError(f"memory must be one of {loops.MEMORY}, got {memory!r}.")
        if int(keep_bytes) != keep_bytes or keep_bytes < 0:
            raise ValueError(f"keep_bytes must be an integer, at least 0, got {keep_bytes!r}.")
        if int(n_shares) != n_shares or n_shares < 1:
            raise ValueError(f"n_shares must be an integer, at least 1, got {n_shares!r}.")
        self._stacked = {key: as_parameter(value) for key, value in parameters.items()}
        depths = {key: value.shape[0] if value.shape.rank else None for key, value in self._stacked.items()}
        if len(set(depths.values())) != 1 or not all(depths.values()):
            raise ValueError(f"The parameters must be stacked to one depth, at least 1, got {depths}.")
        if not any(value.dtype.is_floating for value in self._stacked.values()):
            raise ValueError(f"At least one of the parameters {sorted(depths)} must be floating.")
        arguments.update(parameters=self._stacked)
        self._make_step = make_step
        self._memory = memory
        self._keep_bytes = int(keep_bytes)
        self._n_shares = int(n_shares)
        self._depth = next(iter(depths.values()))
        self._kernel = kernel or BijectorKernel(make_step, self._stacked)
        template = self.step(0)
        batch_shape = template.experimental_batch_shape()
        if batch_shape.rank:
            raise ValueError(
                f"The steps of a Scan can't have a batch of parameters, got the batch shape {batch_shape} "
                f"for events of {template.forward_min_event_ndims} axes."
            )
        self._n_channels = getattr(template, "n_channels", None)
        self._context_ndims = context_ndims(template)
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
    def context_ndims(self) -> int | None:
        """The axes of the context that the steps take; None if they take none."""
        return self._context_ndims

    @property
    def has_constant_log_det(self) -> bool:
        """Whether the log-det is the same for all inputs, as each step's is."""
        return self._has_constant_log_det

    def _constant_log_det(self, x, context=None):
        n = self.forward_min_event_ndims
        if context is not None:
            x, context = with_context(x, n, context, self.context_ndims)
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}

        def of_step(k):
            step = self._make_step({key: value[k] for key, value in stacked.items()})
            log_det = step.forward_log_det_jacobian(x, n, **context_kwargs(step, context))
            return log_det + batch_zeros(x, n)

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

    def initialize(self, x, context=None) -> tf.Tensor:
        """Data-dependent initialisation of all steps in order; assigns each stacked variable once.

        The step bijectors must have, as `GlowStep` has, a method `data_dependent_values(x)`, with `context=`
        if there is one, and in `data_dependent_keys` the keys of the values that it returns.

        Args:
            x: float [B, ...], the initialisation batch at this level's input.
            context: as `forward` takes it.

        Returns:
            The level's output with the new values.

        Raises:
            ValueError: outside a tf.function, if values within the steps don't differ, or aren't finite, so
                that no scale can give them unit variance. The variables are left as they were.
        """
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}

        def values_of(k, x):
            step = self._make_step({key: value[k] for key, value in stacked.items()})
            return step.data_dependent_values(x, **({} if context is None else {"context": context}))

        keys = self.step(0).data_dependent_keys
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
        values = {key: array.stack() for key, array in zip(keys, arrays, strict=True)}
        if tf.executing_eagerly() and (fault := initialization_fault(values)):
            raise ValueError(f"{self.name} can't be initialised: {fault}.")
        for key, value in values.items():
            self._stacked[key].assign(value)
        return y

    def _forward_and_log_det(self, x, context=None):
        return self._run(self._kernel, x, context)

    def _inverse_and_log_det(self, y, context=None):
        return self._run(Inverted(self._kernel), y, context, backwards=True)

    def _run(self, kernel, x, context, backwards=False):
        n = self.forward_min_event_ndims
        require_event(self.name, x, n, self._n_channels)
        if context is not None:
            x, context = with_flat_context(x, n, context, self.context_ndims)
        shape = tf.shape(x)
        event_shape = shape[tf.size(shape) - n :]
        stacked = {key: tf.convert_to_tensor(value) for key, value in self._stacked.items()}
        weights, log_det = kernel.fold(stacked, event_shape)
        state = kernel.enter(as_batch(x, n, self._n_channels))
        context = kernel.enter_context(stacked, state, context)
        segments = loops.segments_of(self._memory, self._keep_bytes, kernel, state, weights)
        state, batch_log_det = loops.run(kernel, segments, state, weights, backwards, self._n_shares, context)
        y = told_shape(tf.reshape(kernel.leave(state), shape), x.shape)
        return y, tf.reshape(batch_log_det, shape[: tf.size(shape) - n]) + log_det
