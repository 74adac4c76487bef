"""The datasets by their names: one entry each, with its size, its defaults, and how it is opened."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from absl import flags

from experiments.cli import UsageError
from experiments.data import embedded, idx, image_folder, tfds_source, tfrecords
from experiments.data.sources import Files, Images

ALL = -1  # As many test images as there are.


@dataclasses.dataclass(frozen=True)
class Problem:
    """A dataset, and where its runs differ from the original's defaults.

    Attributes:
        open: a function of the keywords hyperparameters, split, download and skip_corrupt, as `load` takes
            them, to `Images` or `Files` in the dataset's own order. Raises a UsageError.
        image_size: int, height and width, unless given.
        n_channels: int, unless given.
        gray: whether --n_channels 1 may be given too, as what the images are read from is the user's.
        n_test: int, test images, unless given; `ALL` where only the data say.
        n_y: int, labels from 0 on.
        classes: a function from --data_dir to the names of the labels, where labels play a
            part; n_y is then their number.
        most_dal: int, the level of augmentation that a higher --dal is taken for.
        defaults: of other hyperparameters, where they aren't the original's.
    """

    open: Callable[..., Images | Files]
    image_size: int
    n_test: int
    n_y: int
    n_channels: int = 3
    gray: bool = False
    classes: Callable[[str], list[str]] | None = None
    most_dal: int = 2
    defaults: dict = dataclasses.field(default_factory=dict)

    @property
    def allowed_channels(self) -> tuple[int, ...]:
        """What --n_channels may be."""
        return (1, 3) if self.gray else (self.n_channels,)


def _digits(split, **_):
    return embedded.digits(split)


def _patches(hyperparameters, split, **_):
    size = hyperparameters.image_size
    if size > embedded.MOST_PATCH_SIZE:
        raise UsageError(f"--image_size of patches must be at most {embedded.MOST_PATCH_SIZE}, got {size}.")
    return embedded.patches(split, size)


def _folder(hyperparameters, split, skip_corrupt, **_):
    h = hyperparameters
    return image_folder.ImageFolder(h.data_dir, split, h.image_size, h.n_channels, h.classes, skip_corrupt)


def _tfds(name, hyperparameters, split, download, padding=0, copies=1, **_):
    """Opens a small dataset of TFDS; `padding` black pixels on each side, `copies` of each channel."""
    data = tfds_source.in_memory(name, split, hyperparameters.data_dir, download, hyperparameters.n_y)
    return Images(np.tile(_padded(data.images, padding), (1, 1, 1, copies)), data.labels)


def _padded(images, padding):
    return np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _fashion_mnist(hyperparameters, split, download, **_):
    """Opens files in MNIST's format, in --data_dir or where Debian puts them; else TFDS' dataset."""
    h = hyperparameters
    files = idx.find(pathlib.Path(h.data_dir) if h.data_dir else DEBIAN_FASHION_MNIST, split)
    if not files:
        return _tfds("fashion_mnist", h, split, download, padding=2)
    data = idx.read(files, h.n_y)
    return Images(_padded(data.images, 2), data.labels)


# Of the package dataset-fashion-mnist.
DEBIAN_FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")


def _records(hyperparameters, split, download, skip_corrupt, random_crop=False, otherwise=None):
    """Opens the original's TFRecords; where there are none, what `otherwise` opens, if given."""
    h, size = hyperparameters, hyperparameters.image_size
    # The original appends the category to the folder.
    folder = pathlib.Path(h.data_dir) / h.category if h.data_dir else None
    files = tfrecords.find(folder, split, size) if folder else []
    if not files and otherwise:
        return otherwise(split, size, h.data_dir, download, skip_corrupt)
    if not files:
        raise UsageError(
            f"--problem {h.problem} is read from TFRecords: there are no files "
            f"{tfrecords.SPLITS[split]}/NAME-{tfrecords.resolution(size)}-s-SSSS-of-NNNN.tfrecords in "
            f"--data_dir {str(folder or h.data_dir)!r}. Write them with `python -m experiments.records`."
        )
    # Where labels play no part that of a problem with one class isn't looked at, whatever others wrote there.
    labelled = h.labelled or h.n_y > 1
    return tfrecords.Records(
        files,
        (size, size, h.n_channels),
        random_crop=random_crop,
        skip_corrupt=skip_corrupt,
        n_labels=h.n_y if labelled else None,
    )


