"""Datasets of TFDS: small ones in memory, downsampled ImageNet by number from its files."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from experiments.hyperparameters import UsageError
from experiments.sources import Images
from experiments.tfrecords import Records


def builder(name: str, data_dir: str, splits, download: bool = False):
    """Returns TFDS' builder of a prepared dataset.

    Args:
        name: of the dataset.
        data_dir: TFDS' own default if empty.
        splits: which it must have.
        download: whether TFDS may download it.

    Raises:
        UsageError: if it isn't there.
    """
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    try:
        made = tfds.builder(name, data_dir=data_dir or None)
        if download:
            made.download_and_prepare()
    except (OSError, ValueError, tf.errors.OpError, json_format.Error) as error:
        raise UsageError(f"Can't read the TFDS dataset {name!r} in {data_dir!r}: {error}") from error
    missing = [split for split in splits if split not in made.info.splits]
    if missing:
        raise UsageError(
            f"There is no TFDS dataset {name!r} with the split {missing[0]!r} in {made.data_path}. Give its "
            "--data_dir, or let TFDS fetch it with --download."
        )
    return made


def in_memory(name: str, split: str, data_dir: str, download: bool) -> Images:
    """Reads a split of a small dataset, in the dataset's own order."""
    import tensorflow_datasets as tfds

    made = builder(name, data_dir, [split], download)
    try:
        data = tfds.as_numpy(made.as_dataset(split=split, batch_size=-1))
    except (OSError, tf.errors.OpError) as error:
        raise UsageError(f"Can't read the TFDS dataset {name!r} in {data_dir!r}: {error}") from error
    images, labels = data["image"], data["label"]
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

    def decode(serialized):
        features = tf.train.Example.FromString(serialized).features.feature
        with Image.open(io.BytesIO(features["image"].bytes_list.value[0])) as image:
            return dict(image=np.asarray(image.convert("RGB")), label=0)

    files = made.info.splits[split].filepaths
    return Records(files, (size, size, 3), decode, skip_corrupt=skip_corrupt)
