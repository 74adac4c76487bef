"""Evaluates a trained Glow: bits per dimension on every test image, each counted once.

    python -m experiments.evaluate --logdir logs/digits
    python -m experiments.evaluate --logdir logs/digits --draws 16
    python -m experiments.evaluate --openai_checkpoint model_best_loss.ckpt --problem cifar10 ...

Prints one JSON object. "raw" are the weights themselves, which the original reports; "polyak" is their
average. "inverse_error" is max |decode_float(encode(x)) - x'| over the first batch. A number that is not
finite is null.

These are of one draw of the dequantisation noise per image, as the original's. --draws k adds "draws":
"bits_x", the mean over k draws, of which the first is that one, and its standard error over the draws; and
"importance_weighted_bound", the mean over the images of -log2(mean over the draws of p) / M, and its
standard error over the images. Both bound from above, in expectation, what an image takes; the second one
is the tighter the larger k is (Burda et al. 2016): report k with it, and don't compare it with the number
of one draw.
"""

import json

from absl import flags

from experiments import cli, runs
from experiments.data import batches, problems, sources
from experiments.runs import callbacks, invertibility
from experiments.runs.draws import Draws

FLAGS = flags.FLAGS


def define_flags():
    runs.define_flags()
    problems.define_flags()
    flags.DEFINE_integer(
        "draws",
        0,
        "Further numbers, of so many draws of the dequantisation noise: mean bits per dimension, and the "
        "importance-weighted bound -log2(mean p) / M, with their standard errors. It takes as many times as "
        "long. 0: none.",
        lower_bound=0,
        upper_bound=10**6,
    )


def main(argv):
    del argv
    run = runs.load()
    hyperparameters = run.hyperparameters
    data = problems.load(hyperparameters, "test", FLAGS.download, FLAGS.skip_corrupt)
    test = batches.test(data, hyperparameters, hyperparameters.n_batch_test)
    for_model = test.map(batches.for_model(hyperparameters))
    with sources.failures(data):
        if FLAGS.openai_checkpoint:
            results = {"raw": run.model.evaluate(for_model, verbose=0, return_dict=True)}
        else:
            results = callbacks.evaluate_both(run, for_model)
        error = invertibility.inverse_error(run, next(iter(test)))
        draws = _over_draws(run, data) if FLAGS.draws else {}
    about = dict(problem=hyperparameters.problem, n_bits_x=hyperparameters.n_bits_x, test_images=len(data))
    numbers = {key: callbacks.finite_or_null(value) for key, value in results.items()}
    numbers |= callbacks.finite_or_null(dict(inverse_error=error))
    print(json.dumps(about | numbers | draws, indent=2))


def _over_draws(run, data):
    """Returns what --draws adds."""
    measure, draws = Draws(run, data, FLAGS.draws).measure, dict(k=FLAGS.draws)
    draws["raw"] = callbacks.finite_or_null(measure())
    if not FLAGS.openai_checkpoint:
        with run.optimizer.averaged_weights(run.model.trainable_variables):
            draws["polyak"] = callbacks.finite_or_null(measure())
    return dict(draws=draws)


if __name__ == "__main__":
    define_flags()
    cli.run(main, first="logdir checkpoint draws openai_checkpoint n_batch_test")
