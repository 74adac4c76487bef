"""The datasets by their names, as tf.data pipelines of (images, labels, noise).

The batch, its augmentation and its noise are functions of the seed and the step alone, so a run that
is resumed at a step sees what it would have seen, and so do several workers, of which each makes its
part of a batch.
"""

import math
import pathlib
import sys

import numpy as np
import tensorflow as tf
from absl import flags

import glow_tf.quantization as quantization
from experiments import configs, embedded, image_folder, tfds_source, tfrecords
from experiments.augmentation import augment
from experiments.hyperparameters import UsageError
from experiments.sources import Files, Images


def define_flags():
    """Defines the flags of reading."""
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_bool(
        "skip_corrupt", False, "Check all images first, and leave out damaged ones and those of a wrong size."
    )


def load(hps: dict, split: str, download: bool = False, skip_corrupt: bool = False) -> Images | Files:
    """Opens a split of the dataset `hps["problem"]`, in the dataset's own order.

    Args:
        hps: resolved hyperparameters; problem, category, data_dir, image_size and n_test are read.
        split: "train" or "test".
        download: whether TFDS may download the dataset.
        skip_corrupt: whether bad images are left out, with a warning, rather than an error when they
            are read.

    Raises:
        UsageError: if the dataset can't be read, or not at this size.
    """
    problem, size = hps["problem"], hps["image_size"]
    data = _open(problem, split, hps, download, skip_corrupt)
    if isinstance(data, Files) and skip_corrupt:
        problems = getattr(data, "lost", []) + data.drop_bad()
        if problems:
            print(
                f"warning: left out {len(problems)} bad parts of the {split} data of {problem}, the first "
                f"one: {problems[0]}",
                file=sys.stderr,
            )
    if isinstance(data, Images):
        full = data.images.shape[1]
        if size > full or full % size:
            raise UsageError(
                f"--image_size of {problem} must divide {full}, the size of its images, got {size}."
            )
    if not len(data):
        raise UsageError(f"The {split} data of {problem} in --data_dir {hps['data_dir']!r} are empty.")
    n_test = hps["n_test"]
    if split == "test" and n_test != configs.ALL:
        if n_test > len(data):
            raise UsageError(f"--n_test is {n_test}, but {problem} has {len(data)} test images.")
        if isinstance(data, Images):
            return Images(data.images[:n_test], data.labels[:n_test])
        data.drop(np.arange(n_test, len(data)))
    return data


