r"""Trains Glow.

The embedded default, handwritten digits, needs no download:

    python -m experiments.train --logdir logs/digits

Every training command of the original's README runs with `train.py` replaced, for example

    python -m experiments.train --problem cifar10 --image_size 32 --n_level 3 --depth 32 \
        --flow_permutation 2 --flow_coupling 1 --seed 0 --learntop --lr 0.001 --n_bits_x 8

A run that was stopped, also by kill -9, goes on when the same command is given again, or --logdir alone, from
at most --save_every steps before. After Ctrl-C, SIGTERM or SIGHUP it saves and exits with the code 75. The
logdir gets hps.json, train.txt, test.txt and test_polyak.txt (JSON lines), sample grids as PNG, TensorBoard's
files, and the checkpoints last/ and best/; one process at a time trains in it.
"""

import contextlib
import json
import math
import pathlib
import sys

import tensorflow as tf
import tf_keras
from absl import flags

from experiments import cli, settings
from experiments.cli import UsageError
from experiments.data import batches, problems
from experiments.runs import Run, devices, interruptions, require_memory
from experiments.runs.callbacks import EndOfEpoch
from experiments.runs.logdir import Logdir
from experiments.settings import hps_json
from glow_tf.training import STATISTICS, NotFiniteError, ProgressBar, StopOnNotFinite

FLAGS = flags.FLAGS

# What --help shows on top.
FIRST = "logdir problem data_dir image_size n_bits_x n_levels depth width n_batch_train epochs"

# A loss that explodes is many times what it costs to guess a pixel, n_bits_x.
_EXPLODED = 4


def define_flags():
    settings.define_flags()
    devices.define_flags()
    problems.define_flags()
    flags.DEFINE_string("logdir", "logs/glow", "Where the run is written.")
    flags.DEFINE_integer(
        "save_every", 1000, "Steps between checkpoints, besides those at an epoch's end.", lower_bound=1
    )
    flags.DEFINE_bool("dry_run", False, "Print the resolved hyperparameters as JSON and exit.")


def train(
    hyperparameters: settings.Hyperparameters,
    logdir: pathlib.Path,
    download: bool = False,
    skip_corrupt: bool = False,
    save_every: int = 1000,
    jit_compile: bool = False,
    micro_batch: int | None = None,
) -> Run:
    """Trains a run to its last epoch, from its last checkpoint if it has one, under the strategy in scope.

    Args:
        hyperparameters: resolved.
        logdir: where the run is written.
        download: whether TFDS may download the dataset.
        skip_corrupt: whether bad images are left out.
        save_every: int, steps between checkpoints.
        jit_compile: whether XLA compiles the training step.
        micro_batch: int, how many images a replica computes at once; its whole share of a batch unless given.

    Returns:
        The run.

    Raises:
        UsageError: if the data can't be read, the logdir holds another run or can't be written, another
            process trains there, a loss or a weight isn't finite, the loss explodes, the disk is full, or
            another worker is gone.
        Terminated: after SIGTERM, SIGINT or SIGHUP.
    """
    hyperparameters = hps_json.as_begun(hyperparameters, logdir)
    # The other workers write nothing.
    is_chief = tf.distribute.get_strategy().extended.should_checkpoint
    with (
        interruptions.Signals() as signals,
        Logdir(logdir) if is_chief else contextlib.nullcontext(logdir) as folder,
    ):
        if is_chief and settings.warning(hyperparameters):
            print(f"warning: {settings.warning(hyperparameters)}", file=sys.stderr)
        train_data = problems.load(hyperparameters, "train", download, skip_corrupt)
        test_data = problems.load(hyperparameters, "test", download, skip_corrupt)
        at_once = max(hyperparameters.batch_size, hyperparameters.n_batch_test)
        at_once = math.ceil(at_once / tf.distribute.get_strategy().num_replicas_in_sync)
        at_once = min(at_once, micro_batch or at_once)
        n_init = min(hyperparameters.local_batch_init, len(train_data))
        require_memory(hyperparameters, at_once, hyperparameters.batch_size, n_init)
        run = None
        try:
            tf_keras.utils.set_random_seed(hyperparameters.seed)
            run = Run(hyperparameters, folder, jit_compile, micro_batch)
            if is_chief:
                hps_json.save(hyperparameters, run.logdir)
            run.require_space()
            _start(run, train_data, test_data)
            _fit(run, train_data, test_data, save_every, signals)
        except (NotFiniteError, OSError, MemoryError, tf.errors.OpError) as error:
            for data in (train_data, test_data):
                if data.failure:
                    raise data.failure from error
            said = _explain(error, run, hyperparameters)
            if said is None:
                raise
            raise UsageError(said) from error
    return run


def _explain(error, run, hyperparameters) -> str | None:
    """Returns what to say of an error in the training, or None if it may be the program's fault."""
    last = run and run.saved("last")
    good = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
    # A weight that isn't finite makes operations fail before it makes a loss that isn't.
    wrong = str(error) if isinstance(error, NotFiniteError) else run and run.not_finite()
    if wrong is None and "not invertible" in str(error):
        wrong = f"After training step {run.step}, the matrix of a 1x1 convolution has no inverse."
    if wrong:
        advice = settings.warning(hyperparameters) or (
            "A longer --epochs_warmup, a smaller --lr, or --clip_norm 1 may help."
        )
        return f"{wrong} {good} The same command comes to this again. {advice} Train so in a new --logdir."
    reason = interruptions.reason(error)
    return reason and f"{reason} {good} The same command goes on from there."


