"""The datasets, as arrays and as tf.data pipelines of (images, labels, noise).

The batch, its augmentation and its noise are functions of the seed and the step alone, so a run that
is resumed at a step sees what it would have seen.
"""

import dataclasses

import numpy as np
import tensorflow as tf

import glow_tf.quantization as quantization
from experiments.augmentation import augment
from experiments.hyperparameters import UsageError

_TFDS = {"cifar10": "cifar10", "mnist": "mnist"}


@dataclasses.dataclass(frozen=True)
class Images:
    """Images uint8 [N, H, W, C] and labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        """Returns N."""
        return len(self.images)


def load(hps: dict, split: str, download: bool = False) -> Images:
    """Reads a split of the dataset `hps["problem"]`, in the dataset's own order.

    Args:
        hps: resolved hyperparameters; problem, data_dir, image_size, n_test and n_channels are read.
        split: "train" or "test".
        download: whether TFDS may download the dataset.

    Raises:
        UsageError: if the dataset can't be read, or not at this size.
    """
    problem = hps["problem"]
    if problem == "digits":
        images, labels = _digits(split)
    elif problem in _TFDS:
        images, labels = _tfds(_TFDS[problem], split, hps["data_dir"], download)
        if problem == "mnist":
            # As the original: padded to 32x32, and three equal channels.
            images = np.tile(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), (1, 1, 1, 3))
    else:
        raise UsageError(
            f"The hyperparameters of problem {problem!r} are known (--dry_run prints them), but images "
            f"are read of these problems only: digits, {', '.join(_TFDS)}."
        )
    size, full = hps["image_size"], images.shape[1]
    if size > full or full % size:
        raise UsageError(f"--image_size of {problem} must divide {full}, the size of its images, got {size}.")
    if split == "test":
        if hps["n_test"] > len(images):
            raise UsageError(f"--n_test is {hps['n_test']}, but {problem} has {len(images)} test images.")
        images, labels = images[: hps["n_test"]], labels[: hps["n_test"]]
    return Images(images, labels.astype(np.int32))


def _digits(split):
    from sklearn.datasets import load_digits

    data = load_digits()
    # 17 grey levels, 0 to 16, in steps of 16; the last 360 images, of other writers, are held out.
    images = np.minimum(data.images * 16, 255).astype(np.uint8)[..., None]
    part = slice(None, -360) if split == "train" else slice(-360, None)
    return images[part], data.target[part]


def _tfds(name, split, data_dir, download):
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        if download:
            builder.download_and_prepare()
        if split not in builder.info.splits:
            raise UsageError(
                f"There is no TFDS dataset {name!r} in {builder.data_path}. Give its --data_dir, or let "
                "TFDS fetch it with --download."
            )
        data = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    except (OSError, tf.errors.OpError, json_format.Error) as error:
        raise UsageError(f"Can't read the TFDS dataset {name!r} in {data_dir!r}: {error}") from error
    images, labels = data["image"], data["label"]
    if "id" in data:  # TFDS shuffles when it writes.
        order = np.argsort(data["id"], kind="stable")
        images, labels = images[order], labels[order]
    return images, labels


def train_batches(data: Images, hps: dict, batch_size: int, first_step: int = 0) -> tf.data.Dataset:
    """Returns endless batches (images, labels, noise): uniform permutations of the data, one by one.

    Args:
        data: the training images.
        hps: resolved hyperparameters; dal, problem, image_size, n_bits_x and seed are read.
        batch_size: int, all replicas together.
        first_step: int, the step to start at.
    """
    order = tf.data.Dataset.range(len(data))
    order = order.shuffle(len(data), seed=hps["seed"], reshuffle_each_iteration=True).repeat()
    order = order.batch(batch_size, drop_remainder=True)
    images, labels = tf.constant(data.images), tf.constant(data.labels)

    def prepare(step, index):
        seed = tf.stack([tf.constant(hps["seed"], tf.int64), step])
        warped = augment(tf.gather(images, index), hps["dal"], hps["problem"], seed)
        batch = _to_size(warped, hps["image_size"])
        return batch, tf.gather(labels, index), _noise(batch, hps, seed)

    order = order.enumerate().skip(first_step)
    return order.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def init_batch(data: Images, hps: dict):
    """Returns (images, labels, noise) for data-dependent initialisation, as the training batches'."""
    n = min(hps["local_batch_init"], len(data))
    return next(iter(train_batches(data, hps, n)))


def test_batches(data: Images, hps: dict, batch_size: int) -> tf.data.Dataset:
    """Returns batches (images, labels, noise) of every image once, not augmented, the same each time."""

    def prepare(step, batch):
        images, labels = batch
        images = _to_size(tf.cast(images, tf.float32), hps["image_size"])
        return images, labels, _noise(images, hps, tf.stack([tf.constant(0, tf.int64), step]))

    batches = tf.data.Dataset.from_tensor_slices((data.images, data.labels)).batch(batch_size)
    return batches.enumerate().map(prepare).prefetch(tf.data.AUTOTUNE)


def _to_size(images, size):
    """Means over blocks, then floor and clip to uint8, as the original."""
    _, full, _, channels = images.shape
    factor = full // size
    if factor > 1:
        images = tf.reshape(images, [-1, size, factor, size, factor, channels])
        images = tf.reduce_mean(images, [2, 4])
    return tf.cast(tf.clip_by_value(tf.floor(images), 0.0, 255.0), tf.uint8)


def _noise(images, hps, seed):
    return quantization.dequantization_noise(tf.shape(images), hps["n_bits_x"], seed)
