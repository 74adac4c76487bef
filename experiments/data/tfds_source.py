"""Datasets of TFDS: small ones in memory, downsampled ImageNet by number from its files."""

import json
import pathlib
import re

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from experiments import pictures
from experiments.cli import UsageError
from experiments.data.sources import Images
from experiments.data.tfrecords import Records


def builder(name: str, data_dir: str, splits, download: bool = False):
    """Returns TFDS' builder of a prepared dataset.

    Args:
        name: of the dataset.
        data_dir: TFDS' own default if empty.
        splits: which it must have.
        download: whether TFDS may download it.

    Raises:
        UsageError: if it isn't there, is of another version, or its description is damaged.
    """
    import tensorflow_datasets as tfds

    try:
        made = tfds.builder(name, data_dir=data_dir or None)
        if download:
            made.download_and_prepare()
    # Of damaged files TFDS raises whatever it runs into: AssertionError, KeyError, RuntimeError, ParseError.
    except Exception as error:
        raise unreadable(name, data_dir, error) from error
    missing = [split for split in splits if split not in made.info.splits]
    if missing:
        raise UsageError(
            f"There is no TFDS dataset {name!r} with the split {missing[0]!r} in {made.data_path}"
            f"{_instead(made)}. Give its --data_dir, or let TFDS fetch it with --download."
        )
    return made


def in_memory(name: str, split: str, data_dir: str, download: bool, n_labels: int) -> Images:
    """Reads a split of a small dataset, in the dataset's own order.

    Args:
        name: of the dataset.
        split: "train" or "test".
        data_dir: TFDS' own default if empty.
        download: whether TFDS may download it.
        n_labels: int, how many labels it has, from 0.

    Raises:
        UsageError: if it can't be read, or has other labels.
    """
    import tensorflow_datasets as tfds

    made = builder(name, data_dir, [split], download)
    try:
        data = tfds.as_numpy(made.as_dataset(split=split, batch_size=-1))
    except Exception as error:  # As above.
        raise unreadable(name, data_dir, error) from error
    images, labels = data["image"], data["label"]
    bad = np.flatnonzero((labels < 0) | (labels >= n_labels))
    if len(bad):
        raise UsageError(
            f"The TFDS dataset {name!r} in {made.data_path} has the label {labels[bad[0]]}, and labels must "
            f"be 0 to {n_labels - 1}."
        )
    if "id" in data:  # TFDS shuffles when it writes.
        order = np.argsort(data["id"], kind="stable")
        images, labels = images[order], labels[order]
    return Images(images, labels.astype(np.int32))


def downsampled_imagenet(split, size, data_dir, download, skip_corrupt) -> Records:
    """Returns the images of `downsampled_imagenet`, which is the original's imagenet-oord."""
    if size not in (32, 64):
        raise UsageError(f"--image_size of imagenet-oord from TFDS must be 32 or 64, got {size}.")
    split = {"train": "train", "test": "validation"}[split]
    made = builder(f"downsampled_imagenet/{size}x{size}", data_dir, [split], download)
    shape = (size, size, 3)
    return Records(made.info.splits[split].filepaths, shape, decode_as(shape), skip_corrupt=skip_corrupt)


def decode_as(shape):
    """Returns `Records`' decode for TFDS' examples, whose `image` is the bytes of a picture [H, W, C]."""

    def decode(serialized):
        try:
            features = tf.train.Example.FromString(serialized).features.feature
        except DecodeError as error:
            raise ValueError("it isn't a tf.train.Example") from error
        data = features["image"].bytes_list.value
        if len(data) != 1:
            raise ValueError("it has no feature image, bytes [1]")
        return dict(image=pictures.decode(data[0], shape), label=0)

    return decode


def unreadable(name: str, data_dir: str, error: Exception) -> UsageError:
    """Returns the UsageError for what TFDS raised."""
    # Without TFDS' own beginning, and the graph's node and the operation that TensorFlow names.
    what = re.sub(
        r"Failed to construct dataset .*?}\": |\{\{.*?\}\}|\s*\[Op:.*", "", str(error), flags=re.DOTALL
    )
    what = what.strip(" .\n") or type(error).__name__
    files = sorted((pathlib.Path(data_dir) / name).rglob("*.json"))
    damaged = [file for file in files if not _is_json(file)]
    if damaged:
        what = f"{damaged[0]} is damaged. {what}"
    return UsageError(
        f"Can't read the TFDS dataset {name!r} in {data_dir!r}: {what}. Remove what is damaged, and let TFDS "
        "fetch it again with --download."
    )


def _is_json(path):
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError):
        return False


def _instead(made):
    """Returns what there is in place of a split, as the end of a sentence; "" if there is nothing."""
    if made.info.splits:
        return f", but {', '.join(map(repr, made.info.splits))}"
    if made.data_path.is_dir():
        return ", as its dataset_info.json is missing or names no splits"
    versions = sorted(path.name for path in made.data_path.parent.glob("*.*.*") if path.is_dir())
    return f", but version {', '.join(versions)}" if versions else ""
