"""One step of flow: actnorm, permutation, coupling (Table 1 and figure 2a of the paper)."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors._one_pass import OnePassBijector
from glow_tf.bijectors._parameters import as_parameter
from glow_tf.bijectors._parts import context_kwargs
from glow_tf.bijectors.actnorm import ActNorm
from glow_tf.bijectors.affine_coupling import COUPLINGS, LOG_SCALES, AffineCoupling
from glow_tf.bijectors.invertible_1x1_conv import Invertible1x1Conv, random_orthogonal
from glow_tf.inputs import require_int
from glow_tf.layers import actnorm_statistics
from glow_tf.networks import CouplingNetwork, network_initial_values
from glow_tf.shapes import n_channels_of, require_shapes

tfb = tfp.bijectors

PERMUTATIONS = ("reverse", "shuffle", "invconv")


class GlowStep(OnePassBijector):
    """ActNorm, then a permutation of the channels, then AffineCoupling, which may depend on a context.

    ```
    forward: y = coupling(permutation(actnorm(x)))
    inverse: x = actnorm^-1(permutation^-1(coupling^-1(y)))
    log|det| = the sum of the three
    ```

    Maps float [..., H, W, C] to the same shape, C >= 2. The parts are `actnorm`, `permutation` and
    `coupling`, ordinary bijectors.

    This is the definition. A `Glow` never runs its forward: `kernels.glow_step` computes the same function,
    folded and with its gradient written out, in training, sampling and serving; tests hold it to this one.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    step = glow_tf.bijectors.GlowStep(4, width=16)
    y = step.forward(tf.ones([2, 8, 8, 4]))
    step.permutation.matrix  # The 1x1 convolution's, [4, 4].
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, Table 1.
    """

    def __init__(
        self,
        n_channels=None,
        width=512,
        *,
        permutation="invconv",
        coupling="affine",
        additive=False,
        parameters=None,
        context_shape=(),
        compute_dtype=None,
        dtype="float32",
        seed=None,
        validate_args=False,
        name="glow_step",
    ) -> None:
        """The parameters are new variables unless they are given.

        Args:
            n_channels: int, C. Not needed where `parameters` are given.
            width: int, channels of the coupling network's hidden layers.
            permutation: "invconv" (1x1 convolution), "reverse" or "shuffle" (fixed).
            coupling: "affine" or "additive".
            additive: bool, True for the coupling "additive".
            parameters: dict of tensors, tf.Variables or DeferredTensors, with the keys of
                `initial_values`.
            context_shape: of the context that the coupling network depends on, `forward(x, context=c)`: ()
                for none, (C,) a vector, (h, w, C) an image, at the size of the step's images. With
                `parameters`, `l_1_context_W` says it.
            compute_dtype: of the network's convolutions; the parameters' unless given.
            dtype: of the variables.
            seed: int, for the initial values; a new one at each call unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: for an unknown permutation or coupling, less than two channels, or parameters of other
                shapes.
        """
        arguments = dict(locals())
        if permutation not in PERMUTATIONS:
            raise ValueError(f"permutation must be one of {PERMUTATIONS}, got {permutation!r}.")
        if coupling not in COUPLINGS:
            raise ValueError(f"coupling must be one of {COUPLINGS}, got {coupling!r}.")
        additive = bool(additive) or coupling == "additive"
        if parameters is None:
            rng = np.random.default_rng(seed)
            values = self.initial_values(n_channels, width, permutation, additive, rng, context_shape)
            parameters = step_variables(values, dtype)
            arguments.update(parameters=parameters)  # A copy shares the variables.
        p = {key: as_parameter(value) for key, value in parameters.items()}
        self._require_shapes(p, permutation, additive)
        self.actnorm = ActNorm(b=p["actnorm_b"], logs=p["actnorm_logs"], validate_args=validate_args)
        dtype = self.actnorm.dtype
        if permutation == "invconv":
            self.permutation = Invertible1x1Conv(w=p["invconv_W"], validate_args=validate_args)
        elif permutation == "shuffle":
            self.permutation = tfb.Permute(p["shuffle_indices"], axis=-1)
        else:
            self.permutation = tfb.Permute(np.arange(p["actnorm_b"].shape[-1])[::-1].copy(), axis=-1)
        network = CouplingNetwork(
            parameters={k: v for k, v in p.items() if k.startswith("l_")},
            compute_dtype=compute_dtype,
        )
        self.coupling = AffineCoupling(network, additive, log_scale=LOG_SCALES[coupling], dtype=dtype)
        self._chain = tfb.Chain([self.coupling, self.permutation, self.actnorm])
        super().__init__(
            forward_min_event_ndims=3,
            dtype=dtype,
            validate_args=validate_args,
            parameters=arguments,
            name=name,
        )

    @staticmethod
    def initial_values(n_channels, width, permutation, additive, rng, context_shape=()) -> dict:
        """Returns new parameters of one step, arrays by name, before data-dependent initialisation."""
        c = require_int("n_channels", n_channels, 1)
        if c < 2:
            raise ValueError(f"GlowStep needs at least 2 channels, got {c}.")
        width = require_int("width", width, 1)
        values = {"actnorm_b": np.zeros(c, np.float32), "actnorm_logs": np.zeros(c, np.float32)}
        if permutation == "invconv":
            values["invconv_W"] = random_orthogonal(c, rng).astype(np.float32)
        elif permutation == "shuffle":
            values["shuffle_indices"] = rng.permutation(c).astype(np.int32)
        out = (c - c // 2) * (1 if additive else 2)
        return values | network_initial_values(c // 2, out, width, rng, context_shape)

    @staticmethod
    def _require_shapes(p, permutation, additive):
        c = n_channels_of(p["actnorm_b"]) if "actnorm_b" in p else None
        shapes = {"actnorm_b": [c], "actnorm_logs": [c]}
        shapes |= {"invconv": {"invconv_W": [c, c]}, "shuffle": {"shuffle_indices": [c]}}.get(permutation, {})
        if c is not None:
            shapes |= {"l_1_W": [3, 3, c // 2 + 1, None], "l_last_b": [(c - c // 2) * (1 if additive else 2)]}
        require_shapes("GlowStep", p, **shapes)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def context_ndims(self) -> int | None:
        """The axes of the coupling network's context; None if it takes none."""
        return self.coupling.context_ndims

    @property
    def has_constant_log_det(self) -> bool:
        """Whether the log-det is the same for all inputs: with an additive coupling."""
        return self.coupling.has_constant_log_det

    @property
    def n_channels(self):
        """C."""
        return n_channels_of(self.actnorm.b)

    data_dependent_keys = ("actnorm_b", "actnorm_logs", "l_1_b", "l_1_logs", "l_2_b", "l_2_logs")

    def data_dependent_values(self, x, context=None):
        """Data-dependent initialisation of the step's actnorms, the network's included, in order.

        Args:
            x: float [B, H, W, C], the step's input for the initialisation batch.
            context: as `forward` takes it.

        Returns:
            A dict of the new values, with the keys `data_dependent_keys`, and the step's output with them.
        """
        b, logs = actnorm_statistics(x)
        x = self.permutation.forward(ActNorm(b=b, logs=logs).forward(x))
        network = self.coupling.network
        values = network.data_dependent_values(x[..., : x.shape[-1] // 2], context)
        network = CouplingNetwork(parameters=network.weights | values, compute_dtype=network.compute_dtype)
        y = self.coupling.copy(network=network).forward(x, context=context)
        return {"actnorm_b": b, "actnorm_logs": logs} | values, y

    def _constant_log_det(self, x, context=None):
        del context  # The coupling's is a constant.
        parts = (self.actnorm, self.permutation, self.coupling)  # None changes the shape.
        return sum(part.forward_log_det_jacobian(x, self.forward_min_event_ndims) for part in parts)

    def _forward_and_log_det(self, x, context=None):
        kwargs = context_kwargs(self._chain, context)
        y = self._chain.forward(x, **kwargs)
        return y, self._chain.forward_log_det_jacobian(x, self.forward_min_event_ndims, **kwargs)

    def _inverse_and_log_det(self, y, context=None):
        kwargs = context_kwargs(self._chain, context)
        x = self._chain.inverse(y, **kwargs)
        return x, -self._chain.inverse_log_det_jacobian(y, self.forward_min_event_ndims, **kwargs)


def step_variables(values: dict, dtype) -> dict:
    """Returns a tf.Variable for each array of `values`; integers are fixed (permutations)."""
    return {
        key: tf.Variable(
            value,
            dtype=None if value.dtype.kind == "i" else dtype,
            trainable=value.dtype.kind != "i",
            name=key,
        )
        for key, value in values.items()
    }
