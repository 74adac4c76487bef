"""Writes a Glow as a SavedModel."""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import tempfile
from typing import Any

import tensorflow as tf

from glow_tf import inputs
from glow_tf.glow import Glow, GlowConfig
from glow_tf.serving import lite, warm_up
from glow_tf.serving.frozen import FrozenGlow
from glow_tf.serving.signatures import DEFAULT, Signatures

METADATA = "glow.json"
MOST_VERSION = 2**63 - 1


def export(
    model: Glow,
    directory: str | os.PathLike[str],
    version: int | None = None,
    *,
    metadata: dict[str, Any] | None = None,
    tflite: bool = False,
) -> pathlib.Path:
    """Writes `directory/<version>/`, a SavedModel that TensorFlow Serving loads as it is.

    It holds the model's current weights, and what depends on them alone, computed once (`FrozenGlow`); the
    signatures that `Signatures` describes; warm-up requests, if the package tensorflow-serving-api is
    installed (else a warning says so); and the asset glow.json, with the model's configuration and
    `fingerprint`, `metadata`, and the text of each signature. Nothing of glow_tf is needed to load it.

    The loaded object has a function of each signature's name too, which takes the inputs as one dict. With
    `tflite`, glow.tflite lies beside: the signatures that LiteRT can hold (`lite.SIGNATURES`), in one file,
    which computes in float32 whatever the model's `dtype` is.

    The version appears at once, whole: it is written under a name that servers pass over, and renamed.

    Args:
        model: with trained weights.
        directory: of the served model, on a local disk; made if it isn't there.
        version: int, at least 0; one more than the largest there, or 1, unless given.
        metadata: dict of what else glow.json should say, as JSON takes it; not config, fingerprint and
            signatures, which it says anyway.
        tflite: whether to write glow.tflite too.

    Returns:
        The path of the version.

    Raises:
        ValueError: if the version is negative, not an integer (a TypeError too), or beyond int64, which
            servers count in; if the metadata aren't that; if a weight isn't finite, or a matrix has no
            inverse.
        FileExistsError: if the version is there, which isn't touched, or the last number is.
        OSError, tf.errors.OpError: if it can't be written; nothing of it is left.
    """
    directory = pathlib.Path(directory)
    metadata = _checked_metadata(metadata)
    if version is not None:
        version = inputs.require_int("version", version, 0, MOST_VERSION)
        _require_new(directory / str(version))
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".export-") as temporary:
        new = pathlib.Path(temporary) / "model"
        _write(model, new, directory.resolve().name, metadata)
        if tflite:
            _write_tflite(model, new, pathlib.Path(temporary))
        return _rename(new, directory, version)


def _checked_metadata(metadata) -> dict:
    metadata = {} if metadata is None else metadata
    own = ("config", "fingerprint", "signatures")
    if not isinstance(metadata, dict) or any(key in metadata for key in own):
        raise ValueError(
            f"metadata must be a dict without the keys {', '.join(own)}, got {inputs.shown(metadata)}."
        )
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be what JSON takes: {error}.") from error
    return metadata


def fingerprint(model: Glow) -> str:
    """Returns a short text that is another one for another configuration or other weights.

    What is kept of a model, such as directions in its latent space, can say by it what it was made of. What
    decides the memory of training alone, `memory` and `keep_bytes`, isn't in it.
    """
    config = dataclasses.asdict(model.config)
    del config["memory"]
    config["keep_bytes"] = GlowConfig.keep_bytes  # The default, which is in the texts that there are.
    if not config["context_shape"]:  # As before there were contexts.
        del config["context_shape"]
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for variable in model.variables:
        digest.update(repr(tuple(variable.shape)).encode())
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(model, path, name, metadata):
    signatures = Signatures(FrozenGlow(model))
    text = {
        "config": dataclasses.asdict(model.config),
        "fingerprint": fingerprint(model),
        **metadata,
        "signatures": signatures.documentation() | {"serving_default": f"As {DEFAULT}."},
    }
    file = path.parent / METADATA
    file.write_text(json.dumps(text, indent=2) + "\n")
    _save(signatures, path, metadata=tf.saved_model.Asset(str(file)))
    warm_up.write(signatures, path, name)


def _save(signatures, path, **attributes):
    root = tf.Module(name="served_glow")
    root.frozen = signatures.frozen
    concrete_functions = signatures.concrete_functions()
    attributes |= signatures.functions_of_a_dict(concrete_functions)
    for key, value in attributes.items():
        setattr(root, key, value)
    tf.saved_model.save(root, str(path), signatures=concrete_functions)


def _write_tflite(model, path, temporary):
    """Writes the .tflite file beside the SavedModel in `path`, and what else it is made of to `temporary`."""
    source = path
    if model.config.dtype != lite.DTYPE:
        source = temporary / lite.DTYPE
        _save(Signatures(FrozenGlow(lite.in_float32(model))), source)
    (path / lite.FILE).write_bytes(lite.convert(source))


def _require_new(path):
    if path.exists():
        raise FileExistsError(f"There is a version at {path}, and no version is ever overwritten.")


def _rename(new, directory, version):
    """Renames to the version, or to the next number; a rename never replaces a folder that has files."""
    while True:
        path = directory / str(_next_version(directory) if version is None else version)
        if version is not None:
            _require_new(path)
        try:
            os.rename(new, path)
        except OSError as error:
            # Another process was faster: the next number then.
            if version is not None or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return path


def versions(directory) -> dict[int, pathlib.Path]:
    """Returns what is named by a number of int64 in a directory, by number: versions to a server."""
    paths = pathlib.Path(directory).iterdir()
    found = {int(path.name): path for path in paths if re.fullmatch("[0-9]{1,19}", path.name)}
    return {number: path for number, path in found.items() if number <= MOST_VERSION}


def _next_version(directory):
    number = 1 + max(versions(directory), default=0)
    if number > MOST_VERSION:
        raise FileExistsError(f"There is no number after {MOST_VERSION}, a version in {directory}: give one.")
    return number
