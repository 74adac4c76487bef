"""How many images per second the input pipelines feed, beside what a model takes, and their memory.

    python -m experiments.pipeline_benchmark

Prints a table in Markdown: images in memory, TFRecords in the original's layout and a folder of PNG files
(the last two written to a temporary folder first), 32x32 and 64x64, all with the augmentation --dal 2 and
batches of 32; the rate of training a small model (K=8, width 128) on them; and by how much the process's
resident memory grows from the first tenth of an epoch to its end.
"""

import pathlib
import resource
import tempfile
import time

import tensorflow as tf
from absl import flags
from PIL import Image
from tqdm.auto import tqdm

from experiments import cli, settings
from experiments.data import batches, embedded, problems, tfrecords
from experiments.runs import Run

FLAGS = flags.FLAGS
_BATCH = 32
_MODEL_STEPS = 5
_PAGE = resource.getpagesize()


def define_flags():
    flags.DEFINE_integer("images", 10000, "Images of an epoch.", lower_bound=10 * _BATCH, upper_bound=10000)


def resident_megabytes() -> float:
    """Returns the resident memory of this process, in MB."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def feed(dataset, n: int) -> tuple[float, float]:
    """Reads an epoch of batches, as fast as they come.

    Args:
        dataset: of batches.
        n: int, how many.

    Returns:
        Images per second, and the growth of the resident memory after the first tenth, in MB.
    """
    iterator = iter(dataset)
    next(iterator)
    start, early = time.perf_counter(), None
    for i in range(n):
        next(iterator)
        if i == n // 10:
            early = resident_megabytes()
    return n * _BATCH / (time.perf_counter() - start), resident_megabytes() - early


def training_rate(hyperparameters: settings.Hyperparameters, data) -> float:
    """Returns how many images per second a model trains on, of one batch again and again."""
    run = Run(hyperparameters, "none")
    batch = batches.train(data, hyperparameters, _BATCH).take(1).cache().repeat()
    run.model.fit(batch, steps_per_epoch=1, verbose=0)
    start = time.perf_counter()
    run.model.fit(batch, steps_per_epoch=_MODEL_STEPS, verbose=0)
    return _MODEL_STEPS * _BATCH / (time.perf_counter() - start)


def write(folder: pathlib.Path, images) -> None:
    """Writes images as records, and as PNG files."""
    size = images.shape[1]
    for split, part in (("train", images), ("validation", images[:1])):
        path = folder / "records" / split / tfrecords.file_name(split, size, 0, 1)
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for image in part:
                writer.write(tfrecords.encode(image, 0))
    (folder / "png").mkdir()
    for i, image in enumerate(tqdm(images, desc="writing", leave=False)):
        Image.fromarray(image).save(folder / "png" / f"{i}.png")


def main(argv):
    del argv
    print("| images | feeds, images/s | trains, images/s | ratio | memory grows by |\n" + "| --- " * 5 + "|")
    for size in (32, 64):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write(folder, embedded.patches("train", size).images[: FLAGS.images])
            rate = None
            for what, problem, where in (
                ("in memory", "patches", ""),
                ("TFRecords", "imagenet", folder / "records"),
                ("PNG files", "folder", folder / "png"),
            ):
                given = dict(problem=problem, data_dir=str(where), image_size=size, dal=2, depth=8, width=128)
                hyperparameters = settings.resolve(given | dict(n_train=FLAGS.images, flow_coupling=1))
                data = problems.load(hyperparameters, "train")
                rate = rate or training_rate(hyperparameters, data)
                fed, growth = feed(batches.train(data, hyperparameters, _BATCH), FLAGS.images // _BATCH)
                cells = f"{size}x{size}, {what}", f"{fed:,.0f}", f"{rate:.1f}", f"{fed / rate:.0f}"
                print("|", " | ".join(cells), f"| {growth:.0f} MB |", flush=True)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
