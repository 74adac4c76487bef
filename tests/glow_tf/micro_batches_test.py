"""Batches in parts."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf.micro_batches import MicroBatches


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    ("n_examples", "at_most", "n", "size"),
    [(6, 6, 1, 6), (6, 9, 1, 6), (6, 4, 2, 3), (7, 4, 2, 4), (7, 3, 3, 3), (5, 1, 5, 1), (64, 24, 3, 22)],
)
def test_parts(static, n_examples, at_most, n, size):
    """All are seen once, in their order, and no part is larger than it may be; also of a size not known."""
    x = tf.range(10, 10 + 2 * n_examples)

    def run(x):
        x = tf.reshape(x, [-1, 2])
        parts = MicroBatches(n_examples if static else tf.shape(x)[0], at_most)
        sizes = tf.stack([parts.n, parts.size])

        def compute(part, real):
            taken, absent = part
            assert absent is None
            return [tf.reduce_sum(tf.where(real[:, None], taken, 0))], tf.transpose(taken)

        (total,), values = parts.run(compute, [x, None], [tf.constant(0)], 2, tf.int32)
        return sizes, total, values

    if not static:
        run = tf.function(run, input_signature=[tf.TensorSpec([None], tf.int32)])
    sizes, total, values = run(x)
    assert list(sizes) == [n, size] and size <= at_most
    assert total == tf.reduce_sum(x)
    np.testing.assert_array_equal(values, tf.transpose(tf.reshape(x, [-1, 2])))
