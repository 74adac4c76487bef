"""A run: its model, optimizer and checkpoints in a logdir."""

import pathlib

import tensorflow as tf
from absl import flags

import glow_tf
from experiments import hyperparameters
from experiments.hyperparameters import UsageError
from glow_tf.training import GlowModel

WEIGHTS = ("raw", "polyak")


class Run:
    """Model, optimizer, and the checkpoints `last` and `best` in a logdir."""

    def __init__(self, hps: dict, logdir):
        """Makes them from resolved hyperparameters; nothing is read."""
        self.hps = hps
        self.logdir = pathlib.Path(logdir)
        self.glow = glow_tf.Glow(hyperparameters.glow_config(hps), seed=hps["seed"])
        self.model = GlowModel(self.glow, hps["weight_y"])
        kind = {"adamax": glow_tf.optimizers.Adamax, "adam": glow_tf.optimizers.Adam}
        warmup_steps = hps["n_train"] * hps["epochs_warmup"] / self._processed_a_step
        self.optimizer = kind[hps["optimizer"]](
            glow_tf.optimizers.WarmUp(hps["lr"], warmup_steps),
            hps["beta1"],
            hps["beta2"],
            hps["weight_decay"],
        )
        # Now, so that the Polyak average starts at the weights before data-dependent initialisation.
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=self.optimizer, weighted_metrics=[])
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        checkpoint = tf.train.Checkpoint(glow=self.glow, optimizer=self.optimizer, epoch=self.epoch)
        self._managers = {
            name: tf.train.CheckpointManager(checkpoint, str(self.logdir / name), max_to_keep=1)
            for name in ("last", "best")
        }

    @property
    def batch_size(self) -> int:
        """Images a training step, all replicas together."""
        return self.hps["local_batch_train"] * tf.distribute.get_strategy().num_replicas_in_sync

    @property
    def _processed_a_step(self) -> int:
        return self.hps["n_batch_train"] * tf.distribute.get_strategy().num_replicas_in_sync

    @property
    def n_processed(self) -> int:
        """Images so far, at the anchor size, which the original's schedule counts."""
        return int(self.optimizer.iterations) * self._processed_a_step

    @property
    def n_images(self) -> int:
        """Images so far."""
        return int(self.optimizer.iterations) * self.batch_size

    def save(self, name: str) -> str:
        """Writes the checkpoint `last` or `best`; returns its prefix."""
        return self._managers[name].save(int(self.epoch))

    def saved(self, name: str) -> str | None:
        """Returns the prefix of the checkpoint `last` or `best`, or None."""
        return self._managers[name].latest_checkpoint

    def restore(self, name: str) -> None:
        """Reads the checkpoint `last` or `best`.

        Raises:
            UsageError: if there is none, or it doesn't fit.
        """
        prefix = self.saved(name)
        if prefix is None:
            raise UsageError(f"There is no checkpoint {name!r} in {self.logdir}.")
        try:
            status = self._managers[name].checkpoint.restore(prefix)
            status.assert_existing_objects_matched()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise UsageError(f"The checkpoint {prefix} can't be read: {error}") from error


def define_flags():
    """Defines the flags that say which trained model a command takes, and the original's."""
    hyperparameters.define_flags()
    flags.DEFINE_string("logdir", None, "The run to read.")
    flags.DEFINE_string(
        "openai_checkpoint", None, "Prefix of one of OpenAI's TF1 checkpoints, instead of a run."
    )
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")


def load(n_replicas: int = 1) -> Run:
    """Returns the run that the flags name, with its weights.

    Raises:
        UsageError: if they name none or two, or it can't be read.
    """
    f = flags.FLAGS
    if bool(f.logdir) == bool(f.openai_checkpoint):
        raise UsageError("Give either --logdir (a run) or --openai_checkpoint (a prefix).")
    given = hyperparameters.given_flags()
    if f.logdir:
        logdir = pathlib.Path(f.logdir)
        hps = hyperparameters.load(logdir)
        reading = ("data_dir", "n_test", "n_batch_test")
        hps |= {k: given[k] for k in reading if given[k] is not None}
        run = Run(hps, logdir)
        run.restore(f.checkpoint if run.saved(f.checkpoint) else "last")
        return run
    run = Run(hyperparameters.resolve(given, n_replicas), ".")
    try:
        glow_tf.openai_checkpoint.restore(run.glow, f.openai_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    return run


def define_inference_flags():
    """Defines the flags of `load_for_inference`."""
    define_flags()
    flags.DEFINE_bool("polyak", False, "Use the Polyak average of the weights instead of the raw ones.")


def load_for_inference() -> Run:
    """Returns the run that the flags name, with the raw weights or, with --polyak, their average.

    Raises:
        UsageError: as `load`; and for --polyak with a checkpoint of OpenAI's.
    """
    if flags.FLAGS.polyak and flags.FLAGS.openai_checkpoint:
        raise UsageError("--polyak is for runs, not for --openai_checkpoint.")
    run = load()
    if flags.FLAGS.polyak:
        for variable in run.model.trainable_variables:
            variable.assign(run.optimizer.polyak_average(variable))
    return run
