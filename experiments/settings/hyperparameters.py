"""The flags of the commands, and what they resolve to."""

import json
import math
import os
import pathlib

from absl import flags

import glow_tf
from experiments.cli import UsageError
from experiments.settings import configs
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
    n_levels="Levels, L in the paper; --n_level too.",
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

_STRINGS = dict(
    problem=tuple(configs.PROBLEMS), optimizer=("adamax", "adam"), dtype=("float32", "mixed_bfloat16")
)

_COUNT = (1, 2**31 - 1)  # Anything that is counted, with room for sums of them in int64.

# The least and the largest value of the numbers that don't just count from 1; a -1 that means all is apart.
_BOUNDS = dict(
    dal=(0, 2),
    lr=(0, 1e30),
    beta1=(0, 1 - 2.0**-24),  # The largest float32 below 1.
    polyak_epochs=(1e-9, 1e9),
    weight_decay=(0, 1e30),
    epochs_warmup=(0, 1e9),
    gradient_checkpointing=(0, 1),
    weight_y=(0, 1e30),
    n_bits_x=(1, 8),
    n_levels=(1, 30),
    n_sample=(0, _COUNT[1]),
    seed=(0, 2**32 - 1),  # NumPy's.
    flow_permutation=(0, len(PERMUTATIONS) - 1),
    flow_coupling=(0, len(COUPLINGS) - 1),
    clip_norm=(0, 1e30),
    beta2=(0, 1 - 2.0**-24),
)

# What `resolve` derives, with a value of its type.
_DERIVED = dict(n_y=1, local_batch_train=1, local_batch_init=1, train_its=1, beta2=0.9)

# The original's flags that decide no result, and what to do instead.
_NOT_HERE = dict(
    restore_path=(
        str,
        "a run that was stopped goes on when the same command, or --logdir alone, is given again; "
        "an OpenAI checkpoint is read by `evaluate --openai_checkpoint PREFIX`, and so by sample and export",
    ),
    inference=(
        bool,
        "use the commands evaluate, sample, interpolate, manipulate and export, as in `python -m "
        "experiments.evaluate --logdir L`",
    ),
    verbose=(bool, "leave it out: a progress bar shows each step, train.txt and TensorBoard each epoch"),
    fmap=(int, "leave it out: tf.data decides how many threads read files"),
    pmap=(int, "leave it out: tf.data decides how many threads prepare images"),
    rnd_crop=(bool, "leave it out: --problem lsun_realnvp takes random crops, the others none, as there"),
    debug_init=(bool, "leave it out: the data-dependent initialisation is always made"),
)

_MEND = "Put back what the run wrote there, or give another --logdir."

# A run may be longer, look more often, find its data elsewhere: it is the same run.
_FREE = {"epochs", "epochs_full_valid", "epochs_full_sample", "data_dir", "n_batch_test"}


