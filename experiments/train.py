r"""Trains Glow.

The embedded default, handwritten digits, needs no download:

    python -m experiments.train --logdir logs/digits

Every training command of the original's README runs with `train.py` replaced, for example

    python -m experiments.train --problem cifar10 --image_size 32 --n_level 3 --depth 32 \
        --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8

A run that was stopped goes on when the same command is given again. The logdir gets hps.json,
train.txt, test.txt and test_polyak.txt (JSON lines), sample grids as PNG, TensorBoard's files, and the
checkpoints last/ and best/.
"""

import json
import pathlib

import tensorflow as tf
import tf_keras
from absl import flags

from experiments import callbacks, datasets, hyperparameters
from experiments.runs import Run
from glow_tf.training import NotFiniteError, ProgressBar, StopOnNotFinite

FLAGS = flags.FLAGS


def define_flags():
    """Defines the flags of the command."""
    hyperparameters.define_flags()
    flags.DEFINE_string("logdir", "logs/glow", "Where the run is written.")
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_bool("dry_run", False, "Print the resolved hyperparameters as JSON and exit.")


def strategy_for_devices() -> tf.distribute.Strategy:
    """Returns MirroredStrategy where there are several GPUs, else the default one."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def train(hps: dict, logdir: pathlib.Path, download: bool = False) -> Run:
    """Trains a run to its last epoch, from its last checkpoint if it has one.

    Args:
        hps: resolved hyperparameters.
        logdir: where the run is written.
        download: whether TFDS may download the dataset.

    Returns:
        The run.

    Raises:
        UsageError: if the data can't be read, the logdir holds another run, or the loss isn't finite.
    """
    train_data = datasets.load(hps, "train", download)
    test_data = datasets.load(hps, "test", download)
    hyperparameters.save(hps, logdir)
    tf_keras.utils.set_random_seed(hps["seed"])
    run = Run(hps, logdir)
    if run.saved("last"):
        run.restore("last")
        print(f"Going on with the run in {logdir} after epoch {int(run.epoch)}.", flush=True)
    else:
        images, labels, noise = datasets.init_batch(train_data, hps)
        run.glow.initialize(images, labels, noise)
    done = int(run.epoch)
    n_parameters = sum(int(tf.size(v)) for v in run.model.trainable_variables)
    print(
        f"{len(train_data)} training and {len(test_data)} test images, {n_parameters:,} parameters; "
        f"{hps['train_its']} steps an epoch, {run.batch_size} images a step.",
        flush=True,
    )
    try:
        run.model.fit(
            datasets.train_batches(train_data, hps, run.batch_size, done * hps["train_its"]),
            steps_per_epoch=hps["train_its"],
            initial_epoch=done,
            epochs=hps["epochs"],
            verbose=0,
            callbacks=[
                StopOnNotFinite(),
                ProgressBar(run.batch_size),
                callbacks.TrainLog(run),
                callbacks.Evaluation(run, datasets.test_batches(test_data, hps, hps["n_batch_test"])),
                callbacks.SampleGrids(run),
                tf_keras.callbacks.TensorBoard(str(logdir / "tensorboard"), write_graph=False),
                callbacks.LastCheckpoint(run),
            ],
        )
    except NotFiniteError as error:
        raise hyperparameters.UsageError(
            f"{error} The last good checkpoint is {run.saved('last')}. A longer --epochs_warmup or a "
            "smaller --lr may help."
        ) from error
    return run


def main(argv):
    """Runs the command."""
    del argv
    strategy = strategy_for_devices()
    hps = hyperparameters.resolve(hyperparameters.given_flags(), strategy.num_replicas_in_sync)
    if FLAGS.dry_run:
        print(json.dumps(hps, indent=2))
        return
    logdir = pathlib.Path(FLAGS.logdir)
    with strategy.scope():
        train(hps, logdir, FLAGS.download)
    print(f"Samples: {logdir}/epoch_*_sample_*.png. Curves: tensorboard --logdir {logdir}")


if __name__ == "__main__":
    define_flags()
    hyperparameters.run(main)
