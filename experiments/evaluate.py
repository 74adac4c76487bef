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
from experiments.data import batches, problems, sources
from experiments.runs import callbacks, invertibility

FLAGS = flags.FLAGS


def define_flags():
    runs.define_flags()
    problems.define_flags()


def main(argv):
    del argv
    run = runs.load()
    hyperparameters = run.hyperparameters
    data = problems.load(hyperparameters, "test", FLAGS.download, FLAGS.skip_corrupt)
    test = batches.test(data, hyperparameters, hyperparameters.n_batch_test)
    with sources.failures(data):
        if FLAGS.openai_checkpoint:
            results = {"raw": run.model.evaluate(test, verbose=0, return_dict=True)}
        else:
            results = callbacks.evaluate_both(run, test)
        error = invertibility.inverse_error(run, next(iter(test)))
    about = dict(problem=hyperparameters.problem, n_bits_x=hyperparameters.n_bits_x, test_images=len(data))
    numbers = {key: callbacks.finite_or_null(value) for key, value in results.items()}
    numbers |= callbacks.finite_or_null(dict(inverse_error=error))
    print(json.dumps(about | numbers, indent=2))


if __name__ == "__main__":
    define_flags()
    cli.run(main)
