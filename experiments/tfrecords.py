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

from experiments.hyperparameters import UsageError
from experiments.sources import Files

SPLITS = {"train": "train", "test": "validation"}
_HEADER = struct.Struct("<QI")  # Of a record: its length, and a checksum of that.
_FOOTER = struct.Struct("<I")


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
    if math.prod(shape) != len(data[0]):
        raise ValueError(f"its shape is {list(shape)}, but its data are {len(data[0])} bytes")
    example = dict(image=np.frombuffer(data[0], np.uint8).reshape(shape), label=label[0])
    if "attr" in features:
        example["attr"] = np.array(features["attr"].int64_list.value)
    return example


def find(data_dir, split: str, image_size: int) -> list[pathlib.Path]:
    """Returns the files of a split, in order; none if there is no such layout in `data_dir`.

    Raises:
        UsageError: if there are files of other sizes only, or some are missing.
    """
    folder = pathlib.Path(data_dir) / SPLITS[split]
    pattern = re.compile(r".+-(r\d\d)-s-(\d{4})-of-(\d{4})\.tfrecords")
    matches = {path: pattern.fullmatch(path.name) for path in sorted(folder.glob("*.tfrecords"))}
    sizes = sorted({match[1] for match in matches.values() if match})
    wanted = resolution(image_size)
    files = [path for path, match in matches.items() if match and match[1] == wanted]
    if sizes and not files:
        raise UsageError(
            f"{folder} has records of {', '.join(sizes)} (log2 of the image size), but --image_size "
            f"{image_size} needs {wanted}."
        )
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

    def __init__(self, files, shape, decode=decode, random_crop: bool = False, skip_corrupt: bool = False):
        """Finds the records.

        Args:
            files: their paths.
            shape: (H, W, C) of the images.
            decode: a function from a serialized example to a dict with `image` and `label`; raises a
                ValueError if it can't.
            random_crop: whether images may be larger, and are cropped.
            skip_corrupt: whether the rest of a file is left out where it can't be walked through.

        Raises:
            UsageError: if a file can't be walked through.
        """
        super().__init__(shape)
        self._decode, self._random_crop = decode, random_crop
        self._paths = [str(path) for path in files]
        self._open = [os.open(path, os.O_RDONLY) for path in self._paths]
        weakref.finalize(self, _close, self._open)
        self.lost = []
        found = []
        for number in range(len(files)):
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
        descriptor, offset, offsets = self._open[number], 0, []
        size = os.fstat(descriptor).st_size
        while offset < size:
            header = os.pread(descriptor, _HEADER.size, offset)
            try:
                length = _checked_length(header)
            except ValueError as error:
                return np.array(offsets, np.int64), self._problem(number, offset, error)
            end = offset + _HEADER.size + length + _FOOTER.size
            if end > size:
                problem = self._problem(number, offset, "the file ends within it")
                return np.array(offsets, np.int64), problem
            offsets.append(offset)
            offset = end
        return np.array(offsets, np.int64), None

    def _problem(self, number, offset, why):
        return (
            f"Bad record in {self._paths[number]} at byte {offset}: {why}. "
            "Write the file anew, or leave bad records out with --skip_corrupt."
        )

    def example(self, i: int) -> dict:
        """Reads the example of a number; raises a UsageError that names file and offset if it is bad."""
        number, offset = self._where[i]
        descriptor = self._open[number]
        try:
            length = _checked_length(os.pread(descriptor, _HEADER.size, offset))
            record = os.pread(descriptor, length + _FOOTER.size, offset + _HEADER.size)
            if _masked_crc(record[:length]) != _FOOTER.unpack(record[length:])[0]:
                raise ValueError("its checksum is wrong")
            return self._decode(record[:length])
        except (ValueError, struct.error) as error:
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


def _checked_length(header):
    if len(header) < _HEADER.size:
        raise ValueError("the file ends within its header")
    length, crc = _HEADER.unpack(header)
    if _masked_crc(header[:8]) != crc:
        raise ValueError("the checksum of its length is wrong, so the rest of the file is lost")
    return length


def _masked_crc(data):
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