def _open(problem, split, hps, download, skip_corrupt):
    size, data_dir = hps["image_size"], hps["data_dir"]
    if problem == "digits":
        return embedded.digits(split)
    if problem == "patches":
        if size > 160:
            raise UsageError(f"--image_size of patches must be at most 160, got {size}.")
        return embedded.patches(split, size)
    if problem == "cifar10":
        return tfds_source.in_memory(problem, split, data_dir, download)
    if problem == "mnist":
        data = tfds_source.in_memory(problem, split, data_dir, download)
        # As the original: padded to 32x32, and three equal channels.
        images = np.pad(data.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        return Images(np.tile(images, (1, 1, 1, 3)), data.labels)
    if problem == "folder":
        if not pathlib.Path(data_dir or "-").is_dir():
            raise UsageError(f"--problem folder needs --data_dir, a folder of images; got {data_dir!r}.")
        return image_folder.ImageFolder(image_folder.find(data_dir, split), size)
    # The original appends the category to the folder.
    folder = pathlib.Path(data_dir) / hps["category"] if data_dir else None
    files = tfrecords.find(folder, split, size) if folder else []
    if not files and problem == "imagenet-oord":
        return tfds_source.downsampled_imagenet(split, size, data_dir, download, skip_corrupt)
    if not files:
        raise UsageError(
            f"--problem {problem} is read from TFRecords: there are no files "
            f"{tfrecords.SPLITS[split]}/NAME-{tfrecords.resolution(size)}-s-SSSS-of-NNNN.tfrecords in "
            f"--data_dir {str(folder or data_dir)!r}. Write them with `python -m experiments.records`."
        )
    random_crop = problem == "lsun_realnvp"
    return tfrecords.Records(files, (size, size, 3), random_crop=random_crop, skip_corrupt=skip_corrupt)


def train_batches(
    data: Images | Files, hps: dict, batch_size: int, first_step: int = 0, part: int = 0, n_parts: int = 1
) -> tf.data.Dataset:
    """Returns endless batches (images, labels, noise): uniform permutations of the data, one by one.

    Args:
        data: the training images.
        hps: resolved hyperparameters; dal, problem, image_size, n_bits_x and seed are read.
        batch_size: int, all replicas together.
        first_step: int, the step to start at.
        part: int, which of the n_parts equal parts of each batch to make.
        n_parts: int, a divisor of batch_size.
    """
    order = tf.data.Dataset.range(len(data))
    order = order.shuffle(len(data), seed=hps["seed"], reshuffle_each_iteration=True).repeat()
    order = order.batch(batch_size, drop_remainder=True)
    n = batch_size // n_parts
    first = part * n
    read = data.reader()

    def prepare(step, index):
        seed = tf.stack([tf.constant(hps["seed"], tf.int64), step])
        images, labels = read(index[first : first + n], seed)
        warped = augment(images, hps["dal"], hps["problem"], seed, first, batch_size)
        batch = _to_size(warped, hps["image_size"])
        noise = _noise([batch_size, *batch.shape[1:]], hps, seed)
        return batch, labels, noise[first : first + n]

    order = order.enumerate().skip(first_step)
    return order.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def init_batch(data: Images | Files, hps: dict):
    """Returns (images, labels, noise) for data-dependent initialisation, as the training batches'.

    Raises:
        UsageError: if --n_batch_init leaves no image.
    """
    n = min(hps["local_batch_init"], len(data))
    if n < 1:
        raise UsageError(
            f"--n_batch_init is the number of images of the data-dependent initialisation, at least 1; got "
            f"{hps['n_batch_init']}."
        )
    return next(iter(train_batches(data, hps, n)))


def test_batches(data: Images | Files, hps: dict, batch_size: int) -> tf.data.Dataset:
    """Returns batches (images, labels, noise) of every image once, not augmented, the same each time."""
    read = data.reader()

    def prepare(step, index):
        seed = tf.stack([tf.constant(0, tf.int64), step])
        images, labels = read(index, seed)
        images = _to_size(tf.cast(images, tf.float32), hps["image_size"])
        return images, labels, _noise(tf.shape(images), hps, seed)

    batches = tf.data.Dataset.range(len(data)).batch(batch_size).enumerate()
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def distributed_train_batches(strategy, data, hps: dict, batch_size: int, first_step: int):
    """Returns `train_batches` for all replicas: each worker makes its own part of each batch."""

    def make(context):
        batches = train_batches(
            data, hps, batch_size, first_step, context.input_pipeline_id, context.num_input_pipelines
        )
        return batches.rebatch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)

    return strategy.distribute_datasets_from_function(make)


def distributed_test_batches(strategy, data, hps: dict):
    """Returns `test_batches` for all replicas with weights, and how many batches there are.

    The last batch is filled up, with images of weight 0, so that all replicas get as many.
    """
    n_replicas = strategy.num_replicas_in_sync
    size = math.ceil(hps["n_batch_test"] / n_replicas) * n_replicas

    def fill(images, labels, noise):
        n = tf.shape(images)[0]
        weights = tf.cast(tf.range(size) < n, tf.float32)
        index = tf.range(size) % n
        full = (tf.gather(x, index) for x in (images, labels, noise))
        return *(tf.ensure_shape(x, [size, *x.shape[1:]]) for x in full), weights

    def make(context):
        n = size // context.num_input_pipelines
        first = context.input_pipeline_id * n
        batches = test_batches(data, hps, size).map(fill)
        mine = batches.map(lambda *batch: tuple(x[first : first + n] for x in batch))
        return mine.rebatch(size // n_replicas)

    return strategy.distribute_datasets_from_function(make), math.ceil(len(data) / size)


def _to_size(images, size):
    """Means over blocks, then floor and clip to uint8, as the original."""
    _, full, _, channels = images.shape
    factor = full // size
    if factor > 1:
        images = tf.reshape(images, [-1, size, factor, size, factor, channels])
        images = tf.reduce_mean(images, [2, 4])
    return tf.cast(tf.clip_by_value(tf.floor(images), 0.0, 255.0), tf.uint8)


def _noise(shape, hps, seed):
    return quantization.dequantization_noise(shape, hps["n_bits_x"], seed)
