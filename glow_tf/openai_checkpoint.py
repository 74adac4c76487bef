"""Reads the TF1 checkpoints that OpenAI's code writes (`model_best_loss.ckpt` and the like)."""

import pathlib
import re

import numpy as np
import tensorflow as tf

from glow_tf.glow import Glow
from glow_tf.inputs import require_a
from glow_tf.plain_path import Reader

_AVERAGE = "/ExponentialMovingAverage"

# Our names of a step's parameters, and the original's.
_STEP = {
    "actnorm_b": "actnorm_center/b",
    "actnorm_logs": "actnorm_scale/logs",
    "invconv_W": "invconv/W",
    "shuffle_indices": "shuffle/indices",
    "l_1_W": "f1/l_1/W",
    "l_1_b": "f1/l_1/actnorm_center/b",
    "l_1_logs": "f1/l_1/actnorm_scale/logs",
    "l_2_W": "f1/l_2/W",
    "l_2_b": "f1/l_2/actnorm_center/b",
    "l_2_logs": "f1/l_2/actnorm_scale/logs",
    "l_last_W": "f1/l_last/W",
    "l_last_b": "f1/l_last/b",
    "l_last_logs": "f1/l_last/logs",
}


def restore(model: Glow, path: str, *, average: bool = False) -> None:
    """Assigns the weights of one of OpenAI's checkpoints to a model.

    All or nothing: the model changes only if every variable of it is in the checkpoint, in its shape,
    and nothing is left over there but the optimizer's state. The classifier is optional: the original
    makes one only where weight_y > 0.

    Args:
        model: of the same hyperparameters as the checkpoint.
        path: the prefix of the checkpoint, for example `logs/model_best_loss.ckpt`; or one of its files, or
            the folder that it is in, if the file `checkpoint` there names it or there is no other one.
        average: whether to load the Polyak averages instead of the raw weights, which the original
            evaluates.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if the checkpoint doesn't fit; the message lists every variable that is missing,
            misshaped, of another type, not finite or left over by the original's name. Or if it is cut or
            damaged, or the folder holds several. Or if the model is conditioned on a context, as none of the
            original's is.
    """
    require_a(Glow, "model", model)
    if model.config.context_shape:
        raise ValueError(
            "OpenAI's checkpoints are of models without a context; this one is conditioned on a context of "
            f"the shape {model.config.context_shape}."
        )
    path = _prefix(path)
    try:
        _restore(model, path, average)
    except _UNREADABLE as error:
        raise ValueError(f"The checkpoint {path!r} is damaged, or can't be read: {error}") from error


# What TensorFlow raises for files that are cut, missing or something else; it translates only some.
_UNREADABLE = (tf.errors.OpError, OSError, RuntimeError, IndexError)


def _prefix(path) -> str:
    """Returns the prefix of the checkpoint that a path names: a prefix, one of its files, or its folder."""
    path = pathlib.Path(path)
    if path.is_dir():
        return _only_prefix(path)
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", str(path))
    for candidate in (str(path), prefix):
        if pathlib.Path(candidate + ".index").is_file():
            return candidate
    raise FileNotFoundError(f"There is no checkpoint {str(path)!r}: no file {prefix + '.index'!r}.")


def _only_prefix(folder: pathlib.Path) -> str:
    """Returns the prefix of a folder's checkpoint: the latest one by TensorFlow's notes, or the only one."""
    found = sorted(str(file)[: -len(".index")] for file in folder.glob("*.index"))
    # The folder may have been moved since: only the name counts.
    notes = folder / "checkpoint"
    text = notes.read_text("utf-8", "replace") if notes.is_file() else ""
    named = re.search(r'^model_checkpoint_path: "(.*)"$', text, re.M)
    latest = str(folder / pathlib.PurePosixPath(named[1]).name) if named else None
    if latest in found:
        return latest
    if not found:
        raise FileNotFoundError(f"There is no checkpoint in the folder {str(folder)!r}: no file NAME.index.")
    if len(found) > 1:
        raise ValueError(
            f"There are {len(found)} checkpoints in the folder {str(folder)!r}; give the prefix of one: "
            f"{', '.join(found)}."
        )
    return found[0]


def _restore(model, path, average):
    reader = Reader(path)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    wanted = _names(model)
    if not any(name.startswith("model/classifier/") for name in shapes):
        wanted = {k: v for k, v in wanted.items() if not k.startswith("model/classifier/")}

    stored = lambda name, trainable: name + _AVERAGE if average and trainable else name
    problems = []
    for name, (variable, step) in wanted.items():
        key = stored(name, variable.trainable)
        shape = variable.shape.as_list()[0 if step is None else 1 :]
        if key not in shapes:
            problems.append(f"missing: {key} {shape}")
        elif _squeezed(shapes[key], len(shape)) != shape:
            problems.append(f"misshaped: {key} is {shapes[key]}, the model's {shape}")
        elif variable.dtype.is_floating != dtypes[key].is_floating or dtypes[key] == tf.string:
            problems.append(
                f"of another type: {key} is {dtypes[key].name}, the model's {variable.dtype.name}"
            )
        elif variable.dtype.is_floating and not np.isfinite(reader.get_tensor(key).astype(np.float64)).all():
            problems.append(f"not finite: {key} has values that are no numbers, or infinite")
    for name in sorted(shapes):
        inverse = name.endswith("shuffle/indices_inverse")
        known = name.removesuffix("_inverse") if inverse else name.removesuffix(_AVERAGE)
        if known not in wanted and not re.fullmatch(r"Variable(_\d+)?", name):
            problems.append(f"left over: {name} {shapes[name]}")
        elif inverse and not problems:
            indices = reader.get_tensor(known)
            if not np.array_equal(np.argsort(indices), reader.get_tensor(name)):
                problems.append(f"inconsistent: {name} isn't the inverse of {known}")
    if problems:
        raise ValueError(
            f"The checkpoint {path!r} doesn't fit the model {model.config}:\n  " + "\n  ".join(problems)
        )

    # All is read before anything is assigned.
    values = {}
    for name, (variable, step) in wanted.items():
        value = reader.get_tensor(stored(name, variable.trainable))
        rank = len(variable.shape) - (step is not None)
        values.setdefault(variable.ref(), []).append(value.reshape(_squeezed(value.shape, rank)))
    for ref, parts in values.items():
        variable = ref.deref()
        variable.assign(np.reshape(parts, variable.shape))


def _squeezed(shape, rank: int) -> list[int]:
    """Drops the leading ones that the original has before a vector: [1, 1, 1, C] or [1, C]."""
    shape = list(shape)
    while len(shape) > rank and shape[0] == 1:
        shape = shape[1:]
    return shape


def _names(model: Glow) -> dict[str, tuple[tf.Variable, int | None]]:
    """Returns the original's names of the model's variables, with the step in a stacked one."""
    names = {}
    for level, variables in enumerate(model.levels):
        for step in range(model.config.depth):
            for key, variable in variables.items():
                names[f"model/{level}/{step}/{_STEP[key]}"] = (variable, step)
    for level, split in enumerate(model.splits):
        for key, variable in (("W", split.w), ("b", split.b), ("logs", split.logs)):
            names[f"model/pool{level}/conv/{key}"] = (variable, None)
    for key, variable in model.top.items():
        layer, _, kind = key.rpartition("_")
        names[f"model/prior/{layer}/{kind}"] = (variable, None)
    for key, variable in model.classifier.items():
        names[f"model/classifier/{key}"] = (variable, None)
    return names
