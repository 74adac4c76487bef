r"""Writes images as TFRecords in the original's layout, which `--problem imagenet` and others read.

From a folder of images, or from a dataset of TFDS:

    python -m experiments.records --images photos --data_dir records --image_size 64
    python -m experiments.records --tfds celeb_a --tfds_dir ~/tensorflow_datasets --data_dir celeba \
        --image_size 128 --split test

Images are cropped in the middle to squares and made smaller by area averaging. The label of an image is the
number of its sub-folder, if all are in one; otherwise it is 0, or what TFDS says. A shard is there when it
is whole; the same command goes on with what is missing, and never writes over anything.
"""

import concurrent.futures
import itertools
import json
import math
import os
import pathlib
import sys

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image
from tqdm.auto import tqdm

from experiments import cli, pictures
from experiments.cli import UsageError
from experiments.data import image_folder, tfds_source, tfrecords
from experiments.runs import interruptions

FLAGS = flags.FLAGS

# Real NVP's LSUN: the smaller side is 96 pixels for crops of 64.
_SIDE_TO_CROP = 1.5


def define_flags():
    """Defines the flags of the command."""
    flags.DEFINE_string("images", None, "A folder of images.")
    flags.DEFINE_string("tfds", None, "Or the name of a TFDS dataset with the feature image.")
    flags.DEFINE_string("tfds_dir", "", "Where TFDS has it; TFDS' own default unless given.")
    flags.DEFINE_bool("download", False, "Let TFDS download the dataset.")
    flags.DEFINE_enum(
        "split", "train", list(tfrecords.SPLITS), "Which images; test is written as validation."
    )
    flags.DEFINE_string("data_dir", None, "Where to write; what --data_dir of training takes.")
    flags.DEFINE_integer("image_size", 64, "Height and width.", lower_bound=1)
    flags.DEFINE_enum("n_channels", "3", ["1", "3"], "1 for gray images, 3 for colours.")
    flags.DEFINE_bool("skip_corrupt", False, "Leave out images that can't be read, or are too small.")
    flags.DEFINE_integer("shard_size", 5000, "Images a file.", lower_bound=1)
    flags.DEFINE_bool(
        "for_random_crops",
        False,
        "Don't crop, but make the smaller side half as long again as --image_size; for lsun_realnvp.",
    )


class _Folder:
    """The images of a folder; makes examples of some of them.

    The label is the number of the sub-folder where all images, of training and of testing, are in the same
    ones; else it is 0.
    """

    def __init__(self, folder, split, smaller_side):
        found = image_folder.find(folder)
        part = found.usable(split, FLAGS.skip_corrupt)
        for problem in part.problems:
            _warn(problem)
        try:
            self.classes = found.classes()
            self._labels = found.labels(split, self.classes)
        except UsageError:
            self.classes, self._labels = [], [0] * len(part.paths)
        self.about, self._paths, self._side = found.about, part.paths, smaller_side

    def __len__(self):
        return len(self._paths)

    def examples(self, first, last):
        """Yields a function that makes an example, for each image from first to last."""
        for path, label in zip(self._paths[first:last], self._labels[first:last], strict=True):
            yield lambda path=path, label=label: tfrecords.encode(
                image_folder.open_image(path, FLAGS.image_size, int(FLAGS.n_channels), self._side), label
            )


class _Tfds:
    """The images of a split of a TFDS dataset, in its order; makes examples of some of them."""

    about, classes = "", []

    def __init__(self, name, data_dir, split, download, smaller_side):
        made = tfds_source.builder(name, data_dir, [], download)
        names = [split] if split == "train" else ["test", "validation"]
        found = [name for name in names if name in made.info.splits]
        if not found:
            raise UsageError(
                f"The TFDS dataset {name!r} in {data_dir!r} has no split {' or '.join(names)}; it has: "
                f"{', '.join(made.info.splits) or 'none'}."
            )
        self._builder, self._split, self._side = made, found[0], smaller_side

    def __len__(self):
        return self._builder.info.splits[self._split].num_examples

    def examples(self, first, last):
        """Yields a function that makes an example, for each image from first to last."""
        import tensorflow_datasets as tfds

        split = f"{self._split}[{first}:{last}]"
        for example in tfds.as_numpy(self._builder.as_dataset(split=split, shuffle_files=False)):
            yield lambda example=example: self._encode(example)

    def _encode(self, example):
        image = example["image"]
        attributes = example.get("attributes")
        if attributes is not None:  # As in CelebA's own list.
            attributes = [1 if attributes[name] else -1 for name in sorted(attributes)]
        size, side = FLAGS.image_size, self._side
        try:
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            picture = pictures.convert(picture, int(FLAGS.n_channels), least=side or size)
        except (TypeError, ValueError) as error:  # TypeError: two channels, or a dtype that no picture has.
            raise UsageError(f"Can't take an image of the TFDS dataset: {error}.") from error
        fitted = pictures.shrunk(picture, side) if side else pictures.square(picture, size)
        return tfrecords.encode(fitted, int(example.get("label", 0)), attributes)