def _start(run, train_data, test_data):
    """Restores the run, or initialises it from the data, and says so."""
    hyperparameters = run.hyperparameters
    if train_data.found:
        run.tell(train_data.found)
    if run.saved("last"):
        run.restore("last")
        epochs, steps = divmod(run.step, hyperparameters.train_its)
        within = f" and {steps} steps" if steps else ""
        run.tell(f"Going on with the run in {run.logdir} after epoch {epochs}{within}.")
    else:
        images, labels, noise = batches.init(train_data, hyperparameters)
        try:
            run.glow.initialize(images, labels, noise)
        except ValueError as error:  # Images that can't start a model.
            raise UsageError(f"The data-dependent initialisation failed: {error}") from error
    n_parameters = sum(int(tf.size(v)) for v in run.model.trainable_variables)
    n_replicas, at_once = tf.distribute.get_strategy().num_replicas_in_sync, run.model.micro_batch
    share = math.ceil(run.batch_size / n_replicas)
    divided = f", {share} on each of {n_replicas} devices" if n_replicas > 1 else ""
    divided += f", at most {at_once} at once" if at_once and at_once < share else ""
    run.tell(
        f"{len(train_data)} training and {len(test_data)} test images, {n_parameters:,} parameters; "
        f"{hyperparameters.train_its} steps per epoch, {run.batch_size} images per step{divided}."
    )


def _fit(run, train_data, test_data, save_every, signals):
    """Trains to the last epoch, the rest of a cut one first."""
    hyperparameters, strategy = run.hyperparameters, tf.distribute.get_strategy()
    test, n_test = batches.distributed_test(strategy, test_data, hyperparameters)
    fixed_batch = next(iter(batches.test(test_data, hyperparameters, hyperparameters.n_batch_test)))
    stops = StopOnNotFinite(
        _EXPLODED * hyperparameters.n_bits_x, first_step=run.step % hyperparameters.train_its
    )
    saves = interruptions.SaveAndStop(run, save_every, signals)
    bar = ProgressBar(run.batch_size, disable=not run.is_chief)
    end_of_epoch = EndOfEpoch(run, test, n_test, fixed_batch, [saves])
    parts = [
        stops,  # First: what isn't finite isn't saved.
        saves,  # Before the bar, so that a step is saved before a terminal that is gone can fail.
        bar,  # Closed before the end of the epoch prints.
        end_of_epoch,  # Last: it reads the epoch's statistics; its row in train.txt says that all is done.
    ]

    def fit(first_epoch, epochs, n_steps):
        run.model.fit(
            batches.distributed_train(strategy, train_data, hyperparameters, run.step),
            steps_per_epoch=n_steps,
            initial_epoch=first_epoch,
            epochs=epochs,
            verbose=0,
            callbacks=parts,
        )

    its, epochs = hyperparameters.train_its, hyperparameters.epochs
    epoch, steps = divmod(run.step, its)
    try:
        if steps:
            fit(epoch, epoch + 1, its - steps)
            epoch += 1
        elif end_of_epoch.epochs_done < epoch:
            # All its steps were made, but the process ended before what comes at the end of an epoch.
            end_of_epoch.end(epoch, dict(zip(STATISTICS, run.means.numpy().tolist(), strict=True)))
        if epoch < epochs:
            fit(epoch, epochs, its)
    finally:
        with contextlib.suppress(OSError):  # The terminal may be gone.
            bar.close()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        _wait_for_all(strategy)


@tf.function(autograph=False)
def _wait_for_all(strategy):
    """Waits for the chief, which writes and draws: a worker that left earlier would end it."""
    return strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)


def main(argv):
    del argv
    if not FLAGS.logdir:
        raise UsageError("--logdir must name a folder, got ''.")
    logdir = pathlib.Path(FLAGS.logdir)
    given = settings.given_flags()
    asked_for = devices.asked_for()
    there = logdir if FLAGS["logdir"].present or not FLAGS.dry_run else None
    hyperparameters = hps_json.going_on(there, given)
    if FLAGS.dry_run:
        print(json.dumps(hps_json.to_json(hyperparameters), indent=2))
        return
    with asked_for.strategy().scope():
        try:
            run = train(
                hyperparameters,
                logdir,
                FLAGS.download,
                FLAGS.skip_corrupt,
                FLAGS.save_every,
                FLAGS.xla,
                FLAGS.micro_batch or None,
            )
        except interruptions.Terminated as end:
            with contextlib.suppress(OSError):  # The terminal may be gone.
                print(end, file=sys.stderr)
            sys.exit(interruptions.TERMINATED)
        run.tell(f"Samples: {logdir}/epoch_*_sample_*.png. Curves: tensorboard --logdir {logdir}")


if __name__ == "__main__":
    define_flags()
    cli.run(main, first=FIRST)
