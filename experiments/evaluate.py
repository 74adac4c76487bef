"""Evaluates a trained Glow: bits per dimension on every test image, each counted once.

    python -m experiments.evaluate --logdir logs/digits
    python -m experiments.evaluate --openai_checkpoint model_best_loss.ckpt --problem cifar10 ...

Prints one JSON object. "raw" are the weights themselves, which the original reports; "polyak" is their
average. "inverse_error" is max |decode_float(encode(x)) - x'| over the first batch.
"""

import json

import tensorflow as tf
from absl import flags

from experiments import callbacks, datasets, hyperparameters, runs

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of the command."""
    runs.define_flags()
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")


def inverse_error(run: runs.Run, batch) -> float:
    """Returns the largest absolute error of decode_float(encode(x)) on a batch."""
    images, labels, noise = batch
    glow = run.glow

    @tf.function
    def error():
        restored = glow.decode_float(glow.encode(images, labels, noise), labels)
        return tf.reduce_max(tf.abs(restored - glow.dequantize(images, noise)))

    return float(error())


def main(argv):
    """Runs the command."""
    del argv
    run = runs.load()
    hps = run.hps
    data = datasets.load(hps, "test", FLAGS.download)
    batches = datasets.test_batches(data, hps, hps["n_batch_test"])
    if FLAGS.openai_checkpoint:
        results = {"raw": run.model.evaluate(batches, verbose=0, return_dict=True)}
    else:
        results = callbacks.evaluate_both(run, batches)
    about = dict(problem=hps["problem"], n_bits_x=hps["n_bits_x"], test_images=len(data))
    error = inverse_error(run, next(iter(batches)))
    print(json.dumps(about | results | dict(inverse_error=error), indent=2))


if __name__ == "__main__":
    define_flags()
    hyperparameters.run(main)
