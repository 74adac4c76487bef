"""A Glow that divides its batches over the cores, in a process of its own."""

import subprocess
import sys

import pytest

from glow_tf import threads

DIVIDED = """
import numpy as np
import tensorflow as tf
import glow_tf

assert glow_tf.threads.use_cores(6, replicas=2) == 3
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 6
model = glow_tf.Glow(glow_tf.GlowConfig(image_size=4, n_levels=1, depth=2, width=4), seed=0)
images = tf.constant(np.random.default_rng(0).integers(0, 256, [5, 4, 4, 3], np.uint8))
noise = tf.zeros(images.shape)
for variables in model.levels:
    variables["l_last_W"].assign(tf.random.stateless_normal(variables["l_last_W"].shape, [0, 1]))

def shares(function):
    graph = tf.function(function).get_concrete_function().graph
    (loop,) = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
    return sum(t.shape.rank == 4 and t.shape[1:3] == [2, 2] for t in loop.inputs)

def gradients():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.losses(images, noise=noise)["loss"])
    return [loss, *tape.gradient(loss, model.trainable_variables)]

assert shares(lambda: model.bits_per_dim(images, noise=noise)) == 3
assert shares(lambda: model.sample(5, seed=0)) == 3
assert shares(lambda: model.distribution().log_prob(tf.zeros([5, 4, 4, 3]))) == 3
assert glow_tf.threads.n_shares() == 1  # Eagerly they would only wait for each other.
for divided, whole in zip(tf.function(gradients)(), gradients()):
    np.testing.assert_allclose(divided, whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())

try:
    glow_tf.threads.use_cores(2)
except RuntimeError as error:
    assert "It is too late to set the number of threads: TensorFlow has run an operation." in str(error)
else:
    raise AssertionError("TensorFlow has begun with other numbers of threads.")
"""


def test_a_batch_is_divided():
    done = subprocess.run([sys.executable, "-c", DIVIDED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [dict(n=0), dict(n=-2), dict(n=1.5), dict(n=2, replicas=0)])
def test_numbers_are_checked(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        threads.use_cores(**arguments)
