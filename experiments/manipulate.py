"""Moves images along attribute directions in latent space, as a picture (section 6.3 of the paper).

    python -m experiments.manipulate --logdir logs/digits --images 0,1 --attributes 3,8 --out manipulation.png
    python -m experiments.manipulate --logdir logs/faces --data faces.npz --images me.png --attributes smiling

A direction is the mean latent of the images with an attribute minus the mean of those without. They are
computed in one pass, and saved to --directions with a note of the weights and the data that they were made
of; a file that was made of the same is read instead, one of others is made anew. The data are the run's
training set, each label an attribute by its number; or --data, an npz with images uint8
[N, height, width, n_channels], attributes [N, A] of 0 and 1, and names [A].

The rows of the picture are images x attributes, its columns are the alphas: 0 is the image itself. A .gif
shows the columns one after the other. Labels play no part in the latents.
"""

import dataclasses
import hashlib
import os
import pathlib

import numpy as np
from absl import flags

import glow_tf
from experiments import cli, pictures, runs
from experiments.cli import UsageError, list_flags
from experiments.data import batches, chosen_images, npz, problems, sources
from experiments.served import directions

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
    n = run.hyperparameters.n_batch_test
    if not FLAGS.data:
        data = problems.load(run.hyperparameters, "train", FLAGS.download)
        # Each image once, not augmented.
        once = batches.test(data, run.hyperparameters, n)
        n_y = run.hyperparameters.n_y
        return _one_hot(data, once, n_y), run.hyperparameters.classes or [str(y) for y in range(n_y)]
    arrays = npz.read(FLAGS.data, ("images", "attributes", "names"))
    images, attributes, names = arrays["images"], arrays["attributes"], arrays["names"]
    shape = run.glow.config.image_shape
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise UsageError(
            f"--data {FLAGS.data}: images must be uint8 [N, {', '.join(map(str, shape))}], got "
            f"{images.dtype} {list(images.shape)}."
        )
    if names.ndim != 1 or names.dtype.kind not in "UiuS" or len(set(names.tolist())) != len(names):
        raise UsageError(
            f"--data {FLAGS.data}: names must be strings [A], each once, got {names.dtype} "
            f"{list(names.shape)}."
        )
    if attributes.shape != (len(images), len(names)) or not attributes.size:
        raise UsageError(
            f"--data {FLAGS.data}: attributes must be [{len(images)}, {len(names)}], as many as images and "
            f"names; got {list(attributes.shape)}."
        )
    wrong = attributes[~np.isin(attributes, (0, 1))]
    if wrong.size:
        raise UsageError(f"--data {FLAGS.data}: attributes must be 0 or 1, got {wrong[0].item()!r}.")
    parts = range(0, len(images), n)
    return ((images[i : i + n], attributes[i : i + n]) for i in parts), names.astype(str)


def made_of(run: runs.Run) -> dict:
    """Returns what directions of this run and these data are made of."""
    return dict(
        fingerprint=glow_tf.serving.fingerprint(run.glow),
        data=_data(run.hyperparameters),
        weights="polyak" if FLAGS.polyak else "raw",
        source=FLAGS.openai_checkpoint or FLAGS.logdir,
        step=run.step,
        n_bits_x=run.hyperparameters.n_bits_x,
    )


def _data(hyperparameters):
    """Says which images they are, without a look at the pixels of those that are many."""
    if FLAGS.data:
        with pathlib.Path(FLAGS.data).open("rb") as file:
            return dict(sha256=hashlib.file_digest(file, "sha256").hexdigest())
    data = {key: getattr(hyperparameters, key) for key in ("problem", "category", "data_dir", "image_size")}
    if hyperparameters.data_dir:
        listing = hashlib.sha256()
        for folder, folders, files in os.walk(hyperparameters.data_dir):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                about = os.stat(path) if os.path.exists(path) else None
                listing.update(repr((path, about and (about.st_size, about.st_mtime_ns))).encode())
        data["files"] = listing.hexdigest()
    return data


def find_directions(run: runs.Run, encode) -> directions.Directions:
    """Returns the directions of --directions if they were made of this run and these data; else makes them.

    Raises:
        UsageError: if --data, or what is in --directions, can't be read; if that doesn't say what it was made
            of: it may be the user's own.
    """
    labelled = labelled_batches(run) if FLAGS.data else None  # A mistake in it is said in either case.
    about = made_of(run)
    if pathlib.Path(FLAGS.directions).exists():
        known = directions.load(FLAGS.directions)
        if known.made_of is None:
            raise UsageError(
                f"{FLAGS.directions} doesn't say which weights and data its directions were made of. Remove "
                "it, or give another --directions, and they are made anew."
            )
        if known.is_of(about):
            return known
        other = "weights" if known.made_of.get("fingerprint") != about["fingerprint"] else "data"
        print(f"The directions in {FLAGS.directions} are of other {other}: they are made anew.")
    images, names = labelled or labelled_batches(run)
    known = dataclasses.replace(directions.compute(encode, images, names), made_of=about)
    known.save(FLAGS.directions)
    print(f"Wrote {len(known.names)} directions of {known.counts[0].sum()} images to {FLAGS.directions}.")
    return known


def _one_hot(data, once, n_y):
    with sources.failures(data):
        for images, labels, _ in once:
            yield images, labels.numpy()[:, None] == np.arange(n_y)


def main(argv):
    """Runs the command."""
    del argv
    pictures.require_name(FLAGS.out)
    alphas = list_flags.floats("alphas")
    run = runs.load_for_inference()
    signatures = glow_tf.serving.Signatures(glow_tf.serving.FrozenGlow(run.glow))
    images = chosen_images.load(run.hyperparameters, run.glow.config.image_shape, at_least=1)
    known = find_directions(run, lambda x: signatures.encode(x)["latents"])
    rows = directions.rows(images, known.chosen(FLAGS.attributes), alphas)
    moved = signatures.manipulate(**rows)["images"].numpy()
    pictures.save(moved.reshape(-1, *images.shape[1:]), len(alphas), FLAGS.out)
    print(f"Wrote {len(moved)} x {len(alphas)} images to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
