"""Evaluates a trained Glow: bits per dimension on every test image, each counted once.

    python -m experiments.evaluate --logdir logs/digits
    python -m experiments.evaluate --openai_checkpoint model_best_loss.ckpt --problem cifar10 ...

Prints one JSON object. "raw" are the weights themselves, which the original reports; "polyak" is their
average. "inverse_error" is max |decode_float(encode(x)) - x'| over the first batch. A number that is not
finite is null.
"""

import json

from absl import flags

from experiments import cli, runs
from experiments.data import datasets, sources
from experiments.runs import callbacks, invertibility

FLAGS = flags.FLAGS


def define_flags():
    runs.define_flags()
    datasets.define_flags()


def main(argv):
    del argv
    run = runs.load()
    hps = run.hps
    data = datasets.load(hps, "test", FLAGS.download, FLAGS.skip_corrupt)
    batches = datasets.test_batches(data, hps, hps["n_batch_test"])
    with sources.failures(data):
        if FLAGS.openai_checkpoint:
            results = {"raw": run.model.evaluate(batches, verbose=0, return_dict=True)}
        else:
            results = callbacks.evaluate_both(run, batches)
        error = invertibility.inverse_error(run, next(iter(batches)))
    about = dict(problem=hps["problem"], n_bits_x=hps["n_bits_x"], test_images=len(data))
    numbers = {key: callbacks.finite_or_null(value) for key, value in results.items()}
    numbers |= callbacks.finite_or_null(dict(inverse_error=error))
    print(json.dumps(about | numbers, indent=2))


if __name__ == "__main__":
    define_flags()
    cli.run(main)
