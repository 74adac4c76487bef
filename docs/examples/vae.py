"""A VAE in tfd and tf_keras, with a Glow as its learned prior, or as its likelihood.

All three see the same dequantised digits, so their evidence lower bounds compare, in bits per dimension:

- plain: z ~ N(0, 1), x ~ N(decoder(z), scale);
- prior: z ~ Glow over "images" [4, 4, 1] of latents, the same likelihood;
- likelihood: z ~ N(0, 1), and x = Glow^-1(N(decoder(z), 1)): what the decoder says shifts Glow's latents.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import glow_tf
from docs.examples import digits

tfb, tfd = tfp.bijectors, tfp.distributions

N_BITS = 4
LATENT = (4, 4, 1)


def dequantize(images, rng):
    """Returns uint8 images as floats in [-0.5, 0.5), with noise inside their bins."""
    return ((images // 16 + rng.uniform(size=images.shape)) / 16 - 0.5).astype(np.float32)


def flow_over(size, n_levels, seed):
    """Returns a small Glow over [size, size, 1]."""
    config = glow_tf.GlowConfig(
        image_size=size, n_channels=1, n_levels=n_levels, depth=4, width=32, n_bits_x=N_BITS
    )
    return glow_tf.Glow(config, seed=seed)


class VAE(tf_keras.Model):
    """Encoder and decoder are tf_keras networks; prior and likelihood are distributions."""

    def __init__(self, glow=None):
        """Takes "prior", "likelihood" or None: where a Glow is used."""
        super().__init__()
        dense = lambda n, **kw: tf_keras.layers.Dense(n, **kw)
        self.encoder = tf_keras.Sequential(
            [
                tf_keras.layers.Flatten(),
                dense(128, activation="relu"),
                dense(128, activation="relu"),
                dense(32),
            ]
        )
        self.decoder = tf_keras.Sequential(
            [
                tf_keras.layers.Flatten(),
                dense(128, activation="relu"),
                dense(128, activation="relu"),
                dense(64),
            ]
        )
        self.log_scale = tf.Variable(-2.0, name="log_scale")
        self.glow = None if glow is None else flow_over(*((4, 1) if glow == "prior" else (8, 2)), seed=0)
        self.prior = self.glow.distribution() if glow == "prior" else tfd.Sample(tfd.Normal(0.0, 1.0), LATENT)
        self.glow_is_likelihood = glow == "likelihood"

    def posterior(self, x):
        """Returns q(z | x)."""
        mean, log_scale = tf.split(self.encoder(x), 2, -1)
        shape = lambda t: tf.reshape(t, [-1, *LATENT])
        return tfd.Independent(tfd.Normal(shape(mean), tf.exp(shape(log_scale))), 3)

    def likelihood(self, z):
        """Returns p(x | z)."""
        mean = self.decoder(z)
        if not self.glow_is_likelihood:
            return tfd.Independent(tfd.Normal(tf.reshape(mean, [-1, 8, 8, 1]), tf.exp(self.log_scale)), 3)
        means = self.glow.unflatten_latents(mean)
        latents = tfd.JointDistributionSequential([tfd.Independent(tfd.Normal(m, 1.0), 3) for m in means])
        return tfd.TransformedDistribution(latents, tfb.Invert(self.glow.bijector))

    def call(self, x):
        """Returns the negative evidence lower bound of each image, bits per dimension."""
        q = self.posterior(x)
        z, log_q = q.experimental_sample_and_log_prob()
        elbo = self.likelihood(z).log_prob(x) + self.prior.log_prob(z) - log_q
        return N_BITS - elbo / (64 * np.log(2))

    def train_step(self, x):
        """Makes one step on a batch."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self(x))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"bits": loss}


def main(out=pathlib.Path("docs/pictures"), epochs=40):
    """Trains the three, draws samples, returns the bounds of the held-out digits in bits per dimension."""
    train_images, _, test_images, _ = digits.load()
    rng = np.random.default_rng(0)
    train = np.concatenate([dequantize(train_images, rng) for _ in range(4)])  # Four draws of the noise.
    test = dequantize(test_images, rng)
    figure, axes = plt.subplots(3, 12, figsize=(10, 2.9), layout="constrained")
    results = {}
    for row, glow in zip(axes, (None, "prior", "likelihood"), strict=True):
        name = f"Glow as {glow}" if glow else "plain"
        tf_keras.utils.set_random_seed(0)
        model = VAE(glow)
        steps = max(1, epochs // 4) * (len(train) // 64)
        rate = tf_keras.optimizers.schedules.CosineDecay(2e-3, steps)
        model.compile(optimizer=tf_keras.optimizers.Adam(rate, global_clipnorm=10.0))
        model.fit(train, batch_size=64, epochs=max(1, epochs // 4), verbose=0)
        results[name] = float(np.mean([tf.reduce_mean(model(test)) for _ in range(10)]))
        print(f"{name}: at most {results[name]:.3f} bits/dim of the held-out digits")
        samples = model.likelihood(model.prior.sample(12, seed=1)).sample(seed=2)
        for ax, sample in zip(row, samples, strict=True):
            ax.imshow(sample[..., 0], cmap="gray", vmin=-0.5, vmax=0.5)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{name}\n{results[name]:.2f} bits/dim", rotation=0, ha="right", va="center")
    figure.savefig(out / "vae.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