PROBLEMS = {
    # This project's own: the embedded runs, and a folder of the user's.
    "digits": Problem(
        open=_digits,
        image_size=8,
        n_channels=1,
        n_test=360,
        n_y=10,
        defaults=dict(
            dal=0,
            n_train=1437,
            anchor_size=8,
            n_batch_train=64,
            n_batch_init=1437,
            n_levels=2,
            depth=8,
            width=64,
            n_bits_x=4,
            learntop=True,
            ycond=True,
            weight_y=0.01,
            flow_coupling="affine",
            epochs=30,
            epochs_warmup=2.0,
            epochs_full_valid=5,
        ),
    ),
    "patches": Problem(
        open=_patches,
        image_size=32,
        n_test=1000,
        n_y=1,
        defaults=dict(n_train=10000, learntop=True, flow_coupling="affine"),
    ),
    "folder": Problem(
        open=_folder, image_size=32, gray=True, n_test=ALL, n_y=1, classes=image_folder.classes
    ),
    "fashion_mnist": Problem(
        open=_fashion_mnist,
        image_size=32,
        n_channels=1,
        n_test=10000,
        n_y=10,
        most_dal=1,
        # A run of an hour on two cores.
        defaults=dict(
            dal=0,
            n_train=60000,
            n_batch_train=32,
            depth=8,
            width=128,
            learntop=True,
            flow_coupling="affine",
            epochs=8,
            epochs_warmup=1.0,
            epochs_full_valid=2,
        ),
    ),
    # The original's. Its MNIST is padded to 32x32, and has three equal channels.
    "mnist": Problem(
        open=partial(_tfds, "mnist", padding=2, copies=3),
        image_size=32,
        n_test=10000,
        n_y=10,
        most_dal=1,
    ),
    "cifar10": Problem(open=partial(_tfds, "cifar10"), image_size=32, n_test=10000, n_y=10),
    "imagenet-oord": Problem(
        open=partial(_records, otherwise=tfds_source.downsampled_imagenet),
        image_size=64,
        n_test=50000,
        n_y=1000,
    ),
    "imagenet": Problem(open=_records, image_size=256, gray=True, n_test=50000, n_y=1000),
    "celeba": Problem(open=_records, image_size=256, gray=True, n_test=3000, n_y=1),
    "lsun_realnvp": Problem(
        open=partial(_records, random_crop=True), image_size=64, gray=True, n_test=300, n_y=1
    ),
    "lsun": Problem(open=_records, image_size=256, gray=True, n_test=300, n_y=1),
}


def define_flags():
    """Defines the flags of reading."""
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_bool(
        "skip_corrupt", False, "Check all images first, and leave out damaged ones and those of a wrong size."
    )


def load(hyperparameters, split: str, download: bool = False, skip_corrupt: bool = False) -> Images | Files:
    """Opens a split of the dataset `hyperparameters.problem`, in the dataset's own order.

    Args:
        hyperparameters: resolved; problem, category, data_dir, image_size, n_channels, n_test, ycond,
            context, n_y and classes are read.
        split: "train" or "test".
        download: whether TFDS may download the dataset.
        skip_corrupt: whether bad images are left out, with a warning, rather than an error when they
            are read.

    Raises:
        UsageError: if the dataset can't be read, or not at this size.
    """
    problem, size = hyperparameters.problem, hyperparameters.image_size
    data = PROBLEMS[problem].open(
        hyperparameters=hyperparameters, split=split, download=download, skip_corrupt=skip_corrupt
    )
    if isinstance(data, Files) and skip_corrupt:
        bad = data.lost + data.drop_bad()
        if bad:
            print(
                f"warning: left out {len(bad)} bad parts of the {split} data of {problem}, the first one: "
                f"{bad[0]}",
                file=sys.stderr,
            )
    if isinstance(data, Images):
        full = data.images.shape[1]
        if size > full or full % size:
            raise UsageError(
                f"--image_size of {problem} must divide {full}, the size of its images, got {size}."
            )
    if not len(data):
        raise UsageError(
            f"The {split} data of {problem} in --data_dir {hyperparameters.data_dir!r} are empty."
        )
    n_test = hyperparameters.n_test
    if split == "test" and n_test != ALL:
        if n_test > len(data):
            raise UsageError(f"--n_test is {n_test}, but {problem} has {len(data)} test images.")
        if isinstance(data, Images):
            return Images(data.images[:n_test], data.labels[:n_test])
        data.drop(np.arange(n_test, len(data)))
    return data
