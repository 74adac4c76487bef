"""Invertible 1x1 convolution, Table 1 (second row) of Kingma & Dhariwal (2018)."""

import functools

import numpy as np
import scipy.linalg
import tensorflow as tf
import tensorflow_probability as tfp

from glow_tf.bijectors._parameters import as_parameter, common_dtype, may_change, require_all_or_none
from glow_tf.inputs import require_int
from glow_tf.layers import inverse_matrix, log_abs_det
from glow_tf.shapes import at_each_channel, n_channels_of, require_event, require_shapes

tfb = tfp.bijectors


def random_orthogonal(n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a random orthogonal matrix, float64 [C, C], as the original's QR of a normal one."""
    return np.linalg.qr(rng.standard_normal((n_channels, n_channels)))[0]


class _NearIdentity(tfb.AutoCompositeTensorBijector):
    """Any matrix x [..., C, C] -> I + x / (4 sqrt(C)).

    A matrix of standard normal x is regular and well conditioned: its singular values are about 0.5 to 1.5.
    """

    def __init__(self, *, validate_args: bool = False, name: str = "near_identity") -> None:
        super().__init__(
            forward_min_event_ndims=2,
            is_constant_jacobian=True,
            validate_args=validate_args,
            parameters=dict(locals()),
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @staticmethod
    def _scale(x):
        return 4.0 * tf.sqrt(tf.cast(tf.shape(x)[-1], x.dtype))

    def _forward(self, x):
        return tf.eye(tf.shape(x)[-1], dtype=x.dtype) + x / self._scale(x)

    def _inverse(self, y):
        return (y - tf.eye(tf.shape(y)[-1], dtype=y.dtype)) * self._scale(y)

    def _forward_log_det_jacobian(self, x):
        return -tf.cast(tf.shape(x)[-1] ** 2, x.dtype) * tf.math.log(self._scale(x))


class Invertible1x1Conv(tfb.AutoCompositeTensorBijector):
    """A learned mixing of the channels, the last axis, by an invertible matrix.

    ```
    forward: y_j = sum_i x_i W_ij
    inverse: x_i = sum_j y_j (W^-1)_ji
    log|det dy/dx| = log|det W|  for each position; over an [H, W, C] event, H W times that
    ```

    With `parameterization="lu"` (section 3.2) W = P (L + I) (U + diag(sign_s exp(log_s))), where L is
    strictly lower, U strictly upper triangular, and P and sign_s are fixed: the log-det is sum(log_s).

    Events are vectors [C] or have any number of spatial axes before C (`event_ndims`). Log-det and
    inverse are computed in float64 whatever the dtype. `validate_args` asks whether W is invertible, P a
    permutation, and sign_s of ones.

    A `Glow` never runs this: `kernels.glow_step` computes a whole step at once. This is its definition.

    Example:
    ```python
    import tensorflow as tf

    import glow_tf

    conv = glow_tf.bijectors.Invertible1x1Conv(4, parameterization="lu")
    y = conv.forward(tf.ones([2, 8, 8, 4]))
    conv.inverse(tf.identity(y))  # Ones again, but for rounding.
    ```

    #### References

    Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, section 3.2.
    """

    def __init__(
        self,
        n_channels: int | None = None,
        *,
        parameterization: str = "dense",
        w=None,
        p=None,
        lower=None,
        upper=None,
        sign_s=None,
        log_s=None,
        seed: int | None = None,
        dtype=None,
        validate_args: bool = False,
        name: str = "invertible_1x1_conv",
    ) -> None:
        """W is a new random orthogonal matrix unless the parameters are given.

        Args:
            n_channels: int, C. Not needed where the parameters are given.
            parameterization: "dense" (parameter `w`) or "lu" (`p`, `lower`, `upper`, `sign_s`, `log_s`).
            w: float [C, C] tensor, tf.Variable or DeferredTensor. Batch axes may stand before, here and
                below.
            p: the same for the permutation matrix P [C, C].
            lower: the same for L [C, C]; only what is strictly below the diagonal is read.
            upper: the same for U [C, C]; only what is strictly above the diagonal is read.
            sign_s: the same for the signs of the diagonal [C], or [1], one for all.
            log_s: the same for the logs of its magnitudes [C] or [1].
            seed: int, for the random matrix; a new one at each call unless given.
            dtype: of the variables; float32 unless given.
            validate_args: as in `tfb.Bijector`.
            name: of the bijector.

        Raises:
            ValueError: for an unknown parameterization, parameters of the other one or only some of
                them, other shapes, or an `n_channels` that isn't a positive integer.
        """
        dtype = tf.as_dtype(dtype or common_dtype([w, p, lower, upper, sign_s, log_s]))
        parameters = dict(locals())
        lu = dict(p=p, lower=lower, upper=upper, sign_s=sign_s, log_s=log_s)
        if parameterization not in ("dense", "lu"):
            raise ValueError(f'parameterization must be "dense" or "lu", got {parameterization!r}.')
        foreign = lu if parameterization == "dense" else {"w": w}
        given = sorted(key for key, value in foreign.items() if value is not None)
        if given:
            raise ValueError(f"parameterization={parameterization!r} doesn't take {given}.")
        with tf.name_scope(name):
            if parameterization == "dense":
                if w is None:
                    w = tf.Variable(self._orthogonal(n_channels, seed), dtype=dtype, name="w")
                values = {"w": w}
            elif require_all_or_none("Invertible1x1Conv", **lu):
                values = lu
            else:
                values = self._lu_variables(self._orthogonal(n_channels, seed), dtype)
            for key, value in values.items():
                values[key] = as_parameter(value, dtype)
                setattr(self, key, values[key])
            self._parameterization = parameterization
            self._require_shapes(values)
            parameters.update(values)
            super().__init__(
                forward_min_event_ndims=1,
                is_constant_jacobian=True,
                dtype=dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @staticmethod
    def _require_shapes(values):
        vectors = ("sign_s", "log_s")
        c = next(
            filter(None, (n_channels_of(value) for key, value in values.items() if key not in vectors)), None
        )
        shapes = {key: [c] if key in vectors else [c, c] for key in values}
        require_shapes("Invertible1x1Conv", values, batch=True, broadcast=vectors, **shapes)

    @staticmethod
    def _orthogonal(n_channels, seed):
        n_channels = require_int("n_channels", n_channels, 1)
        return random_orthogonal(n_channels, np.random.default_rng(seed))

    @staticmethod
    def _lu_variables(w, dtype):
        p, lower, upper = scipy.linalg.lu(w)
        s = np.diag(upper)
        new = lambda value, name, trainable=True: tf.Variable(
            value, dtype=dtype, name=name, trainable=trainable
        )
        return dict(
            p=new(p, "p", trainable=False),
            lower=new(np.tril(lower, -1), "lower"),
            upper=new(np.triu(upper, 1), "upper"),
            sign_s=new(np.sign(s), "sign_s", trainable=False),
            log_s=new(np.log(np.abs(s)), "log_s"),
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        square = lambda shape: tf.concat([shape, shape[-1:]], 0)
        matrix = functools.partial(tfp.util.ParameterProperties, event_ndims=2, shape_fn=square)
        vector = functools.partial(tfp.util.ParameterProperties, event_ndims=1)
        # `make_trainable` takes the preferred ones: the dense parameterization.
        lu = {key: matrix(is_preferred=False) for key in ("p", "lower", "upper")}
        lu |= {key: vector(is_preferred=False) for key in ("sign_s", "log_s")}
        return {"w": matrix(default_constraining_bijector_fn=_NearIdentity)} | lu

    @property
    def matrix(self) -> tf.Tensor:
        """W, [C, C]."""
        if self._parameterization == "dense":
            return tf.convert_to_tensor(self.w)
        lower = tf.linalg.band_part(tf.convert_to_tensor(self.lower), -1, 0)
        lower = tf.linalg.set_diag(lower, tf.ones_like(tf.linalg.diag_part(lower)))
        upper = tf.convert_to_tensor(self.upper)
        upper = tf.linalg.band_part(upper, 0, -1) - tf.linalg.band_part(upper, 0, 0)
        # A sum, not `set_diag`: the batch axes of the two may differ.
        upper += tf.linalg.diag(self.sign_s * tf.exp(at_each_channel(self.log_s, upper)))
        return tf.linalg.matmul(tf.convert_to_tensor(self.p), tf.linalg.matmul(lower, upper))

    def _experimental_compute_density_correction(self, x, tangent_space, backward_compat=False, **kwargs):
        del backward_compat
        return tangent_space.transform_dimension_preserving(x, self, **kwargs)

    def _parameter_control_dependencies(self, is_init):
        if not self.validate_args:
            return []
        lu = self._parameterization == "lu"
        values = [self.p, self.sign_s, self.log_s, self.lower, self.upper] if lu else [self.w]
        # tf.Variables and DeferredTensors may change: those are checked at each use, the rest once.
        if is_init == any(map(may_change, values)):
            return []
        # As by NumPy's matrix_rank: a determinant that should be 0 is seldom just that.
        sizes = tf.linalg.svd(tf.cast(self.matrix, tf.float64), compute_uv=False)
        least = tf.cast(tf.shape(sizes)[-1], sizes.dtype) * np.finfo(np.float64).eps * sizes[..., 0]
        regular = sizes[..., -1] > least
        message = "The matrix of Invertible1x1Conv must be invertible, got one with the singular values"
        checks = [tf.debugging.Assert(tf.reduce_all(regular), [message, sizes])]
        if lu:
            p = tf.convert_to_tensor(self.p)
            ones = [tf.reduce_sum(p, axis) for axis in (-2, -1)]
            permutation = tf.reduce_all(p * (p - 1.0) == 0.0) & tf.reduce_all(tf.stack(ones) == 1.0)
            signs = tf.abs(tf.convert_to_tensor(self.sign_s)) == 1.0
            checks += [
                tf.debugging.Assert(permutation, ["p of Invertible1x1Conv must be a permutation, got", p]),
                tf.debugging.Assert(
                    tf.reduce_all(signs), ["sign_s of Invertible1x1Conv must be 1 or -1, got", self.sign_s]
                ),
            ]
        return checks

    def _forward(self, x):
        return self._mix_channels(x, self.matrix)

    def _inverse(self, y):
        return self._mix_channels(y, inverse_matrix(self.matrix))

    def _forward_log_det_jacobian(self, x):
        if self._parameterization == "lu":
            return tf.reduce_sum(at_each_channel(self.log_s, tf.convert_to_tensor(self.upper)), -1)
        return log_abs_det(self.matrix)

    def _mix_channels(self, x, matrix):
        require_event(self.name, x, 1, matrix.shape[-1])
        if x.shape.rank is None or x.shape.rank == 1 or matrix.shape.rank != 2:
            return tf.linalg.matvec(matrix, x, transpose_a=True)  # Also for a batch of matrices.
        return x @ matrix  # Every batch and spatial axis is a row of one matrix product.
