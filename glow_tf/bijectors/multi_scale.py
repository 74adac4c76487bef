"""The multi-scale architecture (figure 2b of the paper; section 3.6 of Dinh et al. 2017)."""

import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf import context as contexts
from glow_tf.bijectors._one_pass import OnePassBijector
from glow_tf.bijectors._parameters import may_change
from glow_tf.bijectors._parts import context_kwargs, context_ndims


class MultiScale(OnePassBijector):
    """Levels of flow with half of the channels factored out between them: image -> list of latents.

    ```
    z = x
    for each level but the last:  z = flow(z);  z, eps = split(z)
    at the last level:            z = flow(z);  eps = top(z)
    forward: x -> [eps of level 0, ..., eps of the last level]
    log|det| = the sum over flows, splits and top
    ```

    Inputs float [..., H, W, C]; the latents are [..., H_l, W_l, C_l], the one that is split off first
    comes first. `tfd.TransformedDistribution` takes it, inverted, with a
    `tfd.JointDistributionSequential` of one part per level as its base. Its batch shape is that of its parts:
    of a `TopPrior`'s labels, and of a context.

    A context is handed to all parts that take one: `forward(x, context=c)`, and so the others; or once, where
    the bijector is made.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    b = glow_tf.bijectors
    flow = b.MultiScale([b.Squeeze(), b.Squeeze()], [b.SplitPrior(12)], b.TopPrior(24))
    [eps.shape for eps in flow.forward(tf.ones([2, 8, 8, 3]))]  # [2, 4, 4, 6] and [2, 2, 2, 24].
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, section 3.
    """

    def __init__(
        self, flows, splits, top=None, *, context=None, validate_args=False, name="multi_scale"
    ) -> None:
        """Takes the parts of the levels.

        Args:
            flows: list of bijectors image -> image, one per level.
            splits: list of bijectors image -> [image that goes on, latent], one less.
            top: bijector image -> image after the last flow, or None.
            context: float tensor, tf.Variable or DeferredTensor, [..., C] or [..., h, w, C]; its batch shape
                is the bijector's. It is the context where a method is given none.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: if there isn't one split less than flows; for a context, if no part takes one.
        """
        parameters = dict(locals())
        if not flows or len(splits) != len(flows) - 1:
            raise ValueError(
                f"MultiScale needs one split less than flows, got {len(flows)} flows and "
                f"{len(splits)} splits."
            )
        self._flows = list(flows)
        self._splits = list(splits)
        self._top = top
        parts = [*flows, *splits, *([] if top is None else [top])]
        self._context_ndims = next(
            (n for n in map(context_ndims, parts) if n is not None),
            None,
        )
        dtype = next((b.dtype for b in parts if b.dtype is not None), None)
        self.context = context
        if context is not None:
            self.context = (
                context
                if may_change(context)
                else contexts.checked(name, context, dtype, self._context_ndims)
            )
            parameters.update(context=self.context)
        super().__init__(
            forward_min_event_ndims=3,
            inverse_min_event_ndims=[3] * len(flows),
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        # Every part gets images, with as many axes more than three as the caller's events have.
        batched = tfp.util.BatchedComponentProperties
        each = lambda name: lambda self, x_event_ndims: [x_event_ndims] * len(getattr(self, name))
        return {
            "flows": batched(event_ndims=each("flows")),
            "splits": batched(event_ndims=each("splits")),
            "top": batched(event_ndims=lambda self, x_event_ndims: x_event_ndims),
            "context": tfp.util.ParameterProperties(
                event_ndims=lambda self, x_event_ndims: (
                    None
                    if x_event_ndims is None
                    else self.context_ndims + x_event_ndims - self.forward_min_event_ndims
                )
            ),
        }

    @property
    def _parts_interact(self):
        return True

    @property
    def flows(self):
        """The bijectors of the levels."""
        return self._flows

    @property
    def splits(self):
        """The bijectors between the levels."""
        return self._splits

    @property
    def top(self):
        """The bijector after the last flow, or None."""
        return self._top

    @property
    def context_ndims(self) -> int | None:
        """The axes of the context that parts take; None if none of them takes one."""
        return self._context_ndims

    def _with_tensors(self, kwargs):
        kwargs = super()._with_tensors(kwargs)
        if self.context is None or "context" in kwargs:
            return kwargs
        return super()._with_tensors(kwargs | {"context": self.context})

    def _last(self):
        return [self._flows[-1]] + ([] if self._top is None else [self._top])

    def _walk_forward(self, each, x):
        """Returns a list, one for each latent, where `each(part, x)` leads through a part."""
        latents = []
        for flow, split in zip(self._flows, self._splits, strict=False):
            x, eps = each(split, each(flow, x))
            latents.append(eps)
        for part in self._last():
            x = each(part, x)
        return [*latents, x]

    def _walk_inverse(self, each, latents):
        """Returns one for the image, where `each(part, y)` leads back through a part."""
        *latents, y = latents
        for part in reversed(self._last()):
            y = each(part, y)
        for flow, split, eps in zip(self._flows[-2::-1], self._splits[::-1], latents[::-1], strict=True):
            y = each(flow, each(split, [y, eps]))
        return y

    def _forward_and_log_det(self, x, context=None):
        log_det = tf.zeros([], x.dtype)

        def each(part, x):
            nonlocal log_det
            kwargs = context_kwargs(part, context)
            y = part.forward(x, **kwargs)
            log_det += part.forward_log_det_jacobian(x, event_ndims=3, **kwargs)
            return y

        latents = self._walk_forward(each, x)
        return latents, log_det

    def _inverse_and_log_det(self, latents, context=None):
        log_det = tf.zeros([], latents[-1].dtype)

        def each(part, y):
            nonlocal log_det
            kwargs = context_kwargs(part, context)
            x = part.inverse(y, **kwargs)
            ndims = [3, 3] if isinstance(y, list) else 3
            log_det -= part.inverse_log_det_jacobian(y, event_ndims=ndims, **kwargs)
            return x

        x = self._walk_inverse(each, latents)
        return x, log_det

    def _forward_event_shape(self, shape):
        return self._walk_forward(lambda part, shape: part.forward_event_shape(shape), shape)

    def _inverse_event_shape(self, shapes):
        return self._walk_inverse(lambda part, shape: part.inverse_event_shape(shape), shapes)

    def _forward_event_shape_tensor(self, shape):
        return self._walk_forward(lambda part, shape: part.forward_event_shape_tensor(shape), shape)

    def _inverse_event_shape_tensor(self, shapes):
        return self._walk_inverse(lambda part, shape: part.inverse_event_shape_tensor(shape), shapes)

    def _forward_dtype(self, dtype, **kwargs):
        del kwargs
        return [dtype] * len(self._flows)

    def _inverse_dtype(self, dtypes, **kwargs):
        del kwargs
        return dtypes[0]
