"""The engine: the steps of flow folded, with their gradients written out, and the loops that run them.

`glow_tf.bijectors` is the definition of a step, differentiable and readable as the paper's Table 1. What runs
in training, sampling and serving is here, and tests hold it to that definition in float64.
"""
