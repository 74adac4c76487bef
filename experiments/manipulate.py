"""Moves images along attribute directions in latent space, as a picture (section 6.3 of the paper).

    python -m experiments.manipulate --logdir logs/digits --images 0,1 --attributes 3,8 --out manipulation.png
    python -m experiments.manipulate --logdir logs/faces --data faces.npz --images me.png --attributes smiling

A direction is the mean latent of the images with an attribute minus the mean of those without. They are
computed in one pass, and saved to --directions with a note of the weights and the data that they were made
of; a file that was made of the same is read instead, one of others is made anew. The data are the run's
training set, each label an attribute by its number; or --data, an npz with images uint8
[N, height, width, n_channels], attributes [N, A] of 0 and 1, and names [A].

The rows of the picture are images x attributes, its columns are the alphas: 0 is the image itself. A .gif
shows the columns one after the other. Labels play no part in the latents. With --context lowres:K an image
keeps its context.
"""

from absl import flags

import glow_tf
from experiments import cli, pictures, runs
from experiments.cli import number_lists
from experiments.data import images_flag, labelled_images
from experiments.served import directions

FLAGS = flags.FLAGS


def define_flags():
    runs.define_inference_flags()
    images_flag.define(["0"])
    flags.DEFINE_string("directions", "directions.npz", "Where directions are saved, or read.")
    flags.DEFINE_string("data", None, "Labelled images, npz, instead of the run's training set.")
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_list("attributes", [], "Which attributes to show; all unless given.")
    flags.DEFINE_list("alphas", ["-1", "-0.5", "0", "0.5", "1"], "How far along a direction.")
    flags.DEFINE_string("out", "manipulation.png", "The .png or .gif to write.")


def made_of(run: runs.Run) -> dict:
    """Returns what directions of this run and these data are made of."""
    return dict(
        fingerprint=glow_tf.serving.fingerprint(run.glow),
        data=labelled_images.identity(run.hyperparameters, FLAGS.data),
        weights="polyak" if FLAGS.polyak else "raw",
        source=FLAGS.openai_checkpoint or FLAGS.logdir,
        step=run.step,
        n_bits_x=run.hyperparameters.n_bits_x,
    )


def main(argv):
    del argv
    pictures.require_name(FLAGS.out)
    alphas = number_lists.floats("alphas")
    run = runs.load_for_inference()
    signatures = glow_tf.serving.Signatures(glow_tf.serving.FrozenGlow(run.glow))
    images = images_flag.load(run.hyperparameters, run.glow.config.image_shape, at_least=1)
    batches, names = labelled_images.load(
        run.hyperparameters, run.glow.config.image_shape, FLAGS.data, FLAGS.download
    )
    encode = lambda x: signatures.encode(x, **run.context_of(x))["latents"]
    known = directions.kept_or_made(FLAGS.directions, made_of(run), encode, batches, names)
    rows = directions.rows(images, known.chosen(FLAGS.attributes), alphas)
    moved = signatures.manipulate(**rows, **run.context_of(rows["images"]))["images"].numpy()
    pictures.save(moved.reshape(-1, *images.shape[1:]), len(alphas), FLAGS.out)
    print(f"Wrote {len(moved)} x {len(alphas)} images to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    cli.run(
        main,
        first="logdir images out attributes alphas directions data checkpoint polyak openai_checkpoint",
    )
