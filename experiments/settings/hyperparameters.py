"""The original's hyperparameters, typed: an entry each, and what the given ones resolve to."""

import dataclasses
import functools
import math

from absl import flags as absl_flags

import glow_tf
from experiments.cli import UsageError
from experiments.data import contexts
from experiments.data.problems import PROBLEMS
from experiments.settings import flags
from experiments.settings.flags import derived, flag
from glow_tf.bijectors.affine_coupling import COUPLINGS
from glow_tf.bijectors.glow_step import PERMUTATIONS

# A flag in each group of --help.
data = functools.partial(flag, group="data")
model = functools.partial(flag, group="model")
optimisation = functools.partial(flag, group="optimisation")
run = functools.partial(flag, group="run")

_HUGE = 1e30
_BELOW_1 = 1 - 2.0**-24  # The largest float32 below 1.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What decides a run's result. `resolve` makes them; `hps_json` writes and reads them, in this order.

    An attribute's meaning is in its entry.
    """

    problem: str = data("digits", "Dataset.", words=tuple(PROBLEMS))
    category: str = data("", "LSUN category, for example bedroom.")
    data_dir: str = data("", "Where the dataset is; for TFDS its data_dir (TFDS' own default unless given).")
    dal: int = data(
        1, "Data augmentation: 0 none, 1 shifts, 2 shifts, flips, rotations, zoom and shear.", 0, 2
    )
    n_train: int = data(50000, "Training images per epoch.")
    n_test: int = data(-1, "Test images.", minus_one="all")
    n_batch_train: int = optimisation(64, "Images per training step of a worker, at the anchor size.")
    n_batch_test: int = optimisation(50, "Batch size of the evaluation.")
    n_batch_init: int = optimisation(256, "Images of the data-dependent initialisation, at the anchor size.")
    optimizer: str = optimisation("adamax", "The original's adamax or adam.", words=("adamax", "adam"))
    lr: float = optimisation(0.001, "Learning rate after the warm-up.", 0, _HUGE)
    beta1: float = optimisation(0.9, "Decay of the first moment.", 0, _BELOW_1)
    polyak_epochs: float = optimisation(
        1.0, "Epochs that the Polyak average and the second moment reach back.", 1e-9, 1e9
    )
    weight_decay: float = optimisation(1.0, "Factor on the weights at each step; 1 is none.", 0, _HUGE)
    epochs: int = run(1000000, "Epochs of training.")
    epochs_warmup: float = optimisation(10.0, "Epochs in which the learning rate rises from 0.", 0, 1e9)
    epochs_full_valid: int = run(50, "Epochs between evaluations on the test set.")
    gradient_checkpointing: int = optimisation(
        1, "1 keeps no activations (memory=reverse), 0 keeps all (memory=store).", 0, 1
    )
    image_size: int = data(-1, "Height and width.", minus_one="the problem's")
    anchor_size: int = optimisation(32, "Batch sizes are for images of this size, and scaled by area.")
    width: int = model(512, "Channels of the coupling networks' hidden layers.")
    depth: int = model(32, "Steps of flow per level, K in the paper.")
    weight_y: float = model(0.0, "Weight of the classifier's loss, with --ycond.", 0, _HUGE)
    n_bits_x: int = model(8, "Bits per dimension, 1 to 8.", 1, 8)
    n_levels: int = model(3, "Levels, L in the paper; --n_level too.", 1, 30)
    n_sample: int = run(1, "Accepted for the original's sake; not used, as there.", 0)
    epochs_full_sample: int = run(50, "Epochs between sample grids.")
    learntop: bool = model(False, "Learn the top prior.")
    ycond: bool = model(False, "Condition the top prior on the label.")
    seed: int = run(0, "Seed of weights, data order and noise.", 0, 2**32 - 1)  # NumPy's bounds.
    flow_permutation: str = model(
        "invconv", "What permutes the channels in a step of flow.", words=PERMUTATIONS, numbered=True
    )
    flow_coupling: str = model("additive", "The coupling of a step of flow.", words=COUPLINGS, numbered=True)
    dtype: str = model(
        "float32",
        "float32 or mixed_bfloat16, where only the coupling networks' convolutions are bfloat16.",
        words=("float32", "mixed_bfloat16"),
        own=True,
    )
    clip_norm: float = optimisation(
        0.0, "Largest norm of the gradients of all weights together; 0 doesn't clip.", 0, _HUGE, own=True
    )
    n_channels: int = data(
        -1,
        "1 for gray images, 3 for colours, of a folder or of records.",
        minus_one="the problem's",
        own=True,
    )
    world_size: int = optimisation(
        1,
        "The original's hvd.size(): a training step has the images of so many workers, whatever the devices "
        "are that share them.",
        own=True,
    )
    context: str = model(
        "",
        "What every coupling and prior is conditioned on: label, the label, with or without --ycond; or "
        "lowres:K, the image made K times smaller, for super-resolution.",
        own=True,
    )
    n_y: int = derived("How many labels there are.")
    local_batch_train: int = derived("Images per training step of a worker.")
    local_batch_init: int = derived("Images of the data-dependent initialisation.")
    train_its: int = derived("Training steps per epoch.")
    beta2: float = derived("Decay of the second moment and of the Polyak average.", 0, _BELOW_1)
    classes: tuple[str, ...] | None = None  # Names of the labels, where they have names and are used.

    @property
    def batch_size(self) -> int:
        """Images per training step, of all workers together."""
        return self.world_size * self.local_batch_train

    @property
    def labelled(self) -> bool:
        """Whether the model depends on labels."""
        return self.ycond or self.context == contexts.LABEL


ENTRIES = flags.entries(Hyperparameters)
GIVEN = {name: entry for name, entry in ENTRIES.items() if entry.default is not None}  # Those with a flag.


def define_flags():
    """Defines the original's flags; what isn't given is the problem's or the original's default."""
    for name, entry in GIVEN.items():
        entry.define({key: p.defaults[name] for key, p in PROBLEMS.items() if name in p.defaults})
    flags.define_not_here()


def given_flags() -> dict:
    """Returns the hyperparameters that the command line gives, by name; None for the others.

    Raises:
        UsageError: for a value that is never allowed.
    """
    given = {name: entry.word(absl_flags.FLAGS[name].value) for name, entry in GIVEN.items()}
    for name, value in given.items():
        if value is not None:
            GIVEN[name].require(value, f"--{name}")
    return given


def resolve(given: dict) -> Hyperparameters:
    """Resolves hyperparameters: the given ones, else the problem's, else the original's defaults.

    Args:
        given: dict of hyperparameters by the original's names; None is not given.

    Raises:
        UsageError: for a value that isn't allowed.
    """
    given = {name: value for name, value in given.items() if value is not None}
    name = given.get("problem", GIVEN["problem"].default)
    if name not in PROBLEMS:
        raise UsageError(f"Unknown problem {name!r}; known: {', '.join(PROBLEMS)}.")
    problem = PROBLEMS[name]
    values = {key: entry.default for key, entry in GIVEN.items()} | problem.defaults | given
    for key in ("image_size", "n_test", "n_channels"):
        if values[key] == -1:
            values[key] = getattr(problem, key)
    if values["n_channels"] not in problem.allowed_channels:
        allowed = " or ".join(map(str, problem.allowed_channels))
        raise UsageError(f"--n_channels of {name} must be {allowed}, got {values['n_channels']}.")
    for key, entry in GIVEN.items():
        values[key] = entry.word(values[key])
        entry.require(values[key], f"--{key}")
    # Batches are for images of the anchor's size.
    scale = lambda n: max(1, n * values["anchor_size"] ** 2 // values["image_size"] ** 2)
    train_its = math.ceil(values["n_train"] / (values["n_batch_train"] * values["world_size"]))
    beta2 = 1 - 1 / max(1.0, train_its * values["polyak_epochs"])
    if ENTRIES["beta2"].wrong(beta2):
        raise UsageError(
            f"--polyak_epochs {values['polyak_epochs']} of {train_its} steps are too many: the decay "
            "1 - 1 / steps is 1 in float32."
        )
    labelled = values["ycond"] or values["context"] == contexts.LABEL
    classes = problem.classes(values["data_dir"]) if problem.classes and labelled else None
    resolved = Hyperparameters(
        **values,
        n_y=problem.n_y if classes is None else len(classes),
        local_batch_train=scale(values["n_batch_train"]),
        local_batch_init=scale(values["n_batch_init"]),
        train_its=train_its,
        beta2=beta2,
        classes=None if classes is None else tuple(classes),
    )
    if resolved.batch_size > flags.COUNT:
        raise UsageError(
            f"--world_size {resolved.world_size} times {resolved.local_batch_train} images (--n_batch_train "
            f"{resolved.n_batch_train}, of the size {resolved.image_size}) are too many for a training step: "
            f"{flags.COUNT} are allowed."
        )
    glow_config(resolved)
    return resolved


def glow_config(hyperparameters: Hyperparameters) -> glow_tf.GlowConfig:
    """Returns the model's configuration; raises a UsageError if a value isn't allowed."""
    same = {
        field.name: getattr(hyperparameters, field.name)
        for field in dataclasses.fields(glow_tf.GlowConfig)
        if field.name in ENTRIES
    }
    memory = "reverse" if hyperparameters.gradient_checkpointing else "store"
    try:
        config = glow_tf.GlowConfig(**same, memory=memory)
    except ValueError as error:
        raise UsageError(str(error)) from error
    context = contexts.of_run(hyperparameters)
    return dataclasses.replace(config, context_shape=context.shape if context else ())


def warning(hyperparameters: Hyperparameters) -> str | None:
    """Returns what to warn of before the training, or None."""
    beta1, beta2, its = hyperparameters.beta1, hyperparameters.beta2, hyperparameters.train_its
    if beta2 >= beta1:
        return None
    least = 1 / ((1 - beta1) * its)
    return (
        f"beta2 = 1 - 1 / ({its} steps per epoch x --polyak_epochs {hyperparameters.polyak_epochs:g}) = "
        f"{beta2:.4g} is below --beta1 {beta1:g}: where a gradient vanishes the steps grow, up "
        f"to NaN. --polyak_epochs {math.ceil(least * 100 - 1e-6) / 100:g} or more helps."
    )
