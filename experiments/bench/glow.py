"""This Glow."""

import tensorflow as tf

import glow_tf
from experiments import bench


def build(spec) -> bench.Built:
    """Returns the task; a training step is the gradient and an Adamax update with its Polyak average."""
    if spec["threads"] == 1:  # Else TensorFlow is as it comes.
        glow_tf.threads.use_cores(spec["shares"])
    batch, size = spec["batch"], spec.get("size", bench.SIZE)
    images = tf.constant(bench.images(batch, size))
    noise = tf.zeros(images.shape)
    model = glow_tf.Glow(
        glow_tf.GlowConfig(
            image_size=size,
            n_channels=bench.CHANNELS,
            n_levels=bench.LEVELS,
            depth=spec["depth"],
            width=spec["width"],
            memory=spec.get("memory", "reverse"),
            dtype=spec.get("dtype", "float32"),
        ),
        seed=0,
    )
    n_init = max(1, 16 * bench.SIZE**2 // size**2)  # Scaled by area, as the commands do.
    model.initialize(images[:n_init], noise=noise[:n_init])
    variables = model.trainable_variables
    if spec["task"] == "train":
        optimizer = glow_tf.optimizers.Adamax(0.001)
        optimizer.build(variables)
    eps = [tf.random.normal([batch, *shape], seed=0) for shape in model.config.eps_shapes]

    def train():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.losses(images, noise=noise)["loss"])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    tasks = dict(
        train=train,
        log_prob=lambda: model.bits_per_dim(images, noise=noise),
        sample=lambda: model.sample(batch, seed=0),
        encode=lambda: model.flatten_latents(model.encode(images, noise=noise)),
        decode=lambda: model.decode(eps),
    )
    run = tf.function(tasks[spec["task"]])
    n_parameters = sum(int(tf.size(v)) for v in variables)
    return bench.Built(lambda: run().numpy(), n_parameters, f"tensorflow {tf.__version__}")