def _warn(text):
    print(f"warning: left out: {text}", file=sys.stderr)


def _made(make):
    """Returns an example; with --skip_corrupt None for an image that can't be used."""
    try:
        return make()
    except UsageError as error:
        if not FLAGS.skip_corrupt:
            raise
        _warn(error)
        return None


def write(source, folder: pathlib.Path, plan: dict) -> int:
    """Writes the shards that are missing.

    Args:
        source: has a length and `examples(first, last)`.
        folder: of the split.
        plan: what is written, which a later call must repeat to go on; has image_size and shard_size.

    Returns:
        How many images are there, all together, but for those that this call left out.

    Raises:
        UsageError: if the folder holds other records, or all of these already.
    """
    n, size = len(source), plan["shard_size"]
    n_shards = math.ceil(n / size)
    # The name in the original's files is the split's.
    file_name = lambda shard: tfrecords.file_name(folder.name, plan["image_size"], shard, n_shards)
    paths = [folder / file_name(shard) for shard in range(n_shards)]
    _check_plan(folder, plan | dict(images=n), paths)
    written = [path.exists() for path in paths]
    counts = [min(size, n - shard * size) for shard in range(n_shards)]
    left_out = 0
    bar = tqdm(
        total=n, initial=sum(itertools.compress(counts, written)), desc=str(folder), unit="img", leave=False
    )
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for shard in np.flatnonzero(~np.array(written)):
            part = paths[shard].with_suffix(".part")
            with tf.io.TFRecordWriter(str(part)) as writer:
                examples = source.examples(shard * size, shard * size + counts[shard])
                # A bounded number at a time, so that memory doesn't grow with the shard.
                while some := list(itertools.islice(examples, 256)):
                    for example in pool.map(_made, some):
                        bar.update()
                        if example is None:
                            left_out += 1
                        else:
                            writer.write(example)
            part.replace(paths[shard])
    return n - left_out


def _check_plan(folder, plan, paths):
    file = folder / f"{tfrecords.resolution(plan['image_size'])}.json"
    others = sorted(set(folder.glob(f"*-{file.stem}-s-*.tfrecords")) - set(paths))
    if file.exists():
        old = json.loads(file.read_text())
        if old != plan:
            raise UsageError(
                f"{folder} holds records of {old}, not of {plan}. Give another --data_dir; nothing is "
                "overwritten."
            )
        if all(path.exists() for path in paths):
            raise UsageError(f"{folder} holds all {plan['images']} of these images already.")
    elif others or any(path.exists() for path in paths):
        raise UsageError(f"{folder} holds other records. Give another --data_dir; nothing is overwritten.")
    folder.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(plan, indent=2) + "\n")
    new.replace(file)


def main(argv):
    """Runs the command."""
    del argv
    if bool(FLAGS.images) == bool(FLAGS.tfds) or not FLAGS.data_dir:
        raise UsageError("Give --data_dir, and either --images (a folder) or --tfds (a dataset's name).")
    side = round(FLAGS.image_size * _SIDE_TO_CROP) if FLAGS.for_random_crops else None
    if FLAGS.images:
        if not pathlib.Path(FLAGS.images).is_dir():
            raise UsageError(f"--images must be a folder, got {FLAGS.images!r}.")
        source = _Folder(FLAGS.images, FLAGS.split, side)
    else:
        source = _Tfds(FLAGS.tfds, FLAGS.tfds_dir, FLAGS.split, FLAGS.download, side)
    plan = {name: FLAGS[name].value for name in ("images", "tfds", "image_size", "shard_size")}
    plan["smaller_side"] = side
    # Only what isn't as it always was: the plan of records that are there is compared.
    plan |= {"n_channels": 1} if FLAGS.n_channels == "1" else {}
    plan |= {"classes": source.classes} if source.classes else {}
    if source.about:
        print(source.about, flush=True)
    folder = pathlib.Path(FLAGS.data_dir) / tfrecords.SPLITS[FLAGS.split]
    try:
        n = write(source, folder, plan)
    except (OSError, tf.errors.OpError) as error:
        reason = interruptions.reason(error)
        if reason is None:
            raise
        raise UsageError(f"{reason} The same command goes on with the shards that are missing.") from error
    print(f"Wrote {n} images of {FLAGS.image_size}x{FLAGS.image_size} to {folder}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
