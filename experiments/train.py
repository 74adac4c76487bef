r"""Trains Glow.

The embedded default, handwritten digits, needs no download:

    python -m experiments.train --logdir logs/digits

Every training command of the original's README runs with `train.py` replaced, for example

    python -m experiments.train --problem cifar10 --image_size 32 --n_level 3 --depth 32 \
        --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8

A run that was stopped, also by kill -9, goes on when the same command is given again, from at most
--save_every steps before. After SIGTERM it saves and exits with the code 75. The logdir gets hps.json,
train.txt, test.txt and test_polyak.txt (JSON lines), sample grids as PNG, TensorBoard's files, and the
checkpoints last/ and best/.
"""

import json
import pathlib
import sys

import tensorflow as tf
import tf_keras
from absl import flags

from experiments import callbacks, datasets, devices, hyperparameters, survival
from experiments.runs import Run
from glow_tf.training import STATISTICS, NotFiniteError, ProgressBar, StopOnNotFinite

FLAGS = flags.FLAGS

# A loss that explodes is many times what it costs to guess a pixel, n_bits_x.
_EXPLODED = 4


def define_flags():
    """Defines the flags of the command."""
    hyperparameters.define_flags()
    devices.define_flags()
    datasets.define_flags()
    flags.DEFINE_string("logdir", "logs/glow", "Where the run is written.")
    flags.DEFINE_integer(
        "save_every", 1000, "Steps between checkpoints, besides those at an epoch's end.", lower_bound=1
    )
    flags.DEFINE_bool("dry_run", False, "Print the resolved hyperparameters as JSON and exit.")


def train(
    hps: dict,
    logdir: pathlib.Path,
    download: bool = False,
    skip_corrupt: bool = False,
    save_every: int = 1000,
    jit_compile: bool = False,
) -> Run:
    """Trains a run to its last epoch, from its last checkpoint if it has one, under the strategy in scope.

    Args:
        hps: resolved hyperparameters.
        logdir: where the run is written.
        download: whether TFDS may download the dataset.
        skip_corrupt: whether bad images are left out.
        save_every: int, steps between checkpoints.
        jit_compile: whether XLA compiles the training step.

    Returns:
        The run.

    Raises:
        UsageError: if the data can't be read, the logdir holds another run, the loss isn't finite or
            explodes, the disk is full, or another worker is gone.
        Terminated: after SIGTERM.
    """
    hps = hyperparameters.as_begun(hps, logdir)
    train_data = datasets.load(hps, "train", download, skip_corrupt)
    test_data = datasets.load(hps, "test", download, skip_corrupt)
    run = None
    try:
        if tf.distribute.get_strategy().extended.should_checkpoint:  # The other workers write nothing.
            hyperparameters.save(hps, logdir)
        tf_keras.utils.set_random_seed(hps["seed"])
        run = Run(hps, logdir, jit_compile)
        _start(run, train_data, test_data)
        _fit(run, train_data, test_data, save_every)
    except (NotFiniteError, OSError, tf.errors.OpError) as error:
        last = run and run.saved("last")
        good = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
        if isinstance(error, NotFiniteError):
            advice = "A longer --epochs_warmup, a smaller --lr, or --clip_norm 1 may help, in a new --logdir."
            raise hyperparameters.UsageError(f"{error} {good} {advice}") from error
        for data in (train_data, test_data):
            if getattr(data, "failure", None):
                raise data.failure from error
        reason = survival.reason(error)
        if reason is None:
            raise
        raise hyperparameters.UsageError(f"{reason} {good} The same command goes on from there.") from error
    return run


