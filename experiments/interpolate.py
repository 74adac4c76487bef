"""Interpolates between images in latent space, as a picture (figure 5 of the paper).

    python -m experiments.interpolate --logdir logs/digits --images 0,1 --out interpolation.png
    python -m experiments.interpolate --logdir logs/digits --images 0,1,2 --points 5 --out interpolation.gif
    python -m experiments.interpolate --logdir logs/cifar10 --images mine.png,yours.png

A row goes from one image to the next, along the straight line between their latents; both its ends are
the images themselves. A .gif shows the columns one after the other. Labels play no part. The contexts of a
run with --context lowres:K go from one to the next, too.
"""

import itertools

import numpy as np
from absl import flags

import glow_tf
from experiments import cli, pictures, runs
from experiments.data import images_flag

FLAGS = flags.FLAGS


def define_flags():
    runs.define_inference_flags()
    images_flag.define(["0", "1"])
    flags.DEFINE_integer("points", 8, "Images from one to the next, both included.", lower_bound=2)
    flags.DEFINE_string("out", "interpolation.png", "The .png or .gif to write.")


def _lines(ends):
    """Returns what is on the straight lines from each of [N, ...] to the next, [(N - 1) points, ...]."""
    points = np.linspace(0, 1, FLAGS.points, dtype=np.float32)
    points = points.reshape(-1, *[1] * (ends.ndim - 1))
    return np.concatenate([first + points * (second - first) for first, second in itertools.pairwise(ends)])


def main(argv):
    del argv
    pictures.require_name(FLAGS.out)
    run = runs.load_for_inference()
    images = images_flag.load(run.hyperparameters, run.glow.config.image_shape, at_least=2)
    given = run.context_of(images)
    signatures = glow_tf.serving.Signatures(glow_tf.serving.FrozenGlow(run.glow))
    latents = signatures.encode(images, **given)["latents"]
    given = {name: _lines(value.numpy()) for name, value in given.items()}
    between = signatures.decode(_lines(latents.numpy()), **given)["images"].numpy()
    pictures.save(between, FLAGS.points, FLAGS.out)
    print(f"Wrote {len(images) - 1} x {FLAGS.points} images to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main, first="logdir images out points checkpoint polyak openai_checkpoint")
