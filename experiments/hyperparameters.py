"""The flags of the commands, and what they resolve to."""

import json
import math
import pathlib
import sys

from absl import app, flags, logging

import glow_tf
from experiments import configs
from glow_tf.bijectors.glow_step import PERMUTATIONS
from glow_tf.glow import COUPLINGS

FLAGS = flags.FLAGS

_HELP = dict(
    problem=f"Dataset: {', '.join(configs.PROBLEMS)}.",
    category="LSUN category, for example bedroom.",
    data_dir="Where the dataset is; for TFDS its data_dir (TFDS' own default unless given).",
    dal="Data augmentation: 0 none, 1 shifts, 2 shifts, flips, rotations, zoom and shear.",
    n_train="Training images an epoch.",
    n_test="Test images; -1 is the whole test set.",
    n_batch_train="Batch size a replica, at the anchor size.",
    n_batch_test="Batch size of the evaluation.",
    n_batch_init="Images of the data-dependent initialisation, at the anchor size.",
    optimizer="adamax or adam.",
    lr="Learning rate after the warm-up.",
    beta1="Decay of the first moment.",
    polyak_epochs="Epochs that the Polyak average and the second moment reach back.",
    weight_decay="Factor on the weights at each step; 1 is none.",
    epochs="Epochs of training.",
    epochs_warmup="Epochs in which the learning rate rises from 0.",
    epochs_full_valid="Epochs between evaluations on the test set.",
    gradient_checkpointing="1 keeps no activations (memory=reverse), 0 keeps all (memory=store).",
    image_size="Height and width; -1 is the problem's.",
    anchor_size="Batch sizes are for images of this size, and scaled by area.",
    width="Channels of the coupling networks' hidden layers.",
    depth="Steps of flow a level, K in the paper.",
    weight_y="Weight of the classifier's loss, with --ycond.",
    n_bits_x="Bits a dimension, 1 to 8.",
    n_levels="Levels, L in the paper.",
    n_sample="Accepted for the original's sake; not used, as there.",
    epochs_full_sample="Epochs between sample grids.",
    learntop="Learn the top prior.",
    ycond="Condition the top prior on the label.",
    seed="Seed of weights, data order and noise.",
    flow_permutation="0 reverse, 1 shuffle, 2 invconv; or the word.",
    flow_coupling="0 additive, 1 affine; or the word.",
    dtype="float32 or mixed_bfloat16, where only the coupling networks' convolutions are bfloat16.",
    n_channels="1 for gray images, 3 for colours, of a folder or of records; -1 is the problem's.",
    clip_norm="Largest norm of the gradients of all weights together; 0 doesn't clip.",
)

_DEFAULTS = configs.DEFAULTS | configs.OWN_DEFAULTS

_WORDS = dict(flow_permutation=PERMUTATIONS, flow_coupling=COUPLINGS)


class UsageError(Exception):
    """A user's mistake: one paragraph that says what was given and what is allowed."""


def define_flags():
    """Defines the original's flags; what isn't given is the problem's or the original's default."""
    for name, default in _DEFAULTS.items():
        help_text = f"{_HELP[name]} Default: {default!r}"
        other = {
            problem: values[name] for problem, values in configs.PROBLEM_DEFAULTS.items() if name in values
        }
        help_text += "".join(f", {problem}: {value!r}" for problem, value in other.items()) + "."
        if name in _WORDS:
            allowed = [str(i) for i in range(len(_WORDS[name]))] + list(_WORDS[name])
            flags.DEFINE_enum(name, None, allowed, help_text)
        elif name == "optimizer":
            flags.DEFINE_enum(name, None, ["adamax", "adam"], help_text)
        elif name == "dtype":
            flags.DEFINE_enum(name, None, ["float32", "mixed_bfloat16"], help_text)
        elif isinstance(default, bool):
            flags.DEFINE_boolean(name, None, help_text)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, None, help_text)
        elif isinstance(default, float):
            flags.DEFINE_float(name, None, help_text)
        else:
            flags.DEFINE_string(name, None, help_text)
    # argparse takes unique prefixes, and the original's README relies on it.
    flags.DEFINE_alias("n_level", "n_levels")


