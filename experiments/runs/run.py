"""A run: its model, optimizer and checkpoints in a logdir."""

import os
import pathlib

import tensorflow as tf
from absl import flags

import glow_tf
from experiments import settings
from experiments.cli import UsageError
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.logdir import Logdir
from experiments.settings import hps_json, parameter_count
from glow_tf.training import STATISTICS, GlowModel, NotFiniteError

WEIGHTS = ("raw", "polyak")
N_LAST = 3  # Checkpoints `last` that are kept.


class Run:
    """Model, optimizer, and the checkpoints `last` and `best` in a logdir."""

    def __init__(self, hyperparameters: settings.Hyperparameters, logdir, jit_compile: bool = False):
        """Makes them from resolved hyperparameters; nothing is read.

        Args:
            hyperparameters: resolved.
            logdir: where the checkpoints are; to train and write there, a `Logdir`.
            jit_compile: whether XLA compiles the training step.

        Raises:
            UsageError: if the weights are more than the memory.
        """
        require_memory(hyperparameters)
        self.hyperparameters = hyperparameters
        self._keeper = logdir if isinstance(logdir, Logdir) else None
        self.logdir = logdir.path if isinstance(logdir, Logdir) else pathlib.Path(logdir)
        self.glow = glow_tf.Glow(settings.glow_config(hyperparameters), seed=hyperparameters.seed)
        self.model = GlowModel(self.glow, hyperparameters.weight_y)
        kind = {"adamax": glow_tf.optimizers.Adamax, "adam": glow_tf.optimizers.Adam}
        warmup_steps = hyperparameters.n_train * hyperparameters.epochs_warmup / self._processed_a_step
        self.optimizer = kind[hyperparameters.optimizer](
            glow_tf.optimizers.WarmUp(hyperparameters.lr, warmup_steps),
            hyperparameters.beta1,
            hyperparameters.beta2,
            hyperparameters.weight_decay,
            global_clipnorm=hyperparameters.clip_norm or None,
        )
        # Now, so that the Polyak average starts at the weights before data-dependent initialisation.
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=self.optimizer, weighted_metrics=[], jit_compile=jit_compile)
        # The means of the statistics over the epoch so far, for an epoch that is cut.
        self.means = tf.Variable(tf.zeros([len(STATISTICS)]), trainable=False, name="means")
        weights = dict(glow=self.glow, optimizer=self.optimizer)
        self._checkpoints = {
            "last": Checkpoints(
                tf.train.Checkpoint(**weights, means=self.means), self.logdir / "last", N_LAST
            ),
            "best": Checkpoints(tf.train.Checkpoint(**weights), self.logdir / "best", 1),
        }

    @property
    def step(self) -> int:
        """Training steps so far."""
        return int(self.optimizer.iterations.numpy())

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the logdir: the first worker, or the only one."""
        return tf.distribute.get_strategy().extended.should_checkpoint

    @property
    def batch_size(self) -> int:
        """Images a training step, all replicas together."""
        return self.hyperparameters.local_batch_train * tf.distribute.get_strategy().num_replicas_in_sync

    @property
    def _processed_a_step(self) -> int:
        return self.hyperparameters.n_batch_train * tf.distribute.get_strategy().num_replicas_in_sync

    @property
    def n_processed(self) -> int:
        """Images so far, at the anchor size, which the original's schedule counts."""
        return self.step * self._processed_a_step

    @property
    def n_images(self) -> int:
        """Images so far."""
        return self.step * self.batch_size

    def tell(self, text: str) -> None:
        """Prints a line; only the chief does."""
        if self.is_chief:
            print(text, flush=True)

    def mend(self) -> None:
        """Puts back what was removed from the logdir meanwhile; comes before anything is written."""
        if self._keeper and self.is_chief:
            self._keeper.mend(self.hyperparameters)

    def require_space(self) -> None:
        """Raises an OSError if checkpoints couldn't be written; only the chief looks."""
        if self.is_chief:
            for checkpoints in self._checkpoints.values():
                checkpoints.prepare()

    def save(self, name: str) -> None:
        """Writes the checkpoint `last` or `best` of this step; only the chief does.

        Raises:
            NotFiniteError: if a weight isn't finite, so that what is kept is good.
        """
        if not self.is_chief:
            return
        wrong = self.not_finite()
        if wrong:
            raise NotFiniteError(wrong)
        self.mend()
        self._checkpoints[name].save(self.step)

    def not_finite(self) -> str | None:
        """Returns which variables have values that aren't finite numbers, in a sentence; None if none has."""
        variables = [*self.glow.variables, *self.optimizer.variables]
        wrong = [v.name for v in variables if v.dtype.is_floating and not _is_finite(v)]
        if not wrong:
            return None
        return f"After training step {self.step}, {len(wrong)} variables aren't finite: {wrong[0]}, ..."

    def saved(self, name: str) -> str | None:
        """Returns the prefix of the newest checkpoint `last` or `best`, or None."""
        return next(iter(self._checkpoints[name].prefixes()), None)

    def restore(self, name: str) -> None:
        """Reads the newest checkpoint `last` or `best` that isn't damaged.

        Raises:
            UsageError: if there is none, or it doesn't fit.
        """
        if self._checkpoints[name].restore() is None:
            raise UsageError(f"There is no checkpoint {name!r} in {self.logdir}.")


def _is_finite(variable) -> bool:
    return bool(tf.reduce_all(tf.math.is_finite(variable)))


def require_memory(hyperparameters: settings.Hyperparameters, images: int = 0) -> None:
    """Raises a UsageError if a model, and so many images at once, surely don't fit into the memory.

    On a GPU, whose memory is its own, TensorFlow says so itself.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    config = settings.glow_config(hyperparameters)
    # Weights, two moments, the average; and of the images one step's activations.
    weights = 4 * parameter_count.least_parameters(config)
    needed = 4 * (weights + images * parameter_count.largest_activations(config))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UsageError(
            f"This needs at least {needed / 2**30:.3g} GiB of memory, and the machine has "
            f"{there / 2**30:.3g}: --depth {config.depth}, --width {config.width}, images of "
            f"{'x'.join(map(str, config.image_shape))}"
            + (f", {images} at once. Make a batch or the model smaller." if images else ".")
        )


def define_flags():
    """Defines the flags that say which trained model a command takes, and the original's."""
    settings.define_flags()
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
    given = {name: value for name, value in settings.given_flags().items() if value is not None}
    if f.logdir:
        logdir = pathlib.Path(f.logdir)
        run = Run(hps_json.for_reading(logdir, given), logdir)
        run.restore(f.checkpoint if run.saved(f.checkpoint) else "last")
        return run
    run = Run(settings.resolve(given, n_replicas), ".")
    try:
        glow_tf.openai_checkpoint.restore(run.glow, f.openai_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    wrong = run.not_finite()
    if wrong:
        raise UsageError(f"The checkpoint {f.openai_checkpoint} can't be used. {wrong}")
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
