"""Amortised inpainting: a Glow of the hidden half of a digit, conditioned on the visible one, beside HMC.

Hamiltonian Monte Carlo, as in the example of inpainting, asks a Glow of whole digits: it takes thousands of
passes of the flow and its gradient, one after the other. A conditional Glow has learned p(hidden | visible),
with the encoder that makes its context, and answers by one pass for all samples.
"""

import pathlib
import time

import numpy as np
import tensorflow as tf
import tf_keras

from docs.examples import digits, inpainting


def make_encoder():
    """Returns a network [B, 8, 4, 1] -> [B, 8, 4, 7]: for each position its pixel, and six numbers of all."""
    x = tf_keras.Input([8, 4, 1])
    h = tf_keras.layers.Dense(128, activation="relu")(tf_keras.layers.Flatten()(x))
    h = tf_keras.layers.Reshape([8, 4, 6])(tf_keras.layers.Dense(8 * 4 * 6)(h))
    return tf_keras.Model(x, tf_keras.layers.Concatenate()([x, h]))


def hidden_and_visible(images, rng):
    """Returns the halves of uint8 images [n, 8, 8, 1]: what is learned, and what it is given, as floats."""
    del rng
    return images[inpainting.HIDDEN], inpainting.observe(inpainting.to_float(images))


def train(images, steps, seed):
    """Trains on the halves of uint8 images.

    Returns:
        A function of digits, float [B, 8, 8, 1], and of n_samples, that returns a tf.function of a seed: it
        samples what the digits with those left halves may be, [n_samples, B, 8, 8, 1].
    """
    tf_keras.utils.set_random_seed(seed)
    encoder = make_encoder()
    model = digits.train(
        images, pairs=hidden_and_visible, encoder=encoder, steps=steps, seed=seed, image_size=(8, 4)
    )

    def sampler(truth, n_samples):
        visible = tf.constant(inpainting.observe(truth))

        @tf.function
        def run(seed):
            n = n_samples * len(truth)
            context = tf.tile(encoder(visible), [n_samples, 1, 1, 1])
            halves = model.sample(n, temperature=1.0, seed=seed, context=context)
            halves = (tf.cast(halves // 16, tf.float32) + 0.5) / 16 - 0.5
            halves = tf.reshape(halves, [n_samples, *truth.shape[:2], 4, 1])
            return tf.concat([tf.broadcast_to(visible, halves.shape), halves], -2)

        return run

    return sampler


def timed(function, seed):
    """Returns what a tf.function makes of a seed, and the seconds of all cores, but for making its graph."""
    function = function.get_concrete_function(tf.TensorSpec([2], tf.int32))
    start = time.process_time()
    result = function(tf.constant([0, seed]))
    return result, time.process_time() - start


def main(out=pathlib.Path("docs/pictures"), steps=600, n_samples=240, n_burnin=160, seed=0):
    """Trains both, hides the right half of eight digits; returns errors of the hidden pixels, and seconds."""
    images, _, test_images, _ = digits.load()
    truth = inpainting.to_float(test_images[:8])
    results = {}
    sampler = train(images, steps, seed)
    samples, results["seconds of the conditional Glow"] = timed(sampler(truth, n_samples), seed)
    glow = digits.train(images, steps=steps, seed=seed).distribution()
    hmc = inpainting.posterior_sampler(glow, truth, n_samples, n_burnin)
    (chain, _), results["seconds of HMC"] = timed(hmc, seed)

    means = {"the conditional Glow": tf.reduce_mean(samples, 0).numpy()}
    means["HMC"] = tf.reduce_mean(chain, 0).numpy()
    means["the mean digit"] = np.broadcast_to(inpainting.to_float(images).mean(0), truth.shape)
    results |= {f"error of {name}": inpainting.error_of_hidden(mean, truth) for name, mean in means.items()}
    for name, value in results.items():
        print(f"{name}: {value:.3f}")

    observed = truth.copy()
    observed[inpainting.HIDDEN] = -0.5
    rows = [("truth", truth), ("observed", observed)]
    for name, drawn in (("HMC", chain), ("Glow", samples)):
        rows += [(f"{name}: mean", tf.reduce_mean(drawn, 0)), (f"{name}: samples", drawn[0])]
        rows += [("", drawn[n_samples // 2])]
    digits.draw(out / "amortized_inpainting.png", rows, (7, 7), (-0.5, 0.5))
    return results


if __name__ == "__main__":
    main()
