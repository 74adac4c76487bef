"""A batch in shares that are computed at once, and in parts one after the other, against the whole."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf.bijectors import Scan
from glow_tf.bijectors.glow_step import GlowStep, step_variables
from glow_tf.kernels import loops
from glow_tf.kernels.glow_step import GlowStepKernel


@pytest.fixture(scope="module")
def variables():
    """Of three steps, every weight moved away from its initial value."""
    rng = np.random.default_rng(0)
    steps = [GlowStep.initial_values(4, 5, "invconv", False, rng) for _ in range(3)]
    stacked = {key: np.stack([step[key] for step in steps]) for key in steps[0]}
    return step_variables({k: v + rng.normal(0, 0.2, v.shape) for k, v in stacked.items()}, "float64")


def scan(variables, n_shares, keep_bytes=0, memory="reverse", kernel=None):
    return Scan(
        lambda p: GlowStep(permutation="invconv", parameters=p),
        variables,
        memory=memory,
        keep_bytes=keep_bytes,
        n_shares=n_shares,
        kernel=kernel or GlowStepKernel("invconv", "affine"),
    )


def results(flow, variables, x, **given):
    """Both directions of a Scan, its log-det, and all gradients."""
    sources = [x, *given.values()]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        y = flow.forward(x, **given)
        log_det = flow.forward_log_det_jacobian(x, **given)
        loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(log_det))
    gradients = tape.gradient(loss, [*sources, *variables.values()])
    return [y, log_det, flow.inverse(tf.sin(x), **given), *gradients]


def images(n):
    return tf.constant(np.random.default_rng(n).normal(size=[n, 2, 3, 4]))


def test_shares_are_the_whole(variables):
    """Where some of the steps are kept, for none, fewer than shares, and shares that differ by one."""

    def traced(flow):
        signature = [tf.TensorSpec([None, 2, 3, 4], tf.float64)]
        return tf.function(lambda x: results(flow, variables, x), input_signature=signature)

    one, several = scan(variables, 1), scan(variables, 3, keep_bytes=3000)
    expected, computed = traced(one), traced(several)
    for n in (0, 1, 5):
        require_close(computed(images(n)), expected(images(n)))
    require_close(results(several, variables, images(5)), expected(images(5)))


def require_close(values, references):
    for value, reference in zip(values, references, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-12, atol=1e-12)


def test_each_share_has_its_images(variables):
    """Eight images in three shares are 3, 3 and 2, by the shapes of the state of the graph's loop."""
    flow = scan(variables, 3)
    graph = tf.function(flow.forward).get_concrete_function(tf.TensorSpec([8, 2, 3, 4], tf.float64)).graph
    (loop,) = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
    sizes = [t.shape[0] for t in loop.inputs if t.shape.rank == 4 and t.shape[1:3] == [2, 3]]
    assert sizes == [3, 3, 2]


@pytest.mark.parametrize(
    ("memory", "context"),
    [
        pytest.param("recompute", None, marks=pytest.mark.slow),
        ("reverse", None),
        pytest.param("reverse", (3,), marks=pytest.mark.slow),
        pytest.param("recompute", (4, 6, 1), marks=pytest.mark.slow),
    ],
)
def test_parts_are_the_whole(variables, memory, context, monkeypatch):
    """Five images in two shares, and these in parts of at most two images; so are their contexts."""
    given, rng = {}, np.random.default_rng(0)
    if context:
        shape = (3, 5) if len(context) == 1 else (1, 1, 4, 5)
        variables = variables | {"l_1_context_W": tf.Variable(rng.normal(size=(3, *shape)))}
        given = {"context": tf.constant(rng.normal(size=(5, *context)))}
    flow, traced = scan(variables, 2, memory=memory), []
    for part_bytes in (loops.PART_BYTES, 1000):
        monkeypatch.setattr(loops, "PART_BYTES", part_bytes)
        traced.append(tf.function(lambda x: results(flow, variables, x, **given))(images(5)))
    require_close(*traced)


def test_parts_are_as_large_as_there_is_room(variables, monkeypatch):
    """Two images at once, both ways, and backwards in "reverse", which keeps no step's residuals."""
    seen, inverses = [], []

    class Recording(GlowStepKernel):
        def forward(self, weights, x):
            seen.append(x.shape[0])
            return super().forward(weights, x)

        def backward(self, weights, x, *rest):
            seen.append(-x.shape[0])
            return super().backward(weights, x, *rest)

        def inverse(self, weights, y, context=None):
            inverses.append(y.shape[0])
            return super().inverse(weights, y, context)

    one_image = 2 * 3 * (5 + 5 + 2) * 8  # Two hidden layers and the scales, in bytes.
    monkeypatch.setattr(loops, "PART_BYTES", 2 * one_image)
    flow = scan(variables, 1, kernel=Recording("invconv", "affine"))
    with tf.GradientTape() as tape:
        tape.watch(x := images(5))
        y = flow.forward(x)
    tape.gradient(y, x)
    assert seen == [2, 2, 1] * 3 + [-2, -2, -1] * 3
    inverses.clear()
    flow.inverse(tf.identity(y))
    assert inverses == [2, 2, 1] * 3


@pytest.mark.parametrize("n_shares", [0, -1, 1.5])
def test_n_shares_is_checked(variables, n_shares):
    with pytest.raises(ValueError, match="n_shares must be an integer, at least 1, got"):
        scan(variables, n_shares)
