"""Inpainting: half of a digit is observed, the rest is asked of a Glow inside a joint distribution.

Glow's default event-space bijector maps latents to images, so Hamiltonian Monte Carlo moves where the density
is nearly a standard normal's. What the proposal costs is one pass of the flow: the log-determinants of the
change of variables and of Glow's density are the same, and cached.
"""

import pathlib

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from docs.examples import digits

tfd = tfp.distributions

NOISE = 0.05  # Standard deviation of what is observed; pixels are in [-0.5, 0.5].


def main(out=pathlib.Path("docs/pictures"), steps=1000, n_samples=240, n_burnin=160):
    """Trains a Glow, samples the hidden half of eight digits; returns the errors of the hidden pixels.

    The error is the root of the mean squared difference to the true pixels, of the posterior mean and of what
    knows nothing of the observed half: the mean training digit.
    """
    images, _, test_images, _ = digits.load()
    glow = digits.train(images, steps=steps).distribution()

    def observe(x):
        return x[..., :, :4, :]  # The left half.

    @tfd.JointDistributionCoroutine
    def joint():
        image = yield tfd.JointDistributionCoroutine.Root(glow)
        yield tfd.Independent(tfd.Normal(observe(image), NOISE), 3, name="observed")

    truth = (test_images[:8] / 16 + 0.5) / 16 - 0.5
    truth = truth.astype(np.float32)
    posterior = joint.experimental_pin(observed=observe(truth))
    to_image = glow.experimental_default_event_space_bijector()  # List of latents -> image.

    def log_density(*latents):
        image = to_image.forward(list(latents))
        log_det = to_image.forward_log_det_jacobian(list(latents), event_ndims=[3] * len(latents))
        # The observed half says nothing of wild values in the other one, which a flow may extrapolate to.
        is_image = tf.reduce_all(tf.abs(image) < 1.0, [-3, -2, -1])
        return tf.where(is_image, posterior.unnormalized_log_prob(image) + log_det, -np.inf)

    kernel = tfp.mcmc.HamiltonianMonteCarlo(log_density, step_size=0.05, num_leapfrog_steps=8)
    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(kernel, int(0.8 * n_burnin), target_accept_prob=0.75)

    @tf.function
    def run(seed):
        return tfp.mcmc.sample_chain(
            n_samples,
            current_state=[0.5 * eps for eps in glow.distribution.sample(8, seed=1)],
            kernel=kernel,
            num_burnin_steps=n_burnin,
            trace_fn=lambda _, results: results.inner_results.is_accepted,
            seed=seed,
        )

    latents, accepted = run(tf.constant([0, 1]))
    chain = to_image.forward(list(latents))  # [n_samples, 8, 8, 8, 1]
    mean = tf.reduce_mean(chain, 0)
    hidden = (slice(None), slice(None), slice(4, None))
    error = lambda guess: float(np.sqrt(np.mean(np.square(guess[hidden] - truth[hidden]))))
    average = np.broadcast_to(((images / 16 + 0.5) / 16 - 0.5).mean(0), truth.shape)
    results = {
        "posterior mean": error(mean.numpy()),
        "mean digit": error(average),
        "accepted": float(tf.reduce_mean(tf.cast(accepted, tf.float32))),
    }
    print(
        f"hidden pixels, root mean squared error: {results['posterior mean']:.3f} of the posterior mean, "
        f"{results['mean digit']:.3f} of the mean digit; {results['accepted']:.0%} of HMC's proposals taken"
    )

    observed = truth.copy()
    observed[hidden] = -0.5
    rows = {"truth": truth, "observed": observed, "posterior mean": mean}
    rows |= {f"sample {i + 1}": chain[i * (n_samples // 3)] for i in range(3)}
    figure, axes = plt.subplots(len(rows), 8, figsize=(7, 5.4), layout="constrained")
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            ax.imshow(picture[..., 0], cmap="gray", vmin=-0.5, vmax=0.5)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(out / "inpainting.png", dpi=110)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
