"""Any folder of images: which files are training and test data, and their classes."""

import dataclasses
import os
import pathlib

import numpy as np

from experiments import pictures
from experiments.cli import UsageError
from experiments.data.sources import Files

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
# Names of the folders, whatever their case; where there are several, the first one is taken.
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "validation", "valid", "val", "dev")
_TEST_EVERY = 10
# What archives and disk stations leave beside pictures: copies and thumbnails, that end in .jpg too.
_NO_DATA = ("__MACOSX", "@eaDir")
_ADVICE = "Remove it, or leave bad images out with --skip_corrupt."


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a split, in the order of their names.

    Attributes:
        top: the folder that they are under.
        paths: of the images.
        problems: sentences on what can't be followed: a link to nothing, or a folder that can't be listed.
        folders: those that were looked into, without links.
    """

    top: pathlib.Path
    paths: list[pathlib.Path]
    problems: list[str]
    folders: set[pathlib.Path]

    def class_of(self, path) -> str:
        """Returns the sub-folder of `top` that an image is in; "" if it is in `top` itself."""
        sub_folder, *rest = path.relative_to(self.top).parts
        return sub_folder if rest else ""

    @property
    def classes(self) -> list[str]:
        """The sub-folders that have images, sorted; with "" if there are images in none."""
        return sorted({self.class_of(path) for path in self.paths})


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is in a folder.

    Attributes:
        splits: "train" and "test".
        about: what was found where, a sentence.
    """

    splits: dict[str, Split]
    about: str

    def usable(self, split: str, skip_corrupt: bool) -> Split:
        """Returns a split.

        Raises:
            UsageError: if it has no images, or, without `skip_corrupt`, problems.
        """
        part = self.splits[split]
        if part.problems and not skip_corrupt:
            raise UsageError(f"{part.problems[0]} {_ADVICE}")
        if not part.paths:
            raise UsageError(
                f"There are no images to {split} with in {part.top}: files that end in "
                f"{', '.join(sorted(SUFFIXES))}."
            )
        return part

    def classes(self) -> list[str]:
        """Returns the names of the classes, the sub-folders with training images.

        Raises:
            UsageError: if an image is in no sub-folder, or only test images are in one.
        """
        train, test = self.splits["train"], self.splits["test"]
        for split in (train, test):
            loose = [path for path in split.paths if not split.class_of(path)]
            if loose:
                raise UsageError(
                    f"Each sub-folder of {split.top} is a class (--ycond, --context label), and {loose[0]} "
                    "is in none."
                )
        strange = sorted(set(test.classes) - set(train.classes))
        if strange:
            raise UsageError(
                f"The class {strange[0]!r} has test images, in {test.top / strange[0]}, but no training "
                f"images; the classes in {train.top} are: {', '.join(train.classes) or 'none'}."
            )
        return train.classes

    def labels(self, split: str, classes: list[str]) -> list[int]:
        """Returns the label of each image of a split: the number of its class.

        Raises:
            UsageError: if an image is of none of the classes.
        """
        part, number = self.splits[split], {name: i for i, name in enumerate(classes)}
        for path in part.paths:
            if part.class_of(path) not in number:
                raise UsageError(f"The image {path} is in none of the classes: {', '.join(classes)}.")
        return [number[part.class_of(path)] for path in part.paths]


def find(folder) -> Found:
    """Finds the images under a folder.

    These are the folder `train` and beside it `test`, or another of `TEST_NAMES`; else every tenth image is
    for testing. Links to folders are followed. Names that begin with a dot are no data.

    Raises:
        UsageError: if the folder can't be listed.
    """
    folder = pathlib.Path(folder)
    try:
        entries = sorted(path for path in folder.iterdir() if _is_data(path.name))
        trains, tests = _named(entries, TRAIN_NAMES), _named(entries, TEST_NAMES)
    except OSError as error:
        raise UsageError(f"Can't list the folder {folder}: {error.strerror}.") from error
    top = trains[0] if trains else folder
    if trains and tests:
        splits = dict(train=_walk(top), test=_walk(tests[0]))
        where = f"in {top} and in {tests[0]}"
        twice = splits["train"].folders & splits["test"].folders
        where += f"; in both: {', '.join(sorted(map(str, twice)))}" if twice else ""
    else:
        everything = _walk(top)
        training = [path for i, path in enumerate(everything.paths) if i % _TEST_EVERY]
        splits = dict(
            train=dataclasses.replace(everything, paths=training),
            test=dataclasses.replace(everything, paths=everything.paths[::_TEST_EVERY]),
        )
        missing = " or ".join(TEST_NAMES) if trains else "train"
        where = f"in {top}; every tenth is for testing, as there is no folder {missing} in {folder}"
    if trains:
        used = {split.top for split in splits.values()}
        aside = [
            path.name for path in entries if path not in used and (path.is_dir() or _is_image(path.name))
        ]
        where += f"; not used: {_some(aside)}" if aside else ""
    counts = {name: len(split.paths) for name, split in splits.items()}
    classes = splits["train"].classes
    about = f"{counts['train']} training and {counts['test']} test images"
    if classes and "" not in classes:
        about += f" in {len(classes)} sub-folder{'s' if len(classes) > 1 else ''} ({_some(classes)})"
    return Found(splits, f"Found {about} {where}.")


