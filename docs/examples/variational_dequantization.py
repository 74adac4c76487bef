"""Variational dequantisation: a conditional Glow as the noise that fills the bins of another Glow's images.

Uniform noise asks a density to be flat in each bin of the pixels, which a smooth flow can't be. Noise that is
drawn from a flow q(u | image), and trained with the density p, has a bound on the same log-likelihood:

    log P(image) >= E log p(image + u) - log q(u | image), u = sigmoid(what a Glow draws given the image) / 16

Ho, Chen, Srinivas, Duan & Abbeel, Flow++: Improving Flow-Based Generative Models with Variational
Dequantization and Architecture Design, 2019, section 3.1.
"""

import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import glow_tf
from docs.examples import digits

tfb, tfd = tfp.bijectors, tfp.distributions

N_BITS = 4
BIN = 2.0**-N_BITS
N_DIMS = 64


def density(seed):
    """Returns the Glow of images, the same for both kinds of noise."""
    config = glow_tf.GlowConfig(image_size=8, n_channels=1, n_levels=2, depth=6, width=48, n_bits_x=N_BITS)
    return glow_tf.Glow(config, seed=seed)


def noise_flow(seed):
    """Returns the Glow of noise, given an image.

    No data initialise it: new, it draws what a sigmoid makes about uniform.
    """
    config = glow_tf.GlowConfig(
        image_size=8, n_channels=1, n_levels=1, depth=4, width=32, context_shape=(8, 8, 1)
    )
    return glow_tf.Glow(config, seed=seed)


def noise_given(flow, images):
    """Returns q(u | image), the distribution of noise in [0, 1/16] for each of uint8 images [B, 8, 8, 1]."""
    context = tf.cast(images, tf.float32) / 256 - 0.5
    return tfd.TransformedDistribution(flow.distribution(context=context), tfb.Sigmoid(0.0, BIN))


def bound(model, flow, images, seed=None):
    """Returns an upper bound of the bits per dimension of images, [B]; the noise is `flow`'s, or uniform."""
    if flow is None:
        return model.losses(images)["loss"]
    u, log_q = noise_given(flow, images).experimental_sample_and_log_prob(seed=seed)
    u = tf.minimum(u, np.nextafter(np.float32(BIN), 0))  # Float32 rounds what is just below to the bin's end.
    return model.losses(images, noise=u)["loss"] - N_BITS + log_q / (N_DIMS * np.log(2))


def train(images, variational, steps, seed, batch_size=64):
    """Trains by the bound; returns the density, the flow of noise or None, and the seconds of all cores."""
    model, flow = density(seed), noise_flow(seed) if variational else None
    model.initialize(images[:256])
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_steps=20, warmup_target=2e-3)
    optimizer = tf_keras.optimizers.Adam(rate, global_clipnorm=50.0)
    variables = [*model.trainable_variables, *(flow.trainable_variables if variational else [])]

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(bound(model, flow, x))
        optimizer.minimize(loss, variables, tape=tape)

    rng = np.random.default_rng(seed)
    batches = [tf.constant(images[rng.integers(0, len(images), batch_size)]) for _ in range(steps)]
    step(batches[0])
    start = time.process_time()
    for batch in batches[1:]:
        step(batch)
    return model, flow, time.process_time() - start


def main(out=pathlib.Path("docs/pictures"), steps=(700, 500), n_draws=10, seed=0):
    """Trains with uniform and with variational noise; returns the bounds of the held-out digits, bits/dim.

    Args:
        out: path, of the folder of the picture.
        steps: pair of ints, of training with uniform and with variational noise: about the same time.
        n_draws: int, of the noise, the bounds' mean over which is returned.
        seed: int.
    """
    images, _, test_images, _ = digits.load()
    results = {}
    for name, variational, n in zip(("uniform", "variational"), (False, True), steps, strict=True):
        model, flow, seconds = train(images, variational, n, seed)
        evaluate = tf.function(lambda x, model=model, flow=flow: tf.reduce_mean(bound(model, flow, x)))
        results[name] = float(np.mean([evaluate(test_images) for _ in range(n_draws)]))
        results[f"{name}, seconds"] = seconds
        print(f"{name}: at most {results[name]:.3f} bits/dim after {n} steps in {seconds:.0f} s")

    u = noise_given(flow, test_images).sample(seed=seed).numpy() / BIN
    value = test_images // 16
    where = {
        "black pixels": value == 0,
        "grey pixels": (value > 0) & (value < 15),
        "white pixels": value == 15,
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, layout="constrained")
    for ax, (name, chosen) in zip(axes, where.items(), strict=True):
        ax.hist(u[chosen], bins=40, range=(0, 1), density=True)
        ax.axhline(1.0, color="black", linewidth=1)
        ax.set(title=f"noise of {name}", xlabel="place in the bin", xlim=(0, 1))
    figure.savefig(out / "variational_dequantization.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
