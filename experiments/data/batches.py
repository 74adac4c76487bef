"""Batches of (images, labels, noise), as tf.data pipelines.

The batch, its augmentation and its noise are functions of the seed and the step alone, so a run that
is resumed at a step sees what it would have seen, and so do several workers, of which each makes its
part of a batch.
"""

import math

import tensorflow as tf

import glow_tf.quantization as quantization
from experiments.cli import UsageError
from experiments.data.augmentation import augment
from experiments.data.problems import PROBLEMS
from experiments.data.sources import Files, Images
from experiments.pictures import block_means
from experiments.settings.hyperparameters import Hyperparameters


def train(
    data: Images | Files,
    hyperparameters: Hyperparameters,
    batch_size: int,
    first_step: int = 0,
    part: int = 0,
    n_parts: int = 1,
) -> tf.data.Dataset:
    """Returns endless batches (images, labels, noise): uniform permutations of the data, one by one.

    Args:
        data: the training images.
        hyperparameters: dal, problem, image_size, n_bits_x and seed are read.
        batch_size: int, all replicas together.
        first_step: int, the step to start at.
        part: int, which of the n_parts equal parts of each batch to make.
        n_parts: int, a divisor of batch_size.
    """
    order = tf.data.Dataset.range(len(data))
    order = order.shuffle(len(data), seed=hyperparameters.seed, reshuffle_each_iteration=True).repeat()
    order = order.batch(batch_size, drop_remainder=True)
    n = batch_size // n_parts
    first = part * n
    read = data.reader()
    level = min(hyperparameters.dal, PROBLEMS[hyperparameters.problem].most_dal)

    def prepare(step, index):
        seed = tf.stack([tf.constant(hyperparameters.seed, tf.int64), step])
        images, labels = read(index[first : first + n], seed)
        warped = augment(images, level, seed, first, batch_size)
        batch = block_means(warped, hyperparameters.image_size)
        noise = _noise([batch_size, *batch.shape[1:]], hyperparameters, seed)
        return batch, labels, noise[first : first + n]

    order = order.enumerate().skip(first_step)
    return order.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def init(data: Images | Files, hyperparameters: Hyperparameters):
    """Returns (images, labels, noise) for data-dependent initialisation, as the training batches'.

    Raises:
        UsageError: if --n_batch_init leaves no image.
    """
    n = min(hyperparameters.local_batch_init, len(data))
    if n < 1:
        raise UsageError(
            f"--n_batch_init is the number of images of the data-dependent initialisation, at least 1; got "
            f"{hyperparameters.n_batch_init}."
        )
    return next(iter(train(data, hyperparameters, n)))


def test(data: Images | Files, hyperparameters: Hyperparameters, batch_size: int) -> tf.data.Dataset:
    """Returns batches (images, labels, noise) of every image once, not augmented, the same each time."""
    read = data.reader()

    def prepare(step, index):
        seed = tf.stack([tf.constant(0, tf.int64), step])
        images, labels = read(index, seed)
        images = block_means(tf.cast(images, tf.float32), hyperparameters.image_size)
        return images, labels, _noise(tf.shape(images), hyperparameters, seed)

    batches = tf.data.Dataset.range(len(data)).batch(batch_size).enumerate()
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def distributed_train(strategy, data, hyperparameters: Hyperparameters, batch_size: int, first_step: int):
    """Returns `train` for all replicas: each worker makes its own part of each batch."""

    def make(context):
        batches = train(
            data,
            hyperparameters,
            batch_size,
            first_step,
            context.input_pipeline_id,
            context.num_input_pipelines,
        )
        return batches.rebatch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)

    return strategy.distribute_datasets_from_function(make)


def distributed_test(strategy, data, hyperparameters: Hyperparameters):
    """Returns `test` for all replicas with weights, and how many batches there are.

    The last batch is filled up, with images of weight 0, so that all replicas get as many.
    """
    n_replicas = strategy.num_replicas_in_sync
    size = math.ceil(hyperparameters.n_batch_test / n_replicas) * n_replicas

    def fill(images, labels, noise):
        n = tf.shape(images)[0]
        weights = tf.cast(tf.range(size) < n, tf.float32)
        index = tf.range(size) % n
        full = (tf.gather(x, index) for x in (images, labels, noise))
        return *(tf.ensure_shape(x, [size, *x.shape[1:]]) for x in full), weights

    def make(context):
        n = size // context.num_input_pipelines
        first = context.input_pipeline_id * n
        batches = test(data, hyperparameters, size).map(fill)
        mine = batches.map(lambda *batch: tuple(x[first : first + n] for x in batch))
        return mine.rebatch(size // n_replicas)

    return strategy.distribute_datasets_from_function(make), math.ceil(len(data) / size)


def _noise(shape, hyperparameters, seed):
    return quantization.dequantization_noise(shape, hyperparameters.n_bits_x, seed)