class _NotHere(flags.ArgumentParser):
    """Of a flag that the original has and this doesn't: every value is answered."""

    def __init__(self, answer):
        """Takes what to do instead."""
        super().__init__()
        self._answer = answer

    def parse(self, argument):
        """Raises ValueError with the answer."""
        raise ValueError(f"the original's flag, which isn't needed here: {self._answer}")


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
    for name, (kind, answer) in _NOT_HERE.items():
        text = f"The original's; here: {answer}."
        flags.DEFINE_flag(flags.Flag(_NotHere(answer), None, name, None, text, boolean=kind is bool))


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
        if hps[name] in words:
            hps[name] = words.index(hps[name])
        elif isinstance(hps[name], str) and hps[name].isdecimal():
            hps[name] = int(hps[name])
    _check({name: hps[name] for name in _DEFAULTS}, "--{}")
    scale = lambda n: max(1, n * hps["anchor_size"] ** 2 // max(1, hps["image_size"]) ** 2)
    hps["local_batch_train"] = scale(hps["n_batch_train"])
    hps["local_batch_init"] = scale(hps["n_batch_init"])
    hps["train_its"] = math.ceil(hps["n_train"] / (hps["n_batch_train"] * n_replicas))
    hps["beta2"] = 1 - 1 / max(1.0, hps["train_its"] * hps["polyak_epochs"])
    if _problem("beta2", hps["beta2"], 0.9):
        raise UsageError(
            f"--polyak_epochs {hps['polyak_epochs']} of {hps['train_its']} steps are too many: the decay "
            "1 - 1 / steps is 1 in float32."
        )
    if problem == "folder" and hps["ycond"]:
        from experiments.data import image_folder  # Which imports this module.

        hps["classes"] = image_folder.classes(hps["data_dir"])
        hps["n_y"] = len(hps["classes"])
    glow_config(hps)
    return hps


def _check(values, called):
    """Raises a UsageError for a value of a wrong type or out of bounds; `called` formats its name."""
    for name, value in values.items():
        problem = _problem(name, value, (_DEFAULTS | _DERIVED)[name])
        if problem:
            raise UsageError(f"{called.format(name)} must be {problem}, got {value!r}.")


def _problem(name, value, example):
    """Returns what a value must be, or None if it is."""
    if isinstance(example, str):
        words = _STRINGS.get(name)
        if isinstance(value, str) and (words is None or value in words):
            return None
        return f"one of {', '.join(words)}" if words else "a string"
    if isinstance(example, bool):
        return None if isinstance(value, bool) else "true or false"
    if value == -1 and name in ("n_test", "image_size", "n_channels"):
        return None
    least, largest = _BOUNDS.get(name, _COUNT)
    kinds = int if isinstance(example, int) else (int, float)
    # NaN is within no bounds.
    if isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= largest:
        return None
    kind = "an integer" if isinstance(example, int) else "a number"
    others = {"n_test": "-1 for all"} | {key: " or ".join(words) for key, words in _WORDS.items()}
    return f"{kind} from {least:g} to {largest}" + (f", or {others[name]}" if name in others else "")


def given_flags() -> dict:
    """Returns the hyperparameters that the command line gives, None for the others.

    Raises:
        UsageError: for a value that is never allowed.
    """
    given = {name: FLAGS[name].value for name in _DEFAULTS}
    _check({k: v for k, v in given.items() if v is not None and k not in _WORDS}, "--{}")
    return given


def warning(hps: dict) -> str | None:
    """Returns what to warn of before the training, or None."""
    if hps["beta2"] >= hps["beta1"]:
        return None
    least = 1 / ((1 - hps["beta1"]) * hps["train_its"])
    return (
        f"beta2 = 1 - 1 / ({hps['train_its']} steps an epoch x --polyak_epochs {hps['polyak_epochs']:g}) = "
        f"{hps['beta2']:.4g} is below --beta1 {hps['beta1']:g}: where a gradient vanishes the steps grow, up "
        f"to NaN. --polyak_epochs {math.ceil(least * 100 - 1e-6) / 100:g} or more helps."
    )


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
    if exists(logdir):
        old = load(logdir)
        _require_same(old, hps, logdir)
        if old == hps:
            return
    text = json.dumps(hps, indent=2) + "\n"
    new = file.with_name("hps.json.new")
    new.write_text(text)
    new.replace(file)  # Whole or not at all.


def _require_same(old, hps, logdir):
    names = sorted(k for k in old.keys() | hps.keys() if old.get(k) != hps.get(k) and k not in _FREE)
    if names:
        changes = ", ".join(f"{k}: {old.get(k)!r} there, {hps.get(k)!r} here" for k in names)
        raise UsageError(
            f"{logdir} holds a run with other hyperparameters ({changes}). Give another --logdir, or the "
            "same hyperparameters to go on with that run; --logdir alone takes them from there."
        )


def exists(logdir: pathlib.Path) -> bool:
    """Returns whether a logdir holds a run."""
    return os.path.lexists(logdir / "hps.json")


def as_begun(hps: dict, logdir: pathlib.Path) -> dict:
    """Returns hyperparameters without classes, if the run in a logdir was begun before folders had them."""
    if "classes" not in hps or not exists(logdir):
        return hps
    old = load(logdir)
    if "classes" in old:
        return hps
    return {name: value for name, value in hps.items() if name != "classes"} | {"n_y": old.get("n_y")}


def load(logdir: pathlib.Path) -> dict:
    """Reads hps.json of a logdir.

    Raises:
        UsageError: if there is none, or it isn't what a run writes; the message names the file and the key.
    """
    file = logdir / "hps.json"
    if not exists(logdir):
        raise UsageError(f"There is no run in {logdir}: no file {file}.")
    hps = configs.OWN_DEFAULTS | read_json_object(file)
    wanted = [*_DEFAULTS, *_DERIVED]
    missing = [name for name in wanted if name not in hps]
    if missing:
        raise UsageError(f"{file} lacks {', '.join(map(repr, missing))}. {_MEND}")
    _check({name: hps[name] for name in wanted}, f"{file}: {{!r}}")
    classes = hps.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UsageError(f"{file}: 'classes' must be a list of names, got {classes!r}. {_MEND}")
    if "classes" in hps and len(classes) != hps["n_y"]:
        raise UsageError(f"{file}: 'classes' are {len(classes)} names, but 'n_y' is {hps['n_y']}. {_MEND}")
    try:
        glow_config(hps)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    return hps


def for_reading(logdir: pathlib.Path, given: dict) -> dict:
    """Returns the hyperparameters of a run that is read, not trained.

    Args:
        logdir: of the run.
        given: what the flags say. Where the data are, and how many there are and are read at once, may differ
            from the run's; a seed is the command's own.

    Raises:
        UsageError: if anything else is given otherwise than the run has it; and as `load`.
    """
    hps = load(logdir)
    reading = ("data_dir", "n_test", "n_batch_test")
    _check({name: value for name, value in given.items() if name not in _WORDS}, "--{}")
    named = given | {k: words.index(given[k]) for k, words in _WORDS.items() if given.get(k) in words}
    for name, value in named.items():
        if name not in (*reading, "seed") and value != -1 and str(value) != str(hps[name]):
            raise UsageError(
                f"--{name} {given[name]} is given, but the run in {logdir} has {hps[name]!r}. Leave it out: "
                "the run's own hyperparameters are taken."
            )
    hps |= {name: given[name] for name in reading if name in given}
    if hps["n_test"] == -1:
        hps["n_test"] = configs.PROBLEMS[hps["problem"]]["n_test"]
    return hps


def read_json_object(file: pathlib.Path) -> dict:
    """Reads a file that is one JSON object; raises a UsageError that names it if it can't be."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Can't read {file}: {error.strerror}. {_MEND}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{file}, line {error.lineno}: this is no JSON: {error.msg}. {_MEND}") from error
    except (ValueError, RecursionError) as error:  # No UTF-8, numbers of thousands of digits, and the like.
        raise UsageError(f"{file}: this is no JSON: {error}. {_MEND}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{file} must hold a JSON object, got {type(value).__name__}. {_MEND}")
    return value


def going_on(logdir: pathlib.Path | None, given: dict, n_replicas: int = 1) -> dict:
    """Resolves the hyperparameters of a training; what isn't given is as in the run that it goes on with.

    Args:
        logdir: with or without a run; None is a new one.
        given: as `resolve`.
        n_replicas: int, the number of replicas.

    Raises:
        UsageError: as `resolve` and `load`; and if the run there is another.
    """
    if logdir is None or not exists(logdir):
        return resolve(given, n_replicas)
    there = load(logdir)
    given = {key: value for key, value in given.items() if value is not None}
    hps = as_begun(resolve({name: there[name] for name in _DEFAULTS} | given, n_replicas), logdir)
    _require_same(there, hps, logdir)
    return hps