def classes(folder) -> list[str]:
    """Returns the classes of a folder; raises a UsageError as `Found.classes`, or if there are no images."""
    found = find(require(folder))
    found.usable("train", skip_corrupt=True)
    return found.classes()


def require(folder) -> pathlib.Path:
    """Returns --data_dir as a path; raises a UsageError if it isn't a folder."""
    if not folder or not pathlib.Path(folder).is_dir():
        raise UsageError(f"--problem folder needs --data_dir, a folder of images; got {folder!r}.")
    return pathlib.Path(folder)


def open_image(path, size: int, n_channels: int = 3, smaller_side: int | None = None) -> np.ndarray:
    """Reads an image, cropped in the middle to a square, and made smaller.

    Args:
        path: of the file.
        size: int, height and width.
        n_channels: 1 or 3.
        smaller_side: int; given, nothing is cropped, and this becomes the smaller side's length.

    Returns:
        uint8 [size, size, n_channels].

    Raises:
        UsageError: that names the file, if it can't be read or is smaller than that.
    """
    try:
        picture, _ = pictures.load(path, n_channels, least=smaller_side or size)
    except pictures.BadPicture as error:
        raise UsageError(f"Can't take the image {path}: {error}. {_ADVICE}") from error
    return pictures.shrunk(picture, smaller_side) if smaller_side else pictures.square(picture, size)


class ImageFolder(Files):
    """The images of a split of a folder.

    Attributes:
        found: what was found where, a sentence.
        lost: what can't be read, sentences.
    """

    def __init__(
        self, folder, split: str, size: int, n_channels: int = 3, classes=None, skip_corrupt: bool = False
    ):
        """Finds the images.

        Args:
            folder: to look in.
            split: "train" or "test".
            size: int, height and width of the images.
            n_channels: 1 or 3.
            classes: names of the sub-folders, whose numbers are the labels; all labels are 0 unless given.
            skip_corrupt: whether links and folders that can't be read are left out, rather than an error.

        Raises:
            UsageError: if there are none, or one is of another class.
        """
        super().__init__((size, size, n_channels))
        found = find(require(folder))
        part = found.usable(split, skip_corrupt)
        self.found, self.lost = found.about, part.problems
        self._paths = part.paths
        self._labels = found.labels(split, classes) if classes else [0] * len(part.paths)

    def __len__(self):
        """Returns how many images there are."""
        return len(self._paths)

    def read(self, i: int, random):
        """Reads an image, as `Files.read`."""
        size, _, n_channels = self.shape
        return open_image(self._paths[i], size, n_channels), self._labels[i]

    def drop(self, bad):
        """Leaves files out, as `Files.drop`."""
        kept = sorted(set(range(len(self))) - {int(i) for i in bad})
        self._paths = [self._paths[i] for i in kept]
        self._labels = [self._labels[i] for i in kept]


def _is_data(name):
    return not name.startswith(".") and name not in _NO_DATA


def _is_image(name):
    return pathlib.PurePath(name).suffix.lower() in SUFFIXES


def _some(names):
    text = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return text.encode(errors="replace").decode()  # A name may be no Unicode.


def _named(entries, names):
    """Returns the folders of these names in any case, in the order of `names`, lower case first."""
    found = [path for path in entries if path.name.lower() in names and path.is_dir()]
    return sorted(found, key=lambda path: (names.index(path.name.lower()), path.name.swapcase()))


def _walk(top):
    """Returns the images under a folder as a `Split`.

    A folder counts once, as itself rather than by a link to it, and a link to a folder that the link itself
    is in isn't followed: so links in circles end.
    """
    paths, problems, seen = [], [], set()
    folders, links = [top], []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            real = folder.resolve()
            if real in seen or (folder != top and folder.parent.resolve().is_relative_to(real)):
                continue
            seen.add(real)
            with os.scandir(folder) as listed:
                entries = sorted((entry for entry in listed if _is_data(entry.name)), key=lambda e: e.name)
        except OSError as error:
            problems.append(f"Can't list the folder {folder}: {error.strerror}.")
            continue
        for entry in entries:
            path, is_image = folder / entry.name, _is_image(entry.name)
            if os.path.isdir(path) if entry.is_symlink() else entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif is_image and (os.path.isfile(path) if entry.is_symlink() else entry.is_file()):
                paths.append(path)
            elif (is_image or not path.suffix) and not os.path.exists(path):
                problems.append(f"The link {path} leads to nothing.")
        links.sort()
    return Split(top, sorted(paths, key=lambda path: path.parts), problems, seen)
