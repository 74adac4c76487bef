"""The kernel of GlowStep against its definition, the bijectors, in float64; and what a Scan keeps of it."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS, GlowStep, step_variables
from glow_tf.kernels import loops
from glow_tf.kernels.glow_step import WEIGHTS, GlowStepKernel

DEPTH, HEIGHT, WIDTH = 2, 3, 4


@pytest.fixture(params=PERMUTATIONS)
def permutation(request):
    return request.param


@pytest.fixture(params=COUPLINGS)
def coupling(request):
    return request.param


def parameters(permutation, coupling, channels, dtype="float64"):
    """Variables of `DEPTH` steps, every weight moved, as far as the steps stay invertible."""
    rng = np.random.default_rng(channels)
    steps = [
        GlowStep.initial_values(channels, 5, permutation, coupling == "additive", rng) for _ in range(DEPTH)
    ]
    stacked = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
    moved = lambda v: v if v.dtype.kind == "i" else v + rng.normal(0, min(0.3, 1.5 / channels), v.shape)
    return step_variables({key: moved(value) for key, value in stacked.items()}, dtype)


def textbook(permutation, coupling, variables, x):
    """The value and the log-det of the steps, from the ordinary bijectors."""
    log_det = tf.zeros(tf.shape(x)[:1], x.dtype)
    for k in range(DEPTH):
        step = GlowStep(
            permutation=permutation,
            coupling=coupling,
            parameters={key: tf.convert_to_tensor(value)[k] for key, value in variables.items()},
        )
        log_det += step.forward_log_det_jacobian(x)
        x = step.forward(x)
    return x, log_det


def run(kernel, memory, keep_bytes, variables, x):
    """The same from the kernel."""
    stacked = {key: tf.convert_to_tensor(value) for key, value in variables.items()}
    weights, log_det = kernel.fold(stacked, tf.shape(x)[1:])
    state = kernel.enter(x)
    segments = loops.segments_of(memory, keep_bytes, kernel, state, weights)
    y, batch_log_det = loops.run(kernel, segments, state, weights)
    return kernel.leave(y), batch_log_det + log_det


def value_and_gradients(function, variables, x, seed=0):
    """Returns value, log-det, and the gradients of a random projection of both."""
    rng = np.random.default_rng(seed)
    trainable = [v for v in variables.values() if v.trainable]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, log_det = function(variables, x)
        loss = tf.reduce_sum(y * rng.normal(size=x.shape)) + tf.reduce_sum(log_det * rng.normal(size=len(x)))
    return [y, log_det, *tape.gradient(loss, [x, *trainable])]


@pytest.mark.parametrize("channels", [3, 34, *[pytest.param(n, marks=pytest.mark.slow) for n in (2, 5)]])
def test_kernel_is_the_textbook(permutation, coupling, channels):
    """Forward, log-det and all gradients, also where channels split oddly, and for few and many outputs."""
    variables = parameters(permutation, coupling, channels)
    x = tf.constant(np.random.default_rng(1).normal(size=(3, HEIGHT, WIDTH, channels)))
    kernel = GlowStepKernel(permutation, coupling)
    expected = value_and_gradients(lambda v, x: textbook(permutation, coupling, v, x), variables, x)
    for memory in ("store", "reverse"):
        ours = value_and_gradients(lambda v, x: run(kernel, memory, 0, v, x), variables, x)  # noqa: B023
        for value, reference in zip(ours, expected, strict=True):
            np.testing.assert_allclose(value, reference, atol=1e-9 * max(1, np.abs(reference).max()))


def test_inverse_and_residuals(permutation, coupling):
    """The inverse returns the input, and what forward and inverse say of the step is the same."""
    kernel = GlowStepKernel(permutation, coupling)
    variables = parameters(permutation, coupling, 5)
    weights, _ = kernel.fold({k: tf.convert_to_tensor(v) for k, v in variables.items()}, [HEIGHT, WIDTH])
    step = [w[1] for w in weights]
    x = kernel.enter(tf.constant(np.random.default_rng(1).normal(size=(3, HEIGHT, WIDTH, 5))))
    y, *of_forward = kernel.forward(step, x)
    back, *of_inverse = kernel.inverse([*step, *(w[1] for w in kernel.fold_inverse(weights))], y)
    np.testing.assert_allclose(back, x, atol=1e-11)
    assert (back[..., 0] == 1).numpy().all() and (y[..., 0] == 1).numpy().all()
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), of_forward, of_inverse)
    specs = kernel.residual_specs(x, weights)
    assert all(spec.is_compatible_with(r) for spec, r in zip(specs, of_forward[1], strict=True))
    # What an export computes beforehand changes nothing.
    at_size = [w[1] for w in kernel.fold_map(weights, HEIGHT, WIDTH)]
    assert at_size[WEIGHTS.index("b3")].shape[:2] == [HEIGHT, WIDTH]
    np.testing.assert_allclose(kernel.forward(at_size, x)[0], y, atol=1e-12)


def test_scales_that_vanish_have_a_log():
    """The log-det where sigmoid(u) is 0 in float32."""
    kernel = GlowStepKernel("reverse", "affine")
    variables = parameters("reverse", "affine", 4, "float32")
    variables["l_last_W"].assign(0 * variables["l_last_W"])
    variables["l_last_b"].assign(-200 * tf.ones_like(variables["l_last_b"]))
    variables["l_last_logs"].assign(0 * variables["l_last_logs"])
    x = tf.ones([1, HEIGHT, WIDTH, 4])
    y, log_det = textbook("reverse", "affine", variables, x)
    ours = run(kernel, "reverse", 0, variables, x)
    np.testing.assert_allclose(ours[0], y, rtol=1e-5)
    np.testing.assert_allclose(ours[1], log_det, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "jit_compile", "n_kept"),
    [
        pytest.param((None, 3, 4, 4), False, (0, 1, 2), marks=pytest.mark.slow),
        pytest.param((None, None, None, 4), False, (1,), marks=pytest.mark.slow),
        pytest.param((None, 3, 4, 4), True, (0, 1), marks=pytest.mark.slow),
    ],
    ids=["batch", "all", "xla"],
)
def test_kept_bytes_of_shapes_that_only_the_run_knows(shape, jit_compile, n_kept):
    """None, one or both of the steps are kept, as the batch decides; the gradients are the same."""
    variables, kernel = parameters("invconv", "affine", 4), GlowStepKernel("invconv", "affine")
    n_bytes = 8 * 3 * HEIGHT * WIDTH * (5 + 5 + 5 + 2)  # Of a step of three images, float64.

    def gradients(x, keep_bytes):
        return value_and_gradients_of_sum(lambda v, x: run(kernel, "reverse", keep_bytes, v, x), variables, x)

    x = tf.constant(np.random.default_rng(1).normal(size=(3, HEIGHT, WIDTH, 4)))
    expected = gradients(x, 0)
    for keep_bytes in (n_bytes * (n + 1) - 1 for n in n_kept):
        function = tf.function(
            lambda x: gradients(x, keep_bytes),  # noqa: B023
            input_signature=[tf.TensorSpec(shape, tf.float64)],
            jit_compile=jit_compile,
        )
        for value, reference in zip(function(x), expected, strict=True):
            np.testing.assert_allclose(value, reference, atol=1e-9 * max(1, np.abs(reference).max()))


def value_and_gradients_of_sum(function, variables, x):
    trainable = [v for v in variables.values() if v.trainable]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, log_det = function(variables, x)
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(log_det))
    return tape.gradient(loss, [x, *trainable])


def test_what_is_kept():
    """As many of the last steps as there is room for, counted with all that a step needs."""
    kernel = GlowStepKernel("reverse", "affine")
    weights, _ = kernel.fold(
        {k: tf.convert_to_tensor(v) for k, v in parameters("reverse", "affine", 4).items()}, [HEIGHT, WIDTH]
    )
    x = kernel.enter(tf.zeros([3, HEIGHT, WIDTH, 4], tf.float64))
    _, _, residuals = kernel.forward([w[0] for w in weights], x)
    n_bytes = sum(t.dtype.size * int(tf.size(t)) for t in [x, *residuals])
    names = lambda *arguments: [
        (policy.__name__, start, stop)
        for policy, start, stop in loops.segments_of(*arguments, kernel, x, weights)
    ]
    assert names("store", 0) == [("Store", 0, 2)]
    assert names("recompute", 0) == [("Recompute", 0, 2)]
    assert names("reverse", 0) == names("reverse", n_bytes - 1) == [("Reverse", 0, 2)]
    assert names("reverse", n_bytes) == [("Reverse", 0, 1), ("Store", 1, 2)]
    assert names("reverse", 10 * n_bytes) == [("Store", 0, 2)]
