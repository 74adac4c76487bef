"""The floor: the coupling networks' convolutions and nothing else, in TensorFlow."""

import numpy as np
import tensorflow as tf

from experiments.bench import Built, level_shapes
from glow_tf import threads


def build(spec) -> Built:
    """Returns the three convolutions of each step, chained; "train" differentiates them by all kernels.

    Several shares of the batch are computed at once.
    """
    threads.use_cores(spec["shares"])
    rng = np.random.default_rng(0)
    new = lambda *shape: tf.Variable(rng.normal(0, 0.05, shape).astype(np.float32))
    width, batch = spec["width"], spec["batch"]
    inputs, kernels = [], []
    for size, channels in level_shapes():
        half = channels // 2
        inputs.append(tf.constant(rng.normal(size=(batch, size, size, half)).astype(np.float32)))
        step = lambda half=half: [new(3, 3, half, width), new(1, 1, width, width), new(3, 3, width, 2 * half)]
        kernels.append([step() for _ in range(spec["depth"])])

    def forward():
        sizes = [len(part) for part in np.array_split(range(batch), min(spec["shares"], batch))]
        parts = zip(*(tf.split(h, sizes) for h in inputs), strict=True)
        return tf.add_n([chain(part) for part in parts])

    def chain(inputs):
        sums = []
        for h, level in zip(inputs, kernels, strict=True):
            channels = h.shape[-1]
            for step in level:
                for kernel in step:
                    h = tf.nn.conv2d(h, kernel, 1, "SAME")
                h = h[..., :channels]
            sums.append(tf.reduce_sum(h))
        return tf.add_n(sums)

    variables = tf.nest.flatten(kernels)

    def train():
        with tf.GradientTape() as tape:
            value = forward()
        return tf.add_n([g[0, 0, 0, 0] for g in tape.gradient(value, variables)])

    run = tf.function(train if spec["task"] == "train" else forward)
    n_parameters = sum(int(tf.size(v)) for v in variables)
    return Built(lambda: run().numpy(), n_parameters, f"tensorflow {tf.__version__}")
