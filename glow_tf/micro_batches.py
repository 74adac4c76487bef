"""A batch computed part by part, so that only a part's activations are in memory."""

import tensorflow as tf


class MicroBatches:
    """How a batch is divided into parts of equal size; its first examples fill up the last part.

    Attributes:
        n: how many parts; an int, or an int32 scalar where only the run knows.
        size: examples in a part, likewise.
    """

    def __init__(self, n_examples, at_most: int):
        """Divides.

        Args:
            n_examples: int or int32 scalar, B.
            at_most: int, how many examples a part may have.
        """
        larger = tf.maximum if tf.is_tensor(n_examples) else max
        self._n_examples = n_examples
        self.n = -(-n_examples // at_most)
        self.size = -(-n_examples // larger(self.n, 1))

    def divide(self, x) -> tf.Tensor:
        """Returns [n, size, ...] of a tensor [B, ...]."""
        fill = self.n * self.size - self._n_examples
        if tf.is_tensor(fill) or fill:
            x = tf.concat([x, x[:fill]], 0)
        return tf.reshape(x, tf.concat([[self.n, self.size], tf.shape(x)[1:]], 0))

    def run(self, function, batch, zeros, n_rows: int, dtype):
        """Computes all parts, one after the other.

        Args:
            function: from a part of `batch`, and which of its examples don't fill it up (bool [size]), to a
                list of addends, and values [n_rows, size] in `dtype`.
            batch: list of tensors [B, ...]; None for what isn't there, which no part has either.
            zeros: list of zeros, of the addends' shapes.
            n_rows: int, of the values.
            dtype: of the values.

        Returns:
            The sums of the addends over the parts, and the values of all examples, [n_rows, B].
        """
        divided = [None if x is None else self.divide(x) for x in batch]
        real = tf.reshape(tf.range(self.n * self.size) < self._n_examples, [self.n, self.size])
        size = None if tf.is_tensor(self.size) else self.size
        values = tf.TensorArray(dtype, self.n, element_shape=[n_rows, size])

        def body(k, sums, values):
            addends, part = function([None if x is None else x[k] for x in divided], real[k])
            return k + 1, [a + b for a, b in zip(sums, addends, strict=True)], values.write(k, part)

        _, sums, values = tf.while_loop(
            lambda k, *_: k < self.n,
            body,
            [tf.constant(0), list(zeros), values],
            parallel_iterations=1,  # Two at once would have two parts in memory.
        )
        joined = tf.reshape(tf.transpose(values.stack(), [1, 0, 2]), [n_rows, self.n * self.size])
        return sums, joined[:, : self._n_examples]
