"""Super-resolution: digits of 8x8 pixels, given themselves at 4x4, by a Glow with an image as context.

A small image stands for many large ones. Bicubic interpolation says one, blurred; a conditional Glow says how
likely each is, and draws them.
"""

import pathlib

import numpy as np
import tensorflow as tf

from docs.examples import digits


def shrink(images):
    """Returns uint8 images [N, 8, 8, 1] at half their size, float32 [N, 4, 4, 1] in [-0.5, 0.5)."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    return (blocks.mean((2, 4)) / 256 - 0.5).astype(np.float32)


def sharpness(images):
    """Returns the mean absolute difference of neighbouring pixels, in units of the range of pixels."""
    x = images.astype(np.float64) / 256
    return (abs(np.diff(x, axis=-3)).mean() + abs(np.diff(x, axis=-2)).mean()) / 2


def main(out=pathlib.Path("docs/pictures"), steps=500, n_samples=8, seed=0):
    """Trains with and without the small images; returns bits, sharpness and errors, of the held-out digits.

    The errors are roots of the mean squared difference to the true digit, pixels in [-0.5, 0.5).
    """
    images, _, truth, _ = digits.load()
    small = shrink(truth)
    conditional = digits.train(images, pairs=lambda x, rng: (x, shrink(x)), steps=steps, seed=seed)
    unconditional = digits.train(images, steps=steps, seed=seed)
    bits = conditional.bits_per_dim(truth, seed=0, context=small)
    results = {"bits given the small image": float(tf.reduce_mean(bits))}
    results["bits without"] = float(tf.reduce_mean(unconditional.bits_per_dim(truth, seed=0)))
    samples = np.stack(
        [conditional.sample(len(truth), temperature=1.0, seed=i, context=small) for i in range(n_samples)]
    )
    bicubic = tf.image.resize((small + 0.5) * 256, [8, 8], method="bicubic")
    bicubic = np.clip(np.round(bicubic), 0, 255).astype(np.uint8)
    error = lambda guess, truth: float(np.sqrt(np.mean(np.square(guess.astype(np.float64) - truth))))
    for name, drawn, guess in (("samples", samples, samples.mean(0)), ("bicubic", bicubic, bicubic)):
        results[f"sharpness of {name}"] = float(sharpness(drawn) / sharpness(truth))
        results[f"error of {name}"] = error(guess, truth) / 256
    # How much a sample, made small, differs from the image that it was given.
    again = shrink(samples.reshape(-1, 8, 8, 1))
    results["error, made small"] = error(again, np.tile(small, (n_samples, 1, 1, 1)))
    for name, value in results.items():
        print(f"{name}: {value:.3f}")

    rows = [("given, 4x4", (small + 0.5) * 256), ("bicubic", bicubic), ("the digit", truth)]
    rows += [(f"sample {i + 1}", x) for i, x in enumerate(samples[:3])]
    rows.append(("mean of samples", samples.mean(0)))
    digits.draw(out / "super_resolution.png", [(name, x[:12]) for name, x in rows], (9, 5.2), (0, 255))
    return results


if __name__ == "__main__":
    main()
