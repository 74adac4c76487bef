"""TensorFlow Probability's `tfb.Glow`, under tf.function, with tf_keras' Adam."""

import functools

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from experiments import bench

tfb, tfd = tfp.bijectors, tfp.distributions


def build(spec) -> bench.Built:
    """Returns the task for the same number of steps, levels and hidden channels."""
    x = tf.constant(bench.dequantized(spec["batch"]))
    shape = x.shape[1:]
    bijector = tfb.Glow(
        output_shape=shape,
        num_glow_blocks=bench.LEVELS,
        num_steps_per_block=spec["depth"],
        coupling_bijector_fn=functools.partial(tfb.GlowDefaultNetwork, num_hidden=spec["width"]),
        exit_bijector_fn=tfb.GlowDefaultExitNetwork,
    )
    flow = bijector(tfd.Sample(tfd.Normal(0.0, 1.0), bijector.inverse_event_shape(shape)))
    bijector.inverse(x)  # Data-dependent initialisation.
    variables = flow.trainable_variables
    if spec["task"] == "train":
        optimizer = tf_keras.optimizers.Adam(0.001)
        optimizer.build(variables)

    def train():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow.log_prob(x))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    # Anew, for the bijector's cache knows x.
    y = tf.constant(x.numpy())
    tasks = dict(
        train=train, log_prob=lambda: flow.log_prob(y), sample=lambda: flow.sample(spec["batch"], seed=0)
    )
    run = tf.function(tasks[spec["task"]])
    n_parameters = sum(int(tf.size(v)) for v in variables)
    return bench.Built(lambda: run().numpy(), n_parameters, f"tensorflow-probability {tfp.__version__}")