def _start(run, train_data, test_data):
    """Restores the run, or initialises it from the data, and says so."""
    hps = run.hps
    if found := getattr(train_data, "found", None):
        run.tell(found)
    if run.saved("last"):
        run.restore("last")
        epochs, steps = divmod(run.step, hps["train_its"])
        within = f" and {steps} steps" if steps else ""
        run.tell(f"Going on with the run in {run.logdir} after epoch {epochs}{within}.")
    else:
        images, labels, noise = datasets.init_batch(train_data, hps)
        run.glow.initialize(images, labels, noise)
    n_parameters = sum(int(tf.size(v)) for v in run.model.trainable_variables)
    run.tell(
        f"{len(train_data)} training and {len(test_data)} test images, {n_parameters:,} parameters; "
        f"{hps['train_its']} steps an epoch, {run.batch_size} images a step."
    )


def _fit(run, train_data, test_data, save_every):
    """Makes the steps that are left."""
    hps, strategy = run.hps, tf.distribute.get_strategy()
    test_batches, n_test_batches = datasets.distributed_test_batches(strategy, test_data, hps)
    fixed_batch = next(iter(datasets.test_batches(test_data, hps, hps["n_batch_test"])))
    log = callbacks.TrainLog(run)
    survives = survival.Survival(run, save_every)
    parts = [
        StopOnNotFinite(_EXPLODED * hps["n_bits_x"], first_step=run.step % hps["train_its"]),
        survives,
        callbacks.Rate(run),
        callbacks.Evaluation(run, test_batches, n_test_batches, fixed_batch),
        callbacks.SampleGrids(run),
    ]
    if run.is_chief:
        parts.insert(2, ProgressBar(run.batch_size))
        parts.append(tf_keras.callbacks.TensorBoard(str(run.logdir / "tensorboard"), write_graph=False))
    parts.append(log)

    def fit(first_epoch, epochs, n_steps):
        run.model.fit(
            datasets.distributed_train_batches(strategy, train_data, hps, run.batch_size, run.step),
            steps_per_epoch=n_steps,
            initial_epoch=first_epoch,
            epochs=epochs,
            verbose=0,
            callbacks=parts,
        )

    try:
        _fit_epochs(run, fit, parts, log.epochs_done)
    finally:
        survives.close()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        _wait_for_all(strategy)


def _fit_epochs(run, fit, parts, epochs_done):
    """Makes the rest of a cut epoch, or what comes at the end of one; then whole epochs."""
    its, epochs = run.hps["train_its"], run.hps["epochs"]
    epoch, steps = divmod(run.step, its)
    if steps:
        fit(epoch, epoch + 1, its - steps)
        epoch += 1
    elif epochs_done < epoch:
        # All its steps were made, but the process ended before what comes at the end of an epoch.
        all_parts = tf_keras.callbacks.CallbackList(parts, model=run.model, epochs=epoch, steps=its)
        all_parts.on_train_begin()
        all_parts.on_epoch_begin(epoch - 1)
        all_parts.on_epoch_end(epoch - 1, dict(zip(STATISTICS, run.means.numpy().tolist(), strict=True)))
        all_parts.on_train_end()
    if epoch < epochs:
        fit(epoch, epochs, its)


@tf.function
def _wait_for_all(strategy):
    """Waits for the chief, which writes and draws: a worker that left earlier would end it."""
    return strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)


def main(argv):
    """Runs the command."""
    del argv
    strategy = devices.strategy()
    hps = hyperparameters.resolve(hyperparameters.given_flags(), strategy.num_replicas_in_sync)
    if FLAGS.dry_run:
        print(json.dumps(hps, indent=2))
        return
    logdir = pathlib.Path(FLAGS.logdir)
    with strategy.scope():
        try:
            run = train(hps, logdir, FLAGS.download, FLAGS.skip_corrupt, FLAGS.save_every, FLAGS.xla)
        except survival.Terminated as end:
            print(f"{end} The same command goes on from there.", file=sys.stderr)
            sys.exit(survival.TERMINATED)
        run.tell(f"Samples: {logdir}/epoch_*_sample_*.png. Curves: tensorboard --logdir {logdir}")


if __name__ == "__main__":
    define_flags()
    hyperparameters.run(main)
