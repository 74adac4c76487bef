"""Moves images along attribute directions in latent space, as a picture (section 6.3 of the paper).

    python -m experiments.manipulate --logdir logs/digits --images 0,1 --attributes 3,8 --out manipulation.png
    python -m experiments.manipulate --logdir logs/faces --data faces.npz --images me.png --attributes smiling

A direction is the mean latent of the images with an attribute minus the mean of those without. They are
computed in one pass, and saved to --directions; where that file is there, it is read. The data are the
run's training set, each label an attribute by its number; or --data, an npz with images uint8
[N, height, width, n_channels], attributes [N, A] of 0 and 1, and names [A].

The rows of the picture are images x attributes, its columns are the alphas: 0 is the image itself. A .gif
shows the columns one after the other. Labels play no part in the latents.
"""

import pathlib
import zipfile

import numpy as np
from absl import flags

import glow_tf
from experiments import chosen_images, datasets, directions, hyperparameters, list_flags, pictures, runs
from experiments.hyperparameters import UsageError

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of the command."""
    runs.define_inference_flags()
    chosen_images.define_flag(["0"])
    flags.DEFINE_string("directions", "directions.npz", "Where directions are saved, or read.")
    flags.DEFINE_string("data", None, "Labelled images, npz, instead of the run's training set.")
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_list("attributes", [], "Which attributes to show; all unless given.")
    flags.DEFINE_list("alphas", ["-1", "-0.5", "0", "0.5", "1"], "How far along a direction.")
    flags.DEFINE_string("out", "manipulation.png", "The .png or .gif to write.")


def labelled_batches(run: runs.Run):
    """Returns an iterable of (images, attributes 0 or 1 [B, A]), and the names of the attributes."""
    n = run.hps["n_batch_test"]
    if not FLAGS.data:
        data = datasets.load(run.hps, "train", FLAGS.download)
        # Each image once, not augmented.
        batches = datasets.test_batches(data, run.hps, n)
        n_y = run.hps["n_y"]
        names = run.hps.get("classes") or [str(y) for y in range(n_y)]
        return ((x, np.eye(n_y)[y]) for x, y, _ in batches), names
    try:
        with np.load(FLAGS.data) as arrays:
            images, attributes, names = (arrays[key] for key in ("images", "attributes", "names"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"Can't read images, attributes and names from --data {FLAGS.data}: {error}"
        ) from error
    shape = run.glow.config.image_shape
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise UsageError(
            f"--data {FLAGS.data}: images must be uint8 [N, {', '.join(map(str, shape))}], got "
            f"{images.dtype} {list(images.shape)}."
        )
    if attributes.shape != (len(images), len(names)) or not np.isin(attributes, (0, 1)).all():
        raise UsageError(
            f"--data {FLAGS.data}: attributes must be 0 or 1, [{len(images)}, {len(names)}], as many as "
            f"images and names; got {list(attributes.shape)} from {attributes.min()} to {attributes.max()}."
        )
    parts = range(0, len(images), n)
    return ((images[i : i + n], attributes[i : i + n]) for i in parts), names


def main(argv):
    """Runs the command."""
    del argv
    pictures.require_name(FLAGS.out)
    alphas = list_flags.floats("alphas")
    run = runs.load_for_inference()
    signatures = glow_tf.serving.Signatures(glow_tf.serving.FrozenGlow(run.glow))
    images = chosen_images.load(run.hps, run.glow.config.image_shape, at_least=1)
    if pathlib.Path(FLAGS.directions).exists():
        known = directions.load(FLAGS.directions)
    else:
        batches, names = labelled_batches(run)
        known = directions.compute(lambda x: signatures.encode(x)["latents"], batches, names)
        known.save(FLAGS.directions)
        print(f"Wrote {len(known.names)} directions of {known.counts[0].sum()} images to {FLAGS.directions}.")
    if known.vectors.shape[1:] != (run.glow.config.n_dims,):
        raise UsageError(
            f"The directions in {FLAGS.directions} are of another model: they have {known.vectors.shape[1]} "
            f"dimensions, this one has {run.glow.config.n_dims}. Give another --directions."
        )
    rows = directions.rows(images, known.chosen(FLAGS.attributes), alphas)
    moved = signatures.manipulate(**rows)["images"].numpy()
    pictures.save(moved.reshape(-1, *images.shape[1:]), len(alphas), FLAGS.out)
    print(f"Wrote {len(moved)} x {len(alphas)} images to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    hyperparameters.run(main)