def resolve(given: dict, n_replicas: int = 1) -> dict:
    """Resolves hyperparameters: the given ones, else the problem's, else the original's defaults.

    Args:
        given: dict of hyperparameters by the original's names; None is not given.
        n_replicas: int, the number of replicas.

    Returns:
        A dict with every hyperparameter, and what the original derives from them: n_y, n_channels,
        local_batch_train, local_batch_init, train_its, beta2; and for a folder with ycond
        the names of its `classes`.

    Raises:
        UsageError: for a value that isn't allowed.
    """
    given = {key: value for key, value in given.items() if value is not None}
    problem = given.get("problem", configs.DEFAULTS["problem"])
    if problem not in configs.PROBLEMS:
        raise UsageError(f"Unknown problem {problem!r}; known: {', '.join(configs.PROBLEMS)}.")
    hps = _DEFAULTS | configs.PROBLEM_DEFAULTS.get(problem, {}) | given
    about = configs.PROBLEMS[problem]
    for name in ("image_size", "n_test", "n_channels"):
        if hps[name] == -1:
            hps[name] = about[name]
    allowed = (1, 3) if problem in configs.ANY_CHANNELS else (about["n_channels"],)
    if hps["n_channels"] not in allowed:
        raise UsageError(
            f"--n_channels of {problem} must be {' or '.join(map(str, allowed))}, got {hps['n_channels']}."
        )
    hps["n_y"] = about["n_y"]
    for name, words in _WORDS.items():
        value = str(hps[name])
        hps[name] = words.index(value) if value in words else int(value)
    for name, value in hps.items():
        if name == "n_test" and value == configs.ALL:
            continue
        if isinstance(value, (int, float)) and value < 0:
            raise UsageError(f"--{name} must be at least 0, got {value}.")
    for name in (
        "n_train",
        "n_test",
        "n_batch_train",
        "n_batch_test",
        "epochs",
        "anchor_size",
        "epochs_full_valid",
        "epochs_full_sample",
        "polyak_epochs",
    ):
        if hps[name] == 0:
            raise UsageError(f"--{name} must be positive, got {hps[name]}.")
    if hps["dal"] not in (0, 1, 2):
        raise UsageError(f"--dal must be 0, 1 or 2, got {hps['dal']}.")
    scale = lambda n: max(1, n * hps["anchor_size"] ** 2 // max(1, hps["image_size"]) ** 2)
    hps["local_batch_train"] = scale(hps["n_batch_train"])
    hps["local_batch_init"] = scale(hps["n_batch_init"])
    hps["train_its"] = math.ceil(hps["n_train"] / (hps["n_batch_train"] * n_replicas))
    hps["beta2"] = 1 - 1 / max(1.0, hps["train_its"] * hps["polyak_epochs"])
    if problem == "folder" and hps["ycond"]:
        from experiments import image_folder  # Which imports this module.

        hps["classes"] = image_folder.classes(hps["data_dir"])
        hps["n_y"] = len(hps["classes"])
    glow_config(hps)
    return hps


def given_flags() -> dict:
    """Returns the hyperparameters that the command line gives."""
    return {name: FLAGS[name].value for name in _DEFAULTS}


def glow_config(hps: dict) -> glow_tf.GlowConfig:
    """Returns the model's configuration; raises a UsageError if a value isn't allowed."""
    try:
        return glow_tf.GlowConfig(
            image_size=hps["image_size"],
            n_channels=hps["n_channels"],
            n_levels=hps["n_levels"],
            depth=hps["depth"],
            width=hps["width"],
            flow_permutation=PERMUTATIONS[hps["flow_permutation"]],
            flow_coupling=COUPLINGS[hps["flow_coupling"]],
            learntop=hps["learntop"],
            ycond=hps["ycond"],
            n_y=hps["n_y"],
            n_bits_x=hps["n_bits_x"],
            memory="reverse" if hps["gradient_checkpointing"] else "store",
            dtype=hps.get("dtype", "float32"),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def save(hps: dict, logdir: pathlib.Path) -> None:
    """Writes hps.json to a logdir; raises a UsageError if it holds a run with other ones."""
    file = logdir / "hps.json"
    if not file.exists():
        logdir.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(hps, indent=2) + "\n")
        new.replace(file)  # Whole or not at all.
        return
    # A longer run, or one that looks more often, is the same run.
    free = {"epochs", "epochs_full_valid", "epochs_full_sample", "data_dir", "n_batch_test"}
    old = configs.OWN_DEFAULTS | load(logdir)
    names = sorted(k for k in old.keys() | hps.keys() if old.get(k) != hps.get(k) and k not in free)
    if names:
        changes = ", ".join(f"{k}: {old.get(k)!r} there, {hps.get(k)!r} here" for k in names)
        raise UsageError(
            f"{logdir} holds a run with other hyperparameters ({changes}). Give another --logdir, "
            "or the same hyperparameters to go on with that run."
        )


def as_begun(hps: dict, logdir: pathlib.Path) -> dict:
    """Returns hyperparameters without classes, if the run in a logdir was begun before folders had them."""
    if "classes" not in hps or not (logdir / "hps.json").exists():
        return hps
    old = load(logdir)
    if "classes" in old:
        return hps
    return {name: value for name, value in hps.items() if name != "classes"} | {"n_y": old.get("n_y")}


def load(logdir: pathlib.Path) -> dict:
    """Reads hps.json of a logdir; raises a UsageError if there is none."""
    file = logdir / "hps.json"
    if not file.exists():
        raise UsageError(f"There is no run in {logdir}: no file {file}.")
    return json.loads(file.read_text())


def run(main, takes_arguments: bool = False):
    """Runs a command's main(argv) as absl does; a UsageError is printed and exits with 2."""

    def guarded(argv):
        logging.set_verbosity(logging.WARNING)  # Not a line for every checkpoint.
        if len(argv) > 1 and not takes_arguments:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
        try:
            main(argv)
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    # --help shows the flags of the command's own file: let it show those of the project's other files.
    for name in FLAGS:
        if FLAGS.find_module_defining_flag(name).startswith("experiments."):
            FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
    app.run(guarded)
