"""Draws samples of a trained Glow as a picture.

    python -m experiments.sample --logdir logs/digits --out samples.png
    python -m experiments.sample --logdir logs/digits --temperature 0,0.5,0.7,1 --rows 1
    python -m experiments.sample --logdir logs/digits --labels 3,5,8 --temperature 0.5,0.7,0.9

A row has ten images; with labels, image i of a row has label i mod n_y, or the i-th of --labels. Several
temperatures make one block of rows each, in the order given; the same latents, scaled. A .gif shows the
blocks one after the other.
"""

import tensorflow as tf
from absl import flags

from experiments import cli, pictures, runs
from experiments.cli import UsageError, number_lists

FLAGS = flags.FLAGS
COLUMNS = 10
_HOTTEST = 1000  # Far beyond what an image shows, and far within float32.


def define_flags():
    runs.define_inference_flags()
    flags.DEFINE_list("temperature", ["0.7"], "Temperatures, each at least 0.")
    flags.DEFINE_list("labels", [], "Labels of the columns, for a model that is conditioned on them.")
    flags.DEFINE_integer("rows", 10, "Rows per temperature.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_string("out", "samples.png", "The .png or .gif to write.")


def _temperatures() -> list[float]:
    values = number_lists.floats("temperature")
    for value in values:
        if not 0 <= value <= _HOTTEST:
            raise UsageError(f"--temperature must be from 0 to {_HOTTEST}, got {value}.")
    return values


def _column_labels(hyperparameters) -> list[int]:
    labels, n_y = number_lists.integers("labels"), hyperparameters.n_y
    if labels and not hyperparameters.ycond:
        raise UsageError("--labels is for a model that is conditioned on labels (--ycond).")
    for label in labels:
        if not 0 <= label < n_y:
            raise UsageError(f"--labels must be from 0 to {n_y - 1}, got {label}.")
    return labels or [column % n_y for column in range(COLUMNS)]


def main(argv):
    del argv
    pictures.require_name(FLAGS.out)
    temperatures = _temperatures()
    run = runs.load_for_inference()
    labels = _column_labels(run.hyperparameters)
    y = tf.tile(labels, [FLAGS.rows])
    sample = tf.function(
        lambda temperature: run.glow.sample(
            len(y), y if run.hyperparameters.ycond else None, temperature, seed=[FLAGS.seed or 0, 0]
        ),
        autograph=False,
    )
    blocks = [sample(tf.constant(t)).numpy() for t in temperatures]
    pictures.save_blocks(blocks, len(labels), FLAGS.out)
    print(f"Wrote {len(blocks) * len(y)} samples to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main, first="logdir out labels temperature rows checkpoint polyak openai_checkpoint")
