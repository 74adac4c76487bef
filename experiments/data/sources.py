"""Images by their number: in memory, or read one by one from files."""

import abc
import contextlib
import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from experiments.cli import UsageError


@dataclasses.dataclass(frozen=True)
class Images:
    """Images in memory, uint8 [N, H, W, C], and labels int32 [N].

    Attributes:
        failure, lost, found: as of `Files`; here nothing is left to be read.
    """

    images: np.ndarray
    labels: np.ndarray
    failure: ClassVar[None] = None
    lost: ClassVar[tuple] = ()
    found: ClassVar[str] = ""

    def __len__(self):
        """Returns N."""
        return len(self.images)

    def reader(self):
        """Returns a function for tf.data: (index int64 [n], seed int64 [2]) -> (images, labels)."""
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        return lambda index, seed: (tf.gather(images, index), tf.gather(labels, index))


class Files(abc.ABC):
    """Images of one size that are read from files, in any order.

    An image is a function of its number and the seed, so a batch is too: nothing has to be read again
    to go on with a run, and no order depends on how files happen to be read.

    Attributes:
        shape: (H, W, C).
        failure: the first UsageError of reading, which TensorFlow only passes on as text; None so far.
        lost: list of str, why parts of the files can't be read at all, where that is allowed.
        found: str, what was found where, if there is something to say.
    """

    def __init__(self, shape):
        """`shape` is (H, W, C)."""
        self.shape = tuple(shape)
        self.failure = None
        self.lost, self.found = [], ""

    @abc.abstractmethod
    def __len__(self):
        """Returns how many images there are."""

    @abc.abstractmethod
    def read(self, i: int, random):
        """Reads one image.

        Args:
            i: int, its number.
            random: a function without arguments to a numpy generator, for crops.

        Returns:
            uint8 [H, W, C], and its label, int.

        Raises:
            UsageError: that names the file, if the image is damaged or of another size.
        """

    @abc.abstractmethod
    def drop(self, bad) -> None:
        """Leaves out the images of the numbers `bad`; those after them are counted anew."""

    def reader(self):
        """Returns a function for tf.data: (index int64 [n], seed int64 [2]) -> (images, labels)."""

        def read(index, seed):
            images, labels = tf.numpy_function(self._batch, [index, seed], [tf.uint8, tf.int32])
            return tf.ensure_shape(images, [None, *self.shape]), tf.ensure_shape(labels, [None])

        return read

    def _batch(self, index, seed):
        images, labels = np.empty([len(index), *self.shape], np.uint8), np.empty([len(index)], np.int32)
        try:
            for row, i in enumerate(index):
                generator = lambda i=i: np.random.default_rng([*np.abs(seed), i])
                images[row], labels[row] = self.read(int(i), generator)
        except UsageError as error:
            self.failure = self.failure or error
            raise
        return images, labels

    def drop_bad(self) -> list[str]:
        """Reads every image once and leaves the bad ones out; returns why each is bad."""
        bad, why = [], []
        for i in tqdm(range(len(self)), desc="checking images", unit="img", leave=False):
            try:
                self.read(i, lambda: np.random.default_rng(0))
            except UsageError as error:
                bad.append(i)
                why.append(str(error))
        self.drop(bad)
        return why


@contextlib.contextmanager
def failures(*data: Images | Files):
    """Raises the UsageError of the first of `data` that couldn't be read for what TensorFlow makes of it."""
    try:
        yield
    except tf.errors.OpError as error:
        for source in data:
            if source.failure:
                raise source.failure from error
        raise
