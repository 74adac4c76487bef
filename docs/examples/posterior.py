"""A posterior by simulation: a Glow on vectors, conditioned on what was observed, beside a conditional MAF.

The simulator, with parameters uniform on [-1, 1]^2, is the two moons of the benchmark of simulation-based
inference. Each flow learns p(parameters | observation) for all observations at once, from simulated pairs
alone. How far its samples are from the true posterior's, which here can be sampled, says a classifier.

Lueckmann, Boelts, Greenberg, Goncalves & Macke, Benchmarking Simulation-Based Inference, 2021, task T.8.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from sklearn.neural_network import MLPClassifier

from docs.examples import two_moons
from glow_tf import bijectors

tfb, tfd = tfp.bijectors, tfp.distributions

SCALE = np.float32(np.sqrt(1 / 3))  # Standard deviation of each parameter, and about that of an observation.


def crescent(n, rng):
    """Returns the simulator's noise, float64 [n, 2]: points about half a circle."""
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], -1)


def simulate(n, rng):
    """Returns parameters drawn from the prior, and an observation for each; float32 [n, 2]."""
    a, b = parameters = rng.uniform(-1, 1, (2, n))
    observation = crescent(n, rng) + np.stack([-abs(a + b), b - a], -1) / np.sqrt(2)
    return parameters.T.astype(np.float32), observation.astype(np.float32)


def true_posterior(n, observation, rng):
    """Returns n exact samples, float32 [n, 2].

    Turned by 45 degrees, the parameters are the noise less the observation, but for one sign: so the noise is
    drawn, and the sign, and what isn't in the prior's square is drawn again.
    """
    found = np.zeros((0, 2))
    while len(found) < n:
        distance, difference = ((crescent(n, rng) - observation) * [1, -1]).T
        total = distance * rng.choice([-1, 1], n)
        drawn = np.stack([total - difference, total + difference], -1) / np.sqrt(2)
        found = np.concatenate([found, drawn[(distance >= 0) & (abs(drawn) <= 1).all(-1)]])
    return found[:n].astype(np.float32)


class ConditionalNetwork(two_moons.Network):
    """Reads half of the parameters, and the observation."""

    def __call__(self, x1, context):
        """Float [..., 1] and [..., 2] -> [..., 2]."""
        context = tf.broadcast_to(context, tf.concat([tf.shape(x1)[:-1], tf.shape(context)[-1:]], 0))
        return super().__call__(tf.concat([x1, context], -1))


def glow(depth, width, rng):
    """Steps of actnorm, 1x1 convolution and affine coupling, each coupling conditioned on the observation."""
    steps = []
    for _ in range(depth):
        coupling = bijectors.AffineCoupling(ConditionalNetwork(3, 2, width, rng), name="coupling")
        reversal = tf.Variable([[0.0, 1.0], [1.0, 0.0]])
        steps += [bijectors.ActNorm(2), bijectors.Invertible1x1Conv(w=reversal), coupling]
    steps.append(bijectors.ActNorm(2))
    return tfb.Chain(steps[::-1])


def maf(depth, width, rng):
    """TFP's masked autoregressive flow, each network conditioned on the observation; reversals between."""
    steps = []
    for _ in range(depth):
        made = tfb.AutoregressiveNetwork(
            params=2,
            event_shape=[2],
            conditional=True,
            conditional_event_shape=[2],
            hidden_units=[width, width],
            activation="tanh",
            kernel_initializer=tf_keras.initializers.VarianceScaling(1.0, seed=int(rng.integers(1000))),
        )
        made.build([None, 2])
        flow = tfb.MaskedAutoregressiveFlow(made, name="maf")
        flow.network = made  # A bijector finds the variables of its attributes, not of a closure.
        steps += [tfb.Permute([1, 0]), tfb.Invert(flow, name="coupling")]
    return tfb.Chain(steps[::-1])


def initialize(flow, x, conditions):
    """Data-dependent initialisation of the actnorms, in the order of the flow."""
    for bijector in flow.bijectors[::-1]:
        if isinstance(bijector, bijectors.ActNorm):
            x = bijector.initialize(x)
        else:
            x = bijector.forward(x, **conditions.get(bijector.name, {}))


