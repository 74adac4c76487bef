"""Density estimation on two moons: Glow's steps on vectors, beside RealNVP and MAF of as many parameters.

Glow's bijectors are not only for images: `ActNorm`, `Invertible1x1Conv` and `AffineCoupling` take vectors.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from sklearn.datasets import make_moons

from glow_tf import bijectors

tfb, tfd = tfp.bijectors, tfp.distributions


class Network(tf.Module):
    """Two hidden layers of tanh; the last layer starts at zero, so that a flow starts as its linear part."""

    def __init__(self, n_in, n_out, width, rng):
        """Draws the weights with `rng`, scaled by the width of what they read."""
        super().__init__()
        sizes = [n_in, width, width, n_out]
        scales = [1 / np.sqrt(n) for n in sizes[:2]] + [0.0]
        self.layers = [
            (tf.Variable(rng.normal(0, scale, (a, b)), dtype=tf.float32), tf.Variable(tf.zeros([b])))
            for a, b, scale in zip(sizes[:-1], sizes[1:], scales, strict=True)
        ]

    def __call__(self, x):
        """Float [..., n_in] -> [..., n_out]."""
        for w, b in self.layers[:-1]:
            x = tf.tanh(tf.tensordot(x, w, 1) + b)
        w, b = self.layers[-1]
        return tf.tensordot(x, w, 1) + b


def glow(depth, width, rng):
    """Steps of actnorm, 1x1 convolution and affine coupling, on vectors of two entries.

    The matrices start as the reversals that RealNVP has (not as random rotations), and are learned.
    """
    steps = []
    for _ in range(depth):
        coupling = bijectors.AffineCoupling(Network(1, 2, width, rng))
        reversal = tf.Variable([[0.0, 1.0], [1.0, 0.0]])
        steps += [bijectors.ActNorm(2), bijectors.Invertible1x1Conv(w=reversal), coupling]
    steps.append(bijectors.ActNorm(2))  # As Glow's top prior: the mean and the scale of the base are learned.
    return tfb.Chain(steps[::-1])


def initialize(chain, x):
    """Data-dependent initialisation, in the order of the flow: each actnorm normalises what reaches it."""
    for bijector in chain.bijectors[::-1]:
        x = bijector.initialize(x) if isinstance(bijector, bijectors.ActNorm) else bijector.forward(x)


def real_nvp(depth, width, rng):
    """TFP's RealNVP with the same networks, and reversals between; as in the paper, scales by exp(tanh)."""
    steps = []
    for _ in range(depth):
        network = Network(1, 2, width, rng)

        def shift_and_log_scale(x, _, network=network):
            shift, log_scale = tf.split(network(x), 2, -1)
            return shift, tf.tanh(log_scale)

        coupling = tfb.RealNVP(num_masked=1, shift_and_log_scale_fn=shift_and_log_scale)
        coupling.network = network  # A bijector finds the variables of its attributes, not of a closure.
        steps += [tfb.Permute([1, 0]), tfb.Invert(coupling)]
    return tfb.Chain(steps[::-1])


def maf(depth, width, rng):
    """TFP's masked autoregressive flow, reversals between."""
    steps = []
    for _ in range(depth):
        made = tfb.AutoregressiveNetwork(
            params=2,
            event_shape=[2],
            hidden_units=[width, width],
            activation="tanh",
            kernel_initializer=tf_keras.initializers.VarianceScaling(1.0, seed=int(rng.integers(1000))),
        )
        made.build([None, 2])
        flow = tfb.MaskedAutoregressiveFlow(made)
        flow.network = made
        steps += [tfb.Permute([1, 0]), tfb.Invert(flow)]
    return tfb.Chain(steps[::-1])


def fit(flow, data, steps, rate, batch_size=1024):
    """Maximises the likelihood of data; returns the distribution."""
    model = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.Invert(flow))
    optimizer = tf_keras.optimizers.Adam(
        tf_keras.optimizers.schedules.CosineDecay(rate, steps), global_clipnorm=1.0
    )

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model.log_prob(x))
        optimizer.minimize(loss, flow.trainable_variables, tape=tape)

    for batch in (
        tf.data.Dataset.from_tensor_slices(data).repeat().shuffle(4000, seed=0).batch(batch_size).take(steps)
    ):
        step(batch)
    return model


def n_parameters(flow):
    """Returns how many numbers are trained."""
    return sum(int(np.prod(v.shape)) for v in flow.trainable_variables)


DEPTH = 12
# Name, what makes it, width, learning rate. RealNVP and MAF have a few parameters more than Glow. Depth and
# rates were chosen by a validation split, from as many settings for each flow.
FLOWS = [("Glow", glow, 26, 0.01), ("RealNVP", real_nvp, 27, 0.03), ("MAF", maf, 25, 0.003)]


def main(out=pathlib.Path("docs/pictures"), steps=2000, seed=0):
    """Trains the three, draws their densities, returns the mean log-likelihoods of held-out points, nats."""
    tf.random.set_seed(seed)
    train, _ = make_moons(40000, noise=0.05, random_state=seed)
    test, _ = make_moons(20000, noise=0.05, random_state=seed + 1000)
    mean, scale = train.mean(0), train.std(0)
    train, test = (((x - mean) / scale).astype(np.float32) for x in (train, test))
    axis = np.linspace(-2.2, 2.2, 150, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), -1)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
    axes[0].scatter(*test[:1000].T, s=1)
    axes[0].set_title("held-out points")
    results = {}
    for ax, (name, make, width, rate) in zip(axes[1:], FLOWS, strict=True):
        flow = make(DEPTH, width, np.random.default_rng(seed))
        if name == "Glow":
            initialize(flow, tf.constant(train))
        model = fit(flow, train, steps, rate)
        results[name] = float(tf.reduce_mean(model.log_prob(test)))
        results[f"{name} parameters"] = n_parameters(flow)
        print(f"{name}: {results[name]:.3f} nats per held-out point, {n_parameters(flow)} parameters")
        ax.imshow(np.exp(model.log_prob(grid)), origin="lower", extent=[-2.2, 2.2, -2.2, 2.2])
        ax.set_title(f"{name}: {results[name]:.3f} nats")
    for ax in axes:
        ax.set(xticks=[], yticks=[], xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    figure.savefig(out / "two_moons.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
