"""The original's TFRecord layout: its names, and its examples read in any order.

    DATA_DIR/SPLIT/NAME-rNN-s-SSSS-of-NNNN.tfrecords

SPLIT is train or validation, NN log2 of the image size. An example has the features `shape` int64 [3],
`data` bytes (uint8, row by row), `label` int64 [1], and for CelebA `attr` int64 [40].
"""

import math
import os
import pathlib
import re
import struct
import weakref

import google_crc32c
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from experiments.cli import UsageError
from experiments.data.sources import Files

SPLITS = {"train": "train", "test": "validation"}
_HEADER = struct.Struct("<QI")  # Of a record: its length, and a checksum of that.
_FOOTER = struct.Struct("<I")
_NAME = re.compile(r".+-(r\d\d)-s-(\d{4})-of-(\d{4})\.tfrecords")

# What a file begins with that is compressed.
_COMPRESSED = {
    "GZIP": (b"\x1f\x8b",),
    "ZLIB": (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
    "bzip2": (b"BZh",),
    "XZ": (b"\xfd7zXZ",),
    "Zstandard": (b"\x28\xb5\x2f\xfd",),
    "ZIP": (b"PK\x03\x04",),
}


def resolution(image_size: int) -> str:
    """Returns the rNN of an image size."""
    return f"r{math.ceil(math.log2(image_size)):02d}"


def file_name(name: str, image_size: int, shard: int, n_shards: int) -> str:
    """Returns the name of a shard's file."""
    return f"{name}-{resolution(image_size)}-s-{shard:04d}-of-{n_shards:04d}.tfrecords"


def encode(image, label: int, attributes=None) -> bytes:
    """Returns a serialized example.

    Args:
        image: uint8 [H, W, C].
        label: int.
        attributes: int [40] or None.
    """
    integers = lambda values: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    features = dict(
        shape=integers(image.shape),
        data=tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        label=integers([int(label)]),
    )
    if attributes is not None:
        features["attr"] = integers(attributes)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def decode(serialized: bytes) -> dict:
    """Returns `image` uint8 [H, W, C], `label` int and, where it has them, `attr` int64 [A].

    Raises:
        ValueError: if it isn't an example of this layout.
    """
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise ValueError("it isn't a tf.train.Example") from error
    shape = tuple(features["shape"].int64_list.value)
    data = features["data"].bytes_list.value
    label = features["label"].int64_list.value
    if len(shape) != 3 or len(data) != 1 or len(label) != 1:
        raise ValueError("it has no features shape int64 [3], data bytes [1] and label int64 [1]")
    if min(shape) < 1:
        raise ValueError(f"its shape is {list(shape)}, and must be positive")
    if math.prod(shape) != len(data[0]):
        raise ValueError(f"its shape is {list(shape)}, but its data are {len(data[0])} bytes")
    example = dict(image=np.frombuffer(data[0], np.uint8).reshape(shape), label=label[0])
    if "attr" in features:
        example["attr"] = np.array(features["attr"].int64_list.value)
    return example


def find(data_dir, split: str, image_size: int) -> list[pathlib.Path]:
    """Returns the files of a split, in order; none if there is no such layout in `data_dir`.

    Raises:
        UsageError: if there are files of other sizes or compressed ones only, some are missing, or the
            folder can't be read.
    """
    folder = pathlib.Path(data_dir) / SPLITS[split]
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as error:
        raise UsageError(f"Can't read the folder of records {folder}: {error.strerror}.") from error
    matches = {folder / name: match for name in names if (match := _NAME.fullmatch(name))}
    sizes = sorted({match[1] for match in matches.values()})
    wanted = resolution(image_size)
    files = [path for path, match in matches.items() if match[1] == wanted]
    if sizes and not files:
        raise UsageError(
            f"{folder} has records of {', '.join(sizes)} (log2 of the image size), but --image_size "
            f"{image_size} needs {wanted}."
        )
    packed = [name for name in names if _NAME.fullmatch(name.removesuffix(pathlib.Path(name).suffix))]
    if packed and not files:
        raise UsageError(f"{folder / packed[0]} must be unpacked first: records are read uncompressed.")
    numbers = [int(matches[path][2]) for path in files]
    totals = {int(matches[path][3]) for path in files}
    if files and (len(totals) > 1 or numbers != list(range(max(totals)))):
        raise UsageError(
            f"{folder} should hold the files 0 to {max(totals) - 1} of {wanted}, each once; it has {numbers}."
        )
    return files


class Records(Files):
    """The examples of TFRecord files, read by number.

    The files are walked through once for where each record starts; then records are read where they
    are, and their checksums checked.
    """

    def __init__(
        self,
        files,
        shape,
        decode=decode,
        random_crop: bool = False,
        skip_corrupt: bool = False,
        n_labels: int | None = None,
    ):
        """Finds the records.

        Args:
            files: their paths.
            shape: (H, W, C) of the images.
            decode: a function from a serialized example to a dict with `image` and `label`; raises a
                ValueError if it can't.
            random_crop: whether images may be larger, and are cropped.
            skip_corrupt: whether the rest of a file is left out where it can't be walked through.
            n_labels: int, how many labels there are, from 0; None for any that int32 holds.

        Raises:
            UsageError: if a file can't be opened or walked through.
        """
        super().__init__(shape)
        self._decode, self._random_crop = decode, random_crop
        self._labels = range(-(2**31), 2**31) if n_labels is None else range(n_labels)
        self._paths = [str(path) for path in files]
        self._open = []
        weakref.finalize(self, _close, self._open)
        found = [np.empty([0, 2], np.int64)]
        for number, path in enumerate(self._paths):
            self._open.append(_open(path))
            offsets, problem = self._walk(number)
            found.append(np.stack([np.full_like(offsets, number), offsets], 1))
            if problem and not skip_corrupt:
                raise UsageError(problem)
            self.lost += [problem] if problem else []
        self._where = np.concatenate(found)

    def __len__(self):
        """Returns how many records there are."""
        return len(self._where)

    def _walk(self, number):
        """Returns where the records of a file start, int64 [n], and what ends them too early, or None."""
        offset, offsets, problem = 0, [], None
        try:
            size = os.fstat(self._open[number]).st_size
            if size == 0:
                raise ValueError("the file is empty")
            while offset < size:
                end = offset + _HEADER.size + self._length(number, offset) + _FOOTER.size
                if end > size:
                    raise ValueError("the file ends within it")
                offsets.append(offset)
                offset = end
        except (ValueError, OSError) as error:
            problem = self._problem(number, offset, error)
        return np.array(offsets, np.int64), problem

    def _length(self, number, offset):
        header = os.pread(self._open[number], _HEADER.size, offset)
        whole = len(header) == _HEADER.size
        length, crc = _HEADER.unpack(header) if whole else (0, 0)
        if whole and _masked_crc(header[:8]) == crc:
            return length
        if offset == 0:
            for name, beginnings in _COMPRESSED.items():
                if header.startswith(beginnings):
                    raise ValueError(f"it is compressed by {name}, and records are read uncompressed")
        if not whole:
            raise ValueError("the file ends within its header")
        if offset == 0:
            raise ValueError("the file doesn't begin as a TFRecord file does")
        raise ValueError("the checksum of its length is wrong, so the rest of the file is lost")

    def _problem(self, number, offset, why):
        return (
            f"Bad record in {self._paths[number]} at byte {offset}: {why}. "
            "Write the file anew, or leave bad records out with --skip_corrupt."
        )

    def example(self, i: int) -> dict:
        """Reads the example of a number.

        Raises:
            UsageError: that names file and byte, if it is damaged or its label isn't allowed.
        """
        number, offset = self._where[i]
        try:
            length = self._length(number, offset)
            record = os.pread(self._open[number], length + _FOOTER.size, offset + _HEADER.size)
            if len(record) != length + _FOOTER.size:
                raise ValueError("the file ends within it")
            if _masked_crc(record[:length]) != _FOOTER.unpack(record[length:])[0]:
                raise ValueError("its checksum is wrong")
            example = self._decode(record[:length])
            if example["label"] not in self._labels:
                raise ValueError(
                    f"its label is {example['label']}, and must be {self._labels[0]} to {self._labels[-1]}"
                )
            return example
        except (ValueError, OSError) as error:
            raise UsageError(self._problem(number, offset, error)) from error

    def read(self, i: int, random):
        """Reads an image and its label, as `Files.read`."""
        example = self.example(i)
        image = example["image"]
        if self._random_crop and all(a >= b for a, b in zip(image.shape, self.shape, strict=True)):
            rng = random()
            top, left = (rng.integers(0, image.shape[k] - self.shape[k] + 1) for k in (0, 1))
            image = image[top : top + self.shape[0], left : left + self.shape[1]]
        if image.shape != self.shape:
            wanted = f"{'at least ' if self._random_crop else ''}{list(self.shape)}"
            raise UsageError(
                self._problem(*self._where[i], f"its image is {list(image.shape)}, not {wanted}")
            )
        return image, example["label"]

    def drop(self, bad):
        """Leaves records out, as `Files.drop`."""
        self._where = np.delete(self._where, bad, 0)


def _close(descriptors):
    for descriptor in descriptors:
        os.close(descriptor)


def _open(path):
    if not os.path.isfile(path):
        raise UsageError(f"{path} must be a file of records, and is no file.")
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"Can't read the records {path}: {error.strerror}.") from error


def _masked_crc(data):
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
