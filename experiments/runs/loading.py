"""The flags that say which trained model a command takes, and that model."""

import pathlib

from absl import flags

import glow_tf
from experiments import settings
from experiments.cli import UsageError
from experiments.runs import cores
from experiments.runs.run import Run
from experiments.settings import hps_json


def define_flags():
    """--logdir or --openai_checkpoint, --checkpoint, --cores, and the original's flags."""
    settings.define_flags()
    cores.define_flags()
    flags.DEFINE_string("logdir", None, "The run to read.")
    flags.DEFINE_string(
        "openai_checkpoint", None, "Prefix of one of OpenAI's TF1 checkpoints, instead of a run."
    )
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which checkpoint of the run.")


def load() -> Run:
    """Returns the run that the flags name, with its weights.

    Raises:
        UsageError: if they name none or two, or it can't be read.
    """
    f = flags.FLAGS
    cores.use()
    if bool(f.logdir) == bool(f.openai_checkpoint):
        raise UsageError("Give either --logdir (a run) or --openai_checkpoint (a prefix).")
    given = {name: value for name, value in settings.given_flags().items() if value is not None}
    if f.logdir:
        logdir = pathlib.Path(f.logdir)
        run = Run(hps_json.for_reading(logdir, given), logdir)
        run.restore(f.checkpoint if run.saved(f.checkpoint) else "last")
        return run
    run = Run(settings.resolve(given), ".")
    try:
        glow_tf.openai_checkpoint.restore(run.glow, f.openai_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    wrong = run.not_finite()
    if wrong:
        raise UsageError(f"The checkpoint {f.openai_checkpoint} can't be used. {wrong}")
    return run


def define_inference_flags():
    """Those of `define_flags`, and --polyak."""
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
