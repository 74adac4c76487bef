"""Draws samples of a trained Glow as a picture.

    python -m experiments.sample --logdir logs/digits --out samples.png
    python -m experiments.sample --logdir logs/digits --temperature 0,0.5,0.7,1 --rows 1

A row has ten images; with labels, image i of a row has label i mod n_y. Several temperatures make one
block of rows each, in the order given.
"""

import math

import numpy as np
import tensorflow as tf
from absl import flags

from experiments import hyperparameters, pictures, runs

FLAGS = flags.FLAGS
COLUMNS = 10


def define_flags():
    """Defines the flags of the command."""
    runs.define_flags()
    flags.DEFINE_list("temperature", ["0.7"], "Temperatures, each at least 0.")
    flags.DEFINE_integer("rows", 10, "Rows a temperature.", lower_bound=1)
    flags.DEFINE_string("out", "samples.png", "The picture to write.")
    flags.DEFINE_bool("polyak", False, "Use the Polyak average of the weights instead of the raw ones.")


def _temperatures() -> list[float]:
    try:
        values = [float(value) for value in FLAGS.temperature]
    except ValueError as error:
        raise hyperparameters.UsageError(f"--temperature takes numbers: {error}.") from error
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise hyperparameters.UsageError(f"--temperature must be at least 0, got {value}.")
    return values


def main(argv):
    """Runs the command."""
    del argv
    temperatures = _temperatures()
    run = runs.load()
    if FLAGS.polyak:
        if FLAGS.openai_checkpoint:
            raise hyperparameters.UsageError("--polyak is for runs, not for --openai_checkpoint.")
        for variable in run.model.trainable_variables:
            variable.assign(run.optimizer.polyak_average(variable))
    y = tf.tile(tf.range(COLUMNS) % run.hps["n_y"], [FLAGS.rows])
    sample = tf.function(
        lambda temperature: run.glow.sample(
            len(y), y if run.hps["ycond"] else None, temperature, seed=[FLAGS.seed or 0, 0]
        )
    )
    images = np.concatenate([sample(tf.constant(t)).numpy() for t in temperatures])
    pictures.save_grid(images, COLUMNS, FLAGS.out)
    print(f"Wrote {len(images)} samples to {FLAGS.out}.")


if __name__ == "__main__":
    define_flags()
    hyperparameters.run(main)
