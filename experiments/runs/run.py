"""A run: its model, optimizer and checkpoints in a logdir."""

import pathlib

import tensorflow as tf

import glow_tf
from experiments import settings
from experiments.cli import UsageError
from experiments.data import contexts
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.logdir import Logdir
from experiments.runs.memory import require_memory
from glow_tf.training import STATISTICS, GlowModel, NotFiniteError

N_LAST = 3  # Checkpoints `last` that are kept.


class Run:
    """Model, optimizer, and the checkpoints `last` and `best` in a logdir.

    Attributes:
        context: what the model is conditioned on (`data.contexts`), None if it isn't.
    """

    def __init__(
        self,
        hyperparameters: settings.Hyperparameters,
        logdir,
        jit_compile: bool = False,
        micro_batch: int | None = None,
    ):
        """The weights are new; `restore` reads those of a checkpoint.

        Args:
            hyperparameters: of the run.
            logdir: where the checkpoints are; to train and write there, a `Logdir`.
            jit_compile: whether XLA compiles the training step.
            micro_batch: int, how many images a replica computes at once; its whole share of a batch unless
                given.

        Raises:
            UsageError: if the weights are more than the memory.
        """
        require_memory(hyperparameters)
        self.hyperparameters = hyperparameters
        self.context = contexts.of_run(hyperparameters)
        self._keeper = logdir if isinstance(logdir, Logdir) else None
        self.logdir = logdir.path if isinstance(logdir, Logdir) else pathlib.Path(logdir)
        self.glow = glow_tf.Glow(settings.glow_config(hyperparameters), seed=hyperparameters.seed)
        self.model = GlowModel(self.glow, hyperparameters.weight_y, micro_batch, self.batch_size)
        kind = {"adamax": glow_tf.optimizers.Adamax, "adam": glow_tf.optimizers.Adam}
        warmup_steps = hyperparameters.n_train * hyperparameters.epochs_warmup / self._processed_per_step
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
        """Images per training step, which all replicas share."""
        return self.hyperparameters.batch_size

    @property
    def _processed_per_step(self) -> int:
        return self.hyperparameters.n_batch_train * self.hyperparameters.world_size

    @property
    def n_processed(self) -> int:
        """Images so far, at the anchor size, which the original's schedule counts."""
        return self.step * self._processed_per_step

    @property
    def n_images(self) -> int:
        """Images so far."""
        return self.step * self.batch_size

    def conditions(self, images, labels) -> dict:
        """Returns the arguments y and context of the Glow's methods, for images and their labels.

        Args:
            images: uint8 [B, H, W, C]; read only for a context that is made of them.
            labels: int [B]; read only if the model depends on labels.
        """
        given = {"y": labels} if self.hyperparameters.ycond else {}
        return given if self.context is None else given | {"context": self.context(images, labels)}

    def context_of(self, images) -> dict:
        """Returns the argument context for images whose labels play no part, {} without one.

        Raises:
            UsageError: if the labels are the context.
        """
        if isinstance(self.context, contexts.Label):
            raise UsageError(
                "This command takes no run with --context label: it knows no labels of its images, on which "
                "their latents depend in every coupling."
            )
        return {} if self.context is None else {"context": self.context(images, None)}

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
