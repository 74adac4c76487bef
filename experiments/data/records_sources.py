"""Where records are made from: a folder of images, or a dataset of TFDS."""

import dataclasses
import sys

from PIL import Image

from experiments import pictures
from experiments.cli import UsageError
from experiments.data import image_folder, tfds_source, tfrecords


@dataclasses.dataclass(frozen=True)
class Form:
    """What images become.

    Attributes:
        image_size: int, height and width of squares, cropped in the middle.
        n_channels: 1 or 3.
        smaller_side: int; images aren't cropped, and get this smaller side. None for squares.
    """

    image_size: int
    n_channels: int
    smaller_side: int | None = None


class Folder:
    """The images of a folder; makes examples of some of them.

    The label is the number of the sub-folder where all images, of training and of testing, are in the same
    ones; else it is 0.

    Attributes:
        about: str, what was found where.
        classes: names of the sub-folders that are labels; none if there are none.
    """

    def __init__(self, folder, split: str, form: Form, skip_corrupt: bool = False):
        """Finds them.

        Args:
            folder: its path.
            split: "train" or "test".
            form: of the examples' images.
            skip_corrupt: whether what can't be followed is left out, with a warning.

        Raises:
            UsageError: if there are no images, or, without `skip_corrupt`, some can't be followed.
        """
        found = image_folder.find(folder)
        part = found.usable(split, skip_corrupt)
        for problem in part.problems:
            warn(problem)
        try:
            self.classes = found.classes()
            self._labels = found.labels(split, self.classes)
        except UsageError:
            self.classes, self._labels = [], [0] * len(part.paths)
        self.about, self._paths, self._form = found.about, part.paths, form

    def __len__(self):
        """Returns how many images there are."""
        return len(self._paths)

    def examples(self, first: int, last: int):
        """Yields a function that makes an example, for each image from first to last."""
        for path, label in zip(self._paths[first:last], self._labels[first:last], strict=True):
            yield lambda path=path, label=label: self._encode(path, label)

    def _encode(self, path, label):
        form = self._form
        image = image_folder.open_image(path, form.image_size, form.n_channels, form.smaller_side)
        return tfrecords.encode(image, label)


class Tfds:
    """The images of a split of a TFDS dataset, in its order; makes examples of some of them.

    Attributes:
        about, classes: as of `Folder`; there is nothing to say, and the labels are the dataset's own.
    """

    about, classes = "", ()

    def __init__(self, name: str, data_dir: str, split: str, form: Form, download: bool = False):
        """Finds the dataset.

        Args:
            name: of the dataset.
            data_dir: where TFDS has it; its own default if empty.
            split: "train" or "test", which may be called validation there.
            form: of the examples' images.
            download: whether TFDS may download it.

        Raises:
            UsageError: if it isn't there, has no such split, or no images.
        """
        made = tfds_source.builder(name, data_dir, [], download)
        names = [split] if split == "train" else ["test", "validation"]
        found = [name for name in names if name in made.info.splits]
        if not found:
            raise UsageError(
                f"The TFDS dataset {name!r} in {data_dir!r} has no split {' or '.join(names)}; it has: "
                f"{', '.join(made.info.splits) or 'none'}."
            )
        features = list(made.info.features or ())
        if "image" not in features:
            raise UsageError(
                f"The TFDS dataset {name!r} in {data_dir!r} has no feature image; it has: "
                f"{', '.join(features) or 'none'}."
            )
        self._name, self._data_dir = name, data_dir
        self._builder, self._split, self._form = made, found[0], form

    def __len__(self):
        """Returns how many images there are."""
        return self._builder.info.splits[self._split].num_examples

    def examples(self, first: int, last: int):
        """Yields a function that makes an example, for each image from first to last.

        Raises:
            UsageError: if the dataset's files are damaged.
        """
        import tensorflow_datasets as tfds

        split = f"{self._split}[{first}:{last}]"
        try:
            for example in tfds.as_numpy(self._builder.as_dataset(split=split, shuffle_files=False)):
                yield lambda example=example: self._encode(example)
        except Exception as error:  # Of damaged files TFDS raises whatever it runs into.
            raise tfds_source.unreadable(self._name, self._data_dir, error) from error

    def _encode(self, example):
        image, form = example["image"], self._form
        attributes = example.get("attributes")
        if isinstance(attributes, dict):  # As in CelebA's own list.
            attributes = [1 if attributes[name] else -1 for name in sorted(attributes)]
        try:
            label = int(example.get("label", 0))
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            picture = pictures.convert(picture, form.n_channels, least=form.smaller_side or form.image_size)
        except (TypeError, ValueError) as error:  # TypeError: two channels, or a dtype that no picture has.
            raise UsageError(f"Can't take an image of the TFDS dataset: {error}.") from error
        if form.smaller_side:
            fitted = pictures.shrunk(picture, form.smaller_side)
        else:
            fitted = pictures.square(picture, form.image_size)
        return tfrecords.encode(fitted, label, attributes if isinstance(attributes, list) else None)


def warn(text) -> None:
    """Says on stderr what is left out."""
    print(f"warning: left out: {text}", file=sys.stderr)
