"""Batches of (images, labels, noise), as tf.data pipelines.

The batch, its augmentation and its noise are functions of the seed and the step alone, so a run that
is resumed at a step sees what it would have seen, and so do several workers, of which each makes its
part of a batch.
"""

import math

import numpy as np
import tensorflow as tf

import glow_tf.quantization as quantization
from experiments.cli import UsageError
from experiments.data import contexts
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
    first: int = 0,
    n: int | None = None,
) -> tf.data.Dataset:
    """Returns endless batches (images, labels, noise): uniform permutations of the data, one by one.

    Args:
        data: the training images.
        hyperparameters: dal, problem, image_size, n_bits_x and seed are read.
        batch_size: int, images per step.
        first_step: int, the step to start at.
        first: int, the first image to make of each batch.
        n: int, how many to make; all unless given. Beyond the batch's end its first images come again.
    """
    order = tf.data.Dataset.range(len(data))
    order = order.shuffle(len(data), seed=hyperparameters.seed, reshuffle_each_iteration=True).repeat()
    order = order.batch(batch_size, drop_remainder=True)
    numbers = np.arange(first, first + (batch_size if n is None else n)) % batch_size
    read = data.reader()
    level = min(hyperparameters.dal, PROBLEMS[hyperparameters.problem].most_dal)

    def prepare(step, index):
        seed = tf.stack([tf.constant(hyperparameters.seed, tf.int64), step])
        images, labels = read(tf.gather(index, numbers), seed)
        warped = augment(images, level, seed, numbers, batch_size)
        batch = block_means(warped, hyperparameters.image_size)
        noise = _noise([batch_size, *batch.shape[1:]], hyperparameters, seed)
        return batch, labels, tf.gather(noise, numbers)

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
        images, labels = read(index, _test_seed(step))
        images = block_means(tf.cast(images, tf.float32), hyperparameters.image_size)
        return images, labels, test_noise(tf.shape(images), hyperparameters, step)

    batches = tf.data.Dataset.range(len(data)).batch(batch_size).enumerate()
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def for_model(hyperparameters: Hyperparameters):
    """Returns a function for tf.data, from (images, labels, noise, ...) to what the run's `GlowModel` takes.

    A context is a function of each image and label, so it is the same however a batch is shared.
    """
    context = contexts.of_run(hyperparameters)

    def with_context(images, labels, *others):
        return {"images": images, "context": context(images, labels)}, labels, *others

    return with_context if context else lambda *batch: batch


def test_noise(shape, hyperparameters: Hyperparameters, step, draw: int = 0) -> tf.Tensor:
    """Returns a draw of the noise of `test`'s batch number `step`; draw 0 is the one that it has."""
    return _noise(shape, hyperparameters, _test_seed(step, draw))


def distributed_train(strategy, data, hyperparameters: Hyperparameters, first_step: int):
    """Returns `train` for all replicas and `GlowModel`, the batch in shares: each worker makes its own.

    Where the shares can't be equal, they are filled up with images of weight 0, and all have weights.
    """
    batch_size = hyperparameters.batch_size
    share = math.ceil(batch_size / strategy.num_replicas_in_sync)
    filled = share * strategy.num_replicas_in_sync

    def make(context):
        first, n = _share(context, filled)
        batches = train(data, hyperparameters, batch_size, first_step, first, n)
        if filled > batch_size:
            weights = (np.arange(first, first + n) < batch_size).astype(np.float32)
            batches = batches.map(lambda *batch: (*batch, weights))
        return batches.map(for_model(hyperparameters)).rebatch(share, drop_remainder=True)

    return strategy.distribute_datasets_from_function(make)


def distributed_test(strategy, data, hyperparameters: Hyperparameters):
    """Returns `test` for all replicas and `GlowModel` with weights, and how many batches there are.

    Each batch is filled up, with images of weight 0, so that all replicas always get as many.
    """
    n_replicas, n_batch = strategy.num_replicas_in_sync, hyperparameters.n_batch_test
    share = math.ceil(n_batch / n_replicas)
    size = share * n_replicas

    def fill(images, labels, noise):
        n = tf.shape(images)[0]
        weights = tf.cast(tf.range(size) < n, tf.float32)
        index = tf.range(size) % n
        full = (tf.gather(x, index) for x in (images, labels, noise))
        return *(tf.ensure_shape(x, [size, *x.shape[1:]]) for x in full), weights

    def make(context):
        first, n = _share(context, size)
        batches = test(data, hyperparameters, n_batch).map(fill)
        mine = batches.map(lambda *batch: tuple(x[first : first + n] for x in batch))
        return mine.map(for_model(hyperparameters)).rebatch(share)

    return strategy.distribute_datasets_from_function(make), math.ceil(len(data) / n_batch)


def _share(context, size):
    """Returns the first image of a worker's share of a batch, and how many it has."""
    n = size // context.num_input_pipelines
    return context.input_pipeline_id * n, n


def _test_seed(step, draw=0):
    return tf.stack([tf.constant(draw, tf.int64), step])


def _noise(shape, hyperparameters, seed):
    return quantization.dequantization_noise(shape, hyperparameters.n_bits_x, seed)
