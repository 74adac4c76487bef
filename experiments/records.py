r"""Writes images as TFRecords in the original's layout, which `--problem imagenet` and others read.

From a folder of images, or from a dataset of TFDS:

    python -m experiments.records --images photos --data_dir records --image_size 64
    python -m experiments.records --tfds celeb_a --tfds_dir ~/tensorflow_datasets --data_dir celeba \
        --image_size 128 --split test

Images are cropped in the middle to squares and made smaller by area averaging. The label of an image is the
number of its sub-folder, if all are in one; otherwise it is 0, or what TFDS says. A shard is there when it
is whole; the same command goes on with what is missing, and never writes over anything.
"""

import pathlib

import tensorflow as tf
from absl import flags

from experiments import cli
from experiments.cli import UsageError
from experiments.data import records_sources, records_writer, tfrecords
from experiments.runs import interruptions

FLAGS = flags.FLAGS

# Real NVP's LSUN: the smaller side is 96 pixels for crops of 64.
_SIDE_TO_CROP = 1.5


def define_flags():
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
    flags.DEFINE_integer("shard_size", 5000, "Images per file.", lower_bound=1)
    flags.DEFINE_bool(
        "for_random_crops",
        False,
        "Don't crop, but make the smaller side half as long again as --image_size; for lsun_realnvp.",
    )


def main(argv):
    del argv
    if bool(FLAGS.images) == bool(FLAGS.tfds) or not FLAGS.data_dir:
        raise UsageError("Give --data_dir, and either --images (a folder) or --tfds (a dataset's name).")
    side = round(FLAGS.image_size * _SIDE_TO_CROP) if FLAGS.for_random_crops else None
    form = records_sources.Form(FLAGS.image_size, int(FLAGS.n_channels), side)
    if FLAGS.images:
        if not pathlib.Path(FLAGS.images).is_dir():
            raise UsageError(f"--images must be a folder, got {FLAGS.images!r}.")
        source = records_sources.Folder(FLAGS.images, FLAGS.split, form, FLAGS.skip_corrupt)
    else:
        source = records_sources.Tfds(FLAGS.tfds, FLAGS.tfds_dir, FLAGS.split, form, FLAGS.download)
    plan = {name: FLAGS[name].value for name in ("tfds", "image_size", "shard_size")}
    plan["smaller_side"] = side
    plan |= {"folder": str(pathlib.Path(FLAGS.images).resolve())} if FLAGS.images else {}
    # Only what isn't as it always was: the plan of records that are there is compared.
    plan |= {"n_channels": 1} if FLAGS.n_channels == "1" else {}
    plan |= {"classes": source.classes} if source.classes else {}
    if source.about:
        print(source.about, flush=True)
    folder = pathlib.Path(FLAGS.data_dir) / tfrecords.SPLITS[FLAGS.split]
    try:
        n = records_writer.write(source, folder, plan, FLAGS.skip_corrupt)
    except (OSError, tf.errors.OpError) as error:
        reason = interruptions.reason(error)
        if reason is None:
            raise
        raise UsageError(f"{reason} The same command goes on with the shards that are missing.") from error
    print(f"Wrote {n} images of {FLAGS.image_size}x{FLAGS.image_size} to {folder}.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