class Posterior:
    """A flow of parameters given an observation.

    `keyword` is what the flow's networks call the observation: a `tfb.Chain` hands it on by its parts' name.
    """

    def __init__(self, flow, keyword):
        """Takes a chain whose conditional parts are named "coupling"."""
        self.flow, self.keyword = flow, keyword
        base = tfd.MultivariateNormalDiag(tf.zeros(2))
        self.distribution = tfd.TransformedDistribution(base, tfb.Invert(flow))

    def conditions(self, observations):
        """Returns the keyword arguments of the chain's methods for observations [..., 2]."""
        return {"coupling": {self.keyword: observations / SCALE}}

    def log_prob(self, parameters, observations):
        """Returns the log-density of parameters given observations, both [n, 2], nats [n]."""
        given = self.conditions(observations)
        return self.distribution.log_prob(parameters / SCALE, bijector_kwargs=given) - 2 * np.log(SCALE)

    def sample(self, n, observation, seed):
        """Returns n samples [n, 2] given one observation [2]."""
        given = self.conditions(tf.repeat(observation[None], n, 0))
        return SCALE * self.distribution.sample(n, seed=seed, bijector_kwargs=given).numpy()

    def fit(self, parameters, observations, steps, rate, seed, batch_size=512):
        """Maximises the likelihood of simulated pairs."""
        if self.keyword == "context":
            initialize(self.flow, parameters[:4096] / SCALE, self.conditions(observations[:4096]))
        variables = self.flow.trainable_variables
        schedule = tf_keras.optimizers.schedules.CosineDecay(rate, steps)
        optimizer = tf_keras.optimizers.Adam(schedule, global_clipnorm=1.0)

        @tf.function
        def step(parameters, observations):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(self.log_prob(parameters, observations))
            optimizer.minimize(loss, variables, tape=tape)

        rng = np.random.default_rng(seed)
        for _ in range(steps):
            chosen = rng.integers(0, len(parameters), batch_size)
            step(parameters[chosen], observations[chosen])


def c2st(samples, reference, seed=0):
    """Returns the accuracy, on held-out halves, of a classifier of samples against as many of the reference.

    One half is guessing: no classifier of this size tells them apart. One is a perfect classifier.
    """
    points = np.concatenate([samples, reference])
    points = (points - points.mean(0)) / points.std(0)
    labels = np.repeat([0, 1], len(samples))
    classifier = MLPClassifier((20, 20), max_iter=1000, random_state=seed)
    order = np.random.default_rng(seed).permutation(len(points))
    train, test = order[::2], order[1::2]
    return classifier.fit(points[train], labels[train]).score(points[test], labels[test])


# Name, what makes the flow, its steps, its width, the learning rate, the keyword of the observation. MAF has
# a few parameters more. Steps and rates were chosen by the likelihood of other simulations.
FLOWS = [("Glow", glow, 12, 20, 0.01, "context"), ("MAF", maf, 8, 24, 0.01, "conditional_input")]


def main(out=pathlib.Path("docs/pictures"), steps=1000, n_simulations=100_000, n_samples=2000, seed=0):
    """Trains both, draws samples of two posteriors, returns C2ST in the mean of ten observations."""
    rng = np.random.default_rng(seed)
    parameters, observations = simulate(n_simulations, rng)
    test = simulate(10_000, rng)
    shown = simulate(10, np.random.default_rng(1000))[1]  # The same for all seeds.
    references = [true_posterior(n_samples, observation, rng) for observation in shown]
    figure, axes = plt.subplots(2, 3, figsize=(7.5, 5), sharex="row", sharey="row", layout="constrained")
    columns = {"true posterior": references}
    results = {}
    for name, make, depth, width, rate, keyword in FLOWS:
        posterior = Posterior(make(depth, width, np.random.default_rng(seed)), keyword)
        posterior.fit(parameters, observations, steps, rate, seed)
        samples = [posterior.sample(n_samples, observation, seed=seed) for observation in shown]
        results[name] = float(np.mean([c2st(*pair) for pair in zip(samples, references, strict=True)]))
        results[f"{name} nats"] = float(tf.reduce_mean(posterior.log_prob(*test)))
        results[f"{name} parameters"] = two_moons.n_parameters(posterior.flow)
        print(
            f"{name}: C2ST {results[name]:.3f}, {results[f'{name} nats']:.3f} nats per held-out simulation, "
            f"{results[f'{name} parameters']} parameters"
        )
        columns[f"{name}, C2ST {results[name]:.3f}"] = samples
    for column, (name, samples) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(name)
        for ax, points in zip(column, samples, strict=False):
            ax.scatter(*points[:1000].T, s=1)
            ax.set_aspect("equal")
    figure.savefig(out / "posterior.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
