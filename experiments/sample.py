"""Draws samples of a trained Glow as a picture.

    python -m experiments.sample --logdir logs/digits --out samples.png
    python -m experiments.sample --logdir logs/digits --temperature 0,0.5,0.7,1 --rows 1
    python -m experiments.sample --logdir logs/digits --labels 3,5,8 --temperature 0.5,0.7,0.9

A row has ten images; with labels, image i of a row has label i mod n_y, or the i-th of --labels. Several
temperatures make one block of rows each, in the order given; the same latents, scaled. A .gif shows the
blocks one after the other.

A run with --context lowres:K makes small pictures larger, one per column: test images that were made
smaller, or

    python -m experiments.sample --logdir logs/larger --context_images small.png,pictures/
"""

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import cli, pictures, runs
from experiments.cli import UsageError, number_lists
from experiments.data import context_images, contexts

FLAGS = flags.FLAGS
COLUMNS = 10
_HOTTEST = 1000  # Far beyond what an image shows, and far within float32.


def define_flags():
    runs.define_inference_flags()
    flags.DEFINE_list("temperature", ["0.7"], "Temperatures, each at least 0.")
    flags.DEFINE_list("labels", [], "Labels of the columns, for a model that is conditioned on them.")
    context_images.define()
    flags.DEFINE_integer("rows", 10, "Rows per temperature.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_string("out", "samples.png", "The .png or .gif to write.")


def _temperatures() -> list[float]:
    values = number_lists.floats("temperature")
    for value in values:
        if not 0 <= value <= _HOTTEST:
            raise UsageError(f"--temperature must be from 0 to {_HOTTEST}, got {value}.")
    return values


def _given_labels(hyperparameters) -> list[int]:
    labels, n_y = number_lists.integers("labels"), hyperparameters.n_y
    if labels and not hyperparameters.labelled:
        raise UsageError("--labels is for a model that is conditioned on labels (--ycond, --context label).")
    for label in labels:
        if not 0 <= label < n_y:
            raise UsageError(f"--labels must be from 0 to {n_y - 1}, got {label}.")
    return labels


def _columns(run) -> tuple[int, dict]:
    """Returns how many columns there are, and the arguments y and context of `Glow.sample` for a row."""
    hyperparameters, labels = run.hyperparameters, _given_labels(run.hyperparameters)
    if not isinstance(run.context, contexts.LowResolution):
        if FLAGS.context_images:
            raise UsageError("--context_images is for a run that was trained with --context lowres:K.")
        labels = labels or [column % hyperparameters.n_y for column in range(COLUMNS)]
        return len(labels), run.conditions(None, tf.constant(labels))
    context, known = context_images.load(hyperparameters, run.context)
    n = len(known)
    if not hyperparameters.ycond:
        return n, dict(context=context)
    labels = labels or known
    if None in labels:
        raise UsageError(
            f"This run is conditioned on labels too, and picture files have none: give {n} --labels, one for "
            "each of the --context_images."
        )
    if len(labels) != n:
        raise UsageError(f"--labels must be one for each of the {n} --context_images, got {len(labels)}.")
    return n, dict(y=tf.constant(labels), context=context)


def main(argv):
    del argv
    pictures.require_name(FLAGS.out)
    temperatures = _temperatures()
    run = runs.load_for_inference()
    columns, row = _columns(run)
    column = np.tile(np.arange(columns), FLAGS.rows)
    given = {name: tf.gather(values, column) for name, values in row.items()}

    @tf.function(autograph=False)
    def sample(temperature):
        return run.glow.sample(len(column), temperature=temperature, seed=[FLAGS.seed or 0, 0], **given)

    blocks = [sample(tf.constant(t)).numpy() for t in temperatures]
    pictures.save_blocks(blocks, columns, FLAGS.out)
    print(f"Wrote {len(blocks) * len(column)} samples to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    first = "logdir out labels context_images temperature rows checkpoint polyak openai_checkpoint"
    cli.run(main, first=first)
