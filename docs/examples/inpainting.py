"""Inpainting: half of a digit is observed, the rest is asked of a Glow inside a joint distribution.

Glow's default event-space bijector maps latents to images, so Hamiltonian Monte Carlo moves where the density
is nearly a standard normal's. What the proposal costs is one pass of the flow: the log-determinants of the
change of variables and of Glow's density are the same, and cached.
"""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from docs.examples import digits

tfd = tfp.distributions

NOISE = 0.05  # Standard deviation of what is observed; pixels are in [-0.5, 0.5].
HIDDEN = (..., slice(None), slice(4, None), slice(None))  # The right half.


def to_float(images):
    """Returns uint8 images as the middles of their 16 bins, float32 in [-0.5, 0.5]."""
    return ((images // 16 + 0.5) / 16 - 0.5).astype(np.float32)


def error_of_hidden(guess, truth):
    """Returns the root of the mean squared difference of the hidden pixels of images [B, 8, 8, 1]."""
    return float(np.sqrt(np.mean(np.square((guess - truth)[HIDDEN]))))


def observe(x):
    """Returns the left half of images."""
    return x[..., :, :4, :]


def posterior_sampler(glow, truth, n_samples, n_burnin):
    """Returns a tf.function, seed -> images [n_samples, B, 8, 8, 1] and whether HMC took each proposal.

    Args:
        glow: the distribution of images.
        truth: float [B, 8, 8, 1], of which the left half is observed.
        n_samples: int, of each chain; there is one for each of the B images.
        n_burnin: int, how many are thrown away before.
    """

    @tfd.JointDistributionCoroutine
    def joint():
        image = yield tfd.JointDistributionCoroutine.Root(glow)
        yield tfd.Independent(tfd.Normal(observe(image), NOISE), 3, name="observed")

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
        latents, accepted = tfp.mcmc.sample_chain(
            n_samples,
            current_state=[0.5 * eps for eps in glow.distribution.sample(len(truth), seed=1)],
            kernel=kernel,
            num_burnin_steps=n_burnin,
            trace_fn=lambda _, results: results.inner_results.is_accepted,
            seed=seed,
        )
        return to_image.forward(list(latents)), accepted

    return run


def main(out=pathlib.Path("docs/pictures"), steps=1000, n_samples=240, n_burnin=160):
    """Trains a Glow, samples the hidden half of eight digits; returns the errors of the hidden pixels.

    The error is the root of the mean squared difference to the true pixels, of the posterior mean and of what
    knows nothing of the observed half: the mean training digit.
    """
    images, _, test_images, _ = digits.load()
    glow = digits.train(images, steps=steps).distribution()
    truth = to_float(test_images[:8])
    chain, accepted = posterior_sampler(glow, truth, n_samples, n_burnin)(tf.constant([0, 1]))
    mean = tf.reduce_mean(chain, 0)
    results = {
        "posterior mean": error_of_hidden(mean.numpy(), truth),
        "mean digit": error_of_hidden(np.broadcast_to(to_float(images).mean(0), truth.shape), truth),
        "accepted": float(tf.reduce_mean(tf.cast(accepted, tf.float32))),
    }
    print(
        f"hidden pixels, root mean squared error: {results['posterior mean']:.3f} of the posterior mean, "
        f"{results['mean digit']:.3f} of the mean digit; {results['accepted']:.0%} of HMC's proposals taken"
    )

    observed = truth.copy()
    observed[HIDDEN] = -0.5
    rows = [("truth", truth), ("observed", observed), ("posterior mean", mean)]
    rows += [(f"sample {i + 1}", chain[i * (n_samples // 3)]) for i in range(3)]
    digits.draw(out / "inpainting.png", rows, (7, 5.4), (-0.5, 0.5))
    return results


if __name__ == "__main__":
    main()
