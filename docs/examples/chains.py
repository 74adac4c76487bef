"""Glow's bijectors in other people's chains, on images with bounds, on audio and on volumes.

`tfb.SoftClip` keeps samples inside the range of images; `tfb.Blockwise` transforms a part of a vector;
`tfb.Reshape` and `tfb.Shift` stand before them; `tfd.Independent` and `tfd.Sample` are the bases.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from glow_tf import bijectors

tfb, tfd = tfp.bijectors, tfp.distributions


class ConvolutionalNetwork(tf.Module):
    """Two convolutions over any number of spatial axes; the second starts at zero."""

    def __init__(self, n_spatial, n_in, n_out, width=24, seed=0):
        """Draws the kernels; `event_ndims` tells `AffineCoupling` that positions are mixed."""
        super().__init__()
        self.event_ndims = n_spatial + 1
        rng = np.random.default_rng(seed)
        kernel = lambda a, b, scale: tf.Variable(
            rng.normal(0, scale, [3] * n_spatial + [a, b]), dtype=tf.float32
        )
        self.first, self.last = kernel(n_in, width, 0.2), kernel(width, n_out, 0.0)

    def __call__(self, x):
        """Float [..., *spatial, n_in] -> [..., *spatial, n_out]."""
        batch, event = tf.split(tf.shape(x), [-1, self.event_ndims])
        h = tf.reshape(x, tf.concat([[-1], event], 0))
        layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[self.event_ndims - 1]
        conv = lambda x, kernel: tf.nn.convolution(x, kernel, padding="SAME", data_format=layout)
        h = conv(tf.nn.relu(conv(h, self.first)), self.last)
        h = tf.reshape(h, tf.concat([batch, event[:-1], h.shape[-1:]], 0))
        return tf.ensure_shape(h, [*x.shape[:-1], h.shape[-1]])


def steps(n, channels, n_spatial, seed=0):
    """Glow's steps on events [*spatial, channels]."""
    chain = []
    for k in range(n):
        rest = channels - channels // 2
        network = ConvolutionalNetwork(n_spatial, channels // 2, 2 * rest, seed=seed + k)
        chain += [
            bijectors.ActNorm(channels),
            bijectors.Invertible1x1Conv(channels, parameterization="lu", seed=seed + k),
            bijectors.AffineCoupling(network),
        ]
    return tfb.Chain(chain[::-1])


def audio():
    """A flow for waveforms [64, 1]: eight samples in a row become the channels of [8, 8]."""
    squeeze = tfb.Reshape(event_shape_in=[64, 1], event_shape_out=[8, 8])
    flow = tfb.Chain([steps(6, channels=8, n_spatial=1), squeeze, tfb.Shift(tf.constant(-0.1))])
    base = tfd.Independent(tfd.Normal(tf.zeros([8, 8]), 1.0), 2)
    return tfd.TransformedDistribution(base, tfb.Invert(flow), name="audio")


def volume():
    """A flow for volumes [D, H, W, C] = [2, 2, 2, 4]."""
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [2, 2, 2, 4])
    return tfd.TransformedDistribution(base, tfb.Invert(steps(2, 4, n_spatial=3)), name="volume")


def bounded_image():
    """Images [4, 4, 4] whose values are between 0 and 1, whatever the flow does."""
    step = bijectors.GlowStep(4, width=16, seed=0)
    flow = tfb.Chain([step, tfb.Invert(tfb.SoftClip(low=0.0, high=1.0))])
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [4, 4, 4])
    return tfd.TransformedDistribution(base, tfb.Invert(flow), name="bounded_image")


def part_of_a_vector():
    """The first four of six numbers go through Glow's linear parts, the other two through softplus."""
    linear = tfb.Chain([bijectors.Invertible1x1Conv(4, seed=0), bijectors.ActNorm(4)])
    flow = tfb.Blockwise([tfb.Invert(linear), tfb.Softplus()], block_sizes=[4, 2])
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(6)), flow, name="part_of_a_vector")


def disagreement(distribution, seed=0):
    """Returns by how much `log_prob` differs from what the Jacobian, by automatic differentiation, says."""
    rng = np.random.default_rng(seed)
    for variable in distribution.trainable_variables:
        variable.assign_add(tf.constant(rng.normal(0, 0.05, variable.shape), variable.dtype))
    z = tf.constant(rng.normal(0, 0.5, distribution.distribution.event_shape), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        flat = tf.reshape(z, [-1])
        tape.watch(flat)
        x = distribution.bijector.forward(tf.reshape(flat, z.shape))
        y = tf.reshape(x, [-1])
    log_det = np.linalg.slogdet(
        tape.jacobian(y, flat, experimental_use_pfor=False).numpy().astype(np.float64)
    )[1]
    expected = distribution.distribution.log_prob(z) - log_det
    return float(abs(distribution.log_prob(tf.identity(x)) - expected))


def waves(n, rng):
    """Returns n sine waves of random pitch and phase, float32 [n, 64, 1]."""
    time = np.arange(64) / 64
    pitch, phase = rng.uniform(1, 4, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    noise = rng.normal(0, 0.05, (n, 64))
    return (np.sin(2 * np.pi * (pitch * time + phase)) + noise).astype(np.float32)[..., None]


def main(out=pathlib.Path("docs/pictures"), steps=1000):
    """Checks the four chains against autodiff, trains the one of audio, draws its samples."""
    results = {}
    for make in (audio, volume, bounded_image, part_of_a_vector):
        distribution = make()
        results[distribution.name] = disagreement(distribution)
        print(f"{distribution.name}: log_prob is within {results[distribution.name]:.0e} nats of autodiff's")
    samples = bounded_image().sample(1000, seed=0)
    results["lowest"], results["highest"] = float(tf.reduce_min(samples)), float(tf.reduce_max(samples))
    print(f"bounded samples are from {results['lowest']:.4f} to {results['highest']:.4f}")

    rng = np.random.default_rng(0)
    model = audio()
    optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(3e-3, steps))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model.log_prob(x))
        optimizer.minimize(loss, model.trainable_variables, tape=tape)

    test = waves(1000, rng)
    results["before"] = float(tf.reduce_mean(model.log_prob(test)) / 64)
    for _ in range(steps):
        step(waves(64, rng))
    results["after"] = float(tf.reduce_mean(model.log_prob(tf.identity(test))) / 64)
    print(f"audio, nats per held-out sample: {results['before']:.3f} before, {results['after']:.3f} after")

    figure, axes = plt.subplots(2, 5, figsize=(10, 3), sharex=True, sharey=True, layout="constrained")
    for ax, wave in zip(axes.flat, [*test[:5], *model.sample(5, seed=2)], strict=True):
        ax.plot(wave)
        ax.set(ylim=(-1.6, 1.6), xticks=[], yticks=[])
    axes[0, 0].set_ylabel("data")
    axes[1, 0].set_ylabel("samples")
    figure.savefig(out / "chains.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
