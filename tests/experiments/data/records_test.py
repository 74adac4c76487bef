"""Images from files: the original's TFRecords, folders, and what is wrong with them."""

import bz2
import dataclasses
import errno
import functools
import gzip
import io
import json
import lzma
import os
import shutil
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

from experiments import records
from experiments.cli import UsageError
from experiments.data import batches, problems, sources, tfds_source, tfrecords
from experiments.settings import resolve
from tests.support import commands


def foreign_write(path, images, labels, attributes=None):
    """Writes the layout by plain tf.io, as someone who has only its description would."""
    integers = lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            features = {
                "shape": integers(image.shape),
                "data": tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(image)])),
                "label": integers([label]),
            }
            if attributes is not None:
                features["attr"] = integers(attributes[i])
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def records_hps(data_dir, problem="imagenet", size=16, **changes):
    """Returns the hyperparameters of a small model of images from records."""
    given = dict(problem=problem, data_dir=str(data_dir), image_size=size, n_test=4, n_levels=2)
    return resolve(given | changes)


@pytest.fixture
def images(rng):
    """Twelve images of 16x16."""
    return rng.integers(0, 256, (12, 16, 16, 3), np.uint8)


@pytest.fixture
def layout(tmp_path, images):
    """The images in two shards, all of them to train and the first four to test."""
    for shard in range(2):
        part = slice(6 * shard, 6 * shard + 6)
        path = tmp_path / f"train/train-r04-s-{shard:04d}-of-0002.tfrecords"
        foreign_write(path, images[part], range(12)[part])
    foreign_write(tmp_path / "validation/validation-r04-s-0000-of-0001.tfrecords", images[:4], [7] * 4)
    return tmp_path


def all_images(data, hyperparameters):
    """Returns the images and labels of all test batches."""
    read = list(batches.test(data, hyperparameters, 5))
    return np.concatenate([b[0] for b in read]), np.concatenate([b[1] for b in read])


@pytest.mark.parametrize("problem", ["imagenet-oord", "imagenet", "celeba"])
def test_records_of_an_independent_writer(layout, images, problem):
    hyperparameters = records_hps(layout, problem)
    read, labels = all_images(problems.load(hyperparameters, "train"), hyperparameters)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(labels, np.arange(12))
    read, labels = all_images(problems.load(hyperparameters, "test"), hyperparameters)
    np.testing.assert_array_equal(read, images[:4])
    assert set(labels) == {7}


def test_attributes(tmp_path, images, rng):
    attributes = rng.choice([-1, 1], (12, 40))
    path = tmp_path / "train-r04-s-0000-of-0001.tfrecords"
    foreign_write(path, images, [0] * 12, attributes)
    data = tfrecords.Records([path], (16, 16, 3))
    for i in (11, 0, 5):
        example = data.example(i)
        np.testing.assert_array_equal(example["image"], images[i])
        np.testing.assert_array_equal(example["attr"], attributes[i])


def test_lsun(tmp_path, images):
    """The category is a folder; Real NVP's are cropped at random, the same at the same step."""
    foreign_write(tmp_path / "tower/train/train-r03-s-0000-of-0001.tfrecords", images, [0] * 12)
    hyperparameters = records_hps(tmp_path, "lsun_realnvp", size=8, category="tower", dal=0)
    data = problems.load(hyperparameters, "train")
    take = lambda first, n: list(batches.train(data, hyperparameters, 12, first).take(n))
    first, second = take(0, 2)
    np.testing.assert_array_equal(second[0], take(1, 1)[0][0])
    assert (np.sort(first[0], 0) != np.sort(second[0], 0)).any(), "other crops in another step"
    windows = np.lib.stride_tricks.sliding_window_view(images, (8, 8, 3), (1, 2, 3)).reshape(-1, 8 * 8 * 3)
    known = {bytes(w) for w in windows}
    assert all(bytes(crop) in known for crop in first[0].numpy())
    with pytest.raises(UsageError, match="bedroom"):
        problems.load(dataclasses.replace(hyperparameters, category="bedroom"), "train")


def test_parts_make_up_the_batch(layout):
    """Of two workers each makes its share, filled up: images, augmentation and noise are the batch's."""
    hyperparameters = records_hps(layout, dal=2)
    data = problems.load(hyperparameters, "train")
    whole = list(batches.train(data, hyperparameters, 6, 3).take(2))
    for n in (3, 4):
        shares = [list(batches.train(data, hyperparameters, 6, 3, first, n).take(2)) for first in (0, n)]
        for step in range(2):
            for k in range(3):
                parts = np.concatenate([share[step][k] for share in shares])
                np.testing.assert_array_equal(parts[:6], whole[step][k])
                np.testing.assert_array_equal(parts[6:], whole[step][k][: 2 * n - 6])


def damage(path, offset):
    """Changes a byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def record_offsets(path):
    """Returns where the records of a file start."""
    lengths = [len(r.numpy()) + 16 for r in tf.data.TFRecordDataset(str(path))]
    return np.cumsum([0, *lengths])[:-1]


def test_corrupt_record(layout, images, capsys):
    path = layout / "train/train-r04-s-0001-of-0002.tfrecords"
    offset = record_offsets(path)[2]
    damage(path, offset + 300)
    hyperparameters = records_hps(layout)
    data = problems.load(hyperparameters, "train")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hyperparameters)
    assert str(path) in str(data.failure) and f"at byte {offset}:" in str(data.failure)
    assert "checksum" in str(data.failure)
    data = problems.load(hyperparameters, "train", skip_corrupt=True)
    assert "left out 1 bad" in capsys.readouterr().err
    read, _ = all_images(data, hyperparameters)
    np.testing.assert_array_equal(read, np.delete(images, 8, 0))


def test_corrupt_length_and_truncated_file(layout, images, capsys):
    """What comes after such a place in a file can't be found."""
    path = layout / "train/train-r04-s-0001-of-0002.tfrecords"
    whole = path.read_bytes()
    offset = record_offsets(path)[2]
    hyperparameters = records_hps(layout)
    damage(path, offset + 1)
    with pytest.raises(UsageError, match=f"at byte {offset}: .*length"):
        problems.load(hyperparameters, "train")
    path.write_bytes(whole[: offset + 100])
    with pytest.raises(UsageError, match=f"at byte {offset}: the file ends"):
        problems.load(hyperparameters, "train")
    data = problems.load(hyperparameters, "train", skip_corrupt=True)
    assert "left out 1 bad" in capsys.readouterr().err
    np.testing.assert_array_equal(all_images(data, hyperparameters)[0], images[:8])


def test_training_tells_of_a_corrupt_record(layout, tmp_path):
    """The command's own answer, through TensorFlow: a paragraph that names file and offset."""
    path = layout / "train/train-r04-s-0000-of-0002.tfrecords"
    damage(path, record_offsets(path)[3] + 200)
    message = commands.run(
        "train", *f"--problem imagenet --data_dir {layout} --image_size 16 --n_levels 2 --n_test 4".split(),
        *f"--depth 1 --width 4 --n_train 64 --n_batch_train 3 --logdir {tmp_path}/run".split(), fails=True,
    )  # fmt: skip
    assert "Traceback" not in message and str(path) in message and "--skip_corrupt" in message


def example_of(**changes):
    """Returns a serialized example of a 16x16 image, with some features changed, or left out (None)."""
    integers = lambda *v: tf.train.Feature(int64_list=tf.train.Int64List(value=v))
    blob = lambda *v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v))
    features = dict(shape=integers(16, 16, 3), data=blob(bytes(16 * 16 * 3)), label=integers(0))
    for name, value in changes.items():
        features[name] = (
            value if value is None else blob(value) if isinstance(value, bytes) else integers(*value)
        )
    kept = {name: value for name, value in features.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()


def write_records(path, serialized):
    """Writes records, whatever is in them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in serialized:
            writer.write(record)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (example_of(label=[1000]), "label is 1000, and must be 0 to 999"),
        (example_of(label=[-1]), "label is -1, and must be 0 to 999"),
        (example_of(label=[2**31]), f"label is {2**31}"),
        (example_of(label=[-(2**63)]), f"label is {-(2**63)}"),
        (example_of(label=[2**63 - 1]), f"label is {2**63 - 1}"),
        (example_of(label=[]), "no features"),
        (example_of(label=[1, 2]), "no features"),
        (example_of(label=None), "no features"),
        (example_of(label=b"7"), "no features"),
        (example_of(data=None), "no features"),
        (example_of(data=[0] * 768), "no features"),
        (example_of(data=b""), "0 bytes"),
        (example_of(data=bytes(767)), "767 bytes"),
        (example_of(data=bytes(769)), "769 bytes"),
        (example_of(shape=None), "no features"),
        (example_of(shape=b"16 16 3"), "no features"),
        (example_of(shape=[256, 3]), "no features"),
        (example_of(shape=[1, 16, 16, 3]), "no features"),
        (example_of(shape=[-16, -16, 3]), "shape is .-16, -16, 3., and must be positive"),
        (example_of(shape=[-1, 16, 3]), "must be positive"),
        (example_of(shape=[0, 16, 3], data=b""), "must be positive"),
        (example_of(shape=[2**62, 2**62, 3]), "768 bytes"),
        (example_of(shape=[3, 16, 16]), r"image is \[3, 16, 16\], not \[16, 16, 3\]"),
        (example_of(shape=[16, 12, 4]), r"image is \[16, 12, 4\]"),
        (b"", "no features"),
        (b"\x89PNG\r\n", "isn't a tf.train.Example"),
        (b"\xff" * 99, "isn't a tf.train.Example"),
    ],
)
def test_bad_examples(tmp_path, record, words, capsys):
    """The file and the byte are named, and it is left out where that is asked for."""
    path = tmp_path / "train/train-r04-s-0000-of-0001.tfrecords"
    write_records(path, [example_of(label=[999]), record, example_of(label=[3])])
    offset = record_offsets(path)[1]
    data = problems.load(records_hps(tmp_path), "train")
    with pytest.raises(UsageError, match=f"{path} at byte {offset}: .*{words}"):
        data.read(1, None)
    with pytest.raises(UsageError, match=words), sources.failures(data):
        all_images(data, records_hps(tmp_path))
    data = problems.load(records_hps(tmp_path), "train", skip_corrupt=True)
    assert "left out 1 bad" in capsys.readouterr().err
    assert [data.read(i, None)[1] for i in range(len(data))] == [999, 3]


def test_other_failures_pass(layout):
    data = problems.load(records_hps(layout), "train")
    with pytest.raises(tf.errors.UnknownError, match="another"), sources.failures(data):
        raise tf.errors.UnknownError(None, None, "another one")


@pytest.mark.parametrize(
    ("problem", "ycond", "labels", "bad"),
    [
        ("celeba", False, [5, -1, 2**31 - 1, -(2**31)], []),  # Of one class, and not looked at.
        ("celeba", False, [2**31], [0]),
        ("celeba", True, [0, 1, -1], [1, 2]),
        ("imagenet", False, [0, 999, 1000], [2]),
        ("imagenet-oord", True, [-1, 999], [0]),
    ],
)
def test_labels(tmp_path, problem, ycond, labels, bad):
    write_records(
        tmp_path / "train/train-r04-s-0000-of-0001.tfrecords", [example_of(label=[label]) for label in labels]
    )
    hyperparameters = records_hps(tmp_path, problem, ycond=ycond)
    good = np.delete(labels, bad)
    if len(good):
        data = problems.load(hyperparameters, "train", skip_corrupt=True)
        np.testing.assert_array_equal(all_images(data, hyperparameters)[1], good)
    else:
        with pytest.raises(UsageError, match="are empty"):
            problems.load(hyperparameters, "train", skip_corrupt=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (gzip.compress, "compressed by GZIP"),
        (zlib.compress, "compressed by ZLIB"),
        (lambda whole: zlib.compress(whole, 9), "compressed by ZLIB"),
        (bz2.compress, "compressed by bzip2"),
        (lzma.compress, "compressed by XZ"),
        (lambda whole: b"", "the file is empty"),
        (lambda whole: whole[:7], "ends within its header"),
        (lambda whole: whole[:13], "ends within it"),
        (lambda whole: whole[:-1], "ends within it"),
        (lambda whole: b"\x89PNG\r\n" + whole, "doesn't begin as a TFRecord"),
        (lambda whole: b"some text, which is no record", "doesn't begin as a TFRecord"),
        (lambda whole: bytes(100), "doesn't begin as a TFRecord"),
        (lambda whole: whole + b"x", "ends within its header"),
    ],
)
def test_bad_files(layout, images, make, words, capsys):
    """Of a file whose second half is damaged the first is kept; the other files are."""
    path = layout / "train/train-r04-s-0001-of-0002.tfrecords"
    path.write_bytes(make(path.read_bytes()))
    hyperparameters = records_hps(layout)
    with pytest.raises(UsageError, match=f"Bad record in {path} at byte [0-9]+: .*{words}.*--skip_corrupt"):
        problems.load(hyperparameters, "train")
    data = problems.load(hyperparameters, "train", skip_corrupt=True)
    assert words in capsys.readouterr().err and 6 <= len(data) <= 12
    np.testing.assert_array_equal(all_images(data, hyperparameters)[0], images[: len(data)])


def test_what_is_no_file(layout, monkeypatch):
    path = layout / "train/train-r04-s-0001-of-0002.tfrecords"
    content = path.read_bytes()
    path.unlink()
    hyperparameters = records_hps(layout)
    path.with_suffix(".tfrecords.gz").write_bytes(gzip.compress(content))
    with pytest.raises(UsageError, match=r"each once; it has \[0\]"):
        problems.load(hyperparameters, "train")
    path.mkdir()
    with pytest.raises(UsageError, match=f"{path} must be a file"):
        problems.load(hyperparameters, "train")
    path.rmdir()
    path.symlink_to("gone")
    with pytest.raises(UsageError, match=f"{path} must be a file"):
        problems.load(hyperparameters, "train")
    path.unlink()
    os.mkfifo(path)  # Opening it would wait for who writes.
    with pytest.raises(UsageError, match=f"{path} must be a file"):
        problems.load(hyperparameters, "train")
    path.unlink()
    path.write_bytes(content)

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(UsageError, match="Can't read the records .*s-0000-of-0002.*Permission denied"):
            problems.load(hyperparameters, "train")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(UsageError, match=f"folder of records {layout}/train: Permission denied"):
            problems.load(hyperparameters, "train")
    data = problems.load(hyperparameters, "train")
    os.truncate(path, 100)  # While it is read.
    with pytest.raises(UsageError, match=f"{path} at byte .*: the file ends within it"):
        [data.read(i, None) for i in range(len(data))]


def test_only_compressed_files(layout):
    path = layout / "validation/validation-r04-s-0000-of-0001.tfrecords"
    path.rename(path.with_suffix(".tfrecords.gz"))
    with pytest.raises(UsageError, match=f"{path}.gz must be unpacked first"):
        problems.load(records_hps(layout), "test")
    (layout / "validation").rename(layout / "old")
    (layout / "validation").write_text("a file")
    with pytest.raises(UsageError, match="there are no files validation/"):
        problems.load(records_hps(layout), "test")


def damaged(whole: bytes, rng) -> bytes:
    """Returns bytes of which some are changed, cut out, or put in."""
    data = bytearray(whole)
    for place in rng.integers(0, len(data), rng.integers(0, 4)):
        data[place] ^= 1 << rng.integers(8)
    kind, (first, last) = rng.integers(4), np.sort(rng.integers(0, len(data), 2))
    if kind == 0:
        del data[last:]
    if kind == 1:
        del data[first:last]
    if kind == 2:
        data[first:first] = rng.bytes(last - first)
    return bytes(data)


def assert_only_usage_errors(open_data) -> int:
    """Reads all images, and again without the bad ones; returns how many were good."""
    try:
        data = open_data(skip_corrupt=False)
        for i in range(len(data)):
            data.read(i, None)
    except UsageError:
        pass
    data = open_data(skip_corrupt=True)
    data.drop_bad()
    for i in range(len(data)):
        image, label = data.read(i, None)
        assert image.shape == data.shape and image.dtype == np.uint8 and label in range(1000)
    return len(data)


@pytest.mark.parametrize("signed", [False, True])
def test_fuzz_records(tmp_path, signed, rng):
    """Damaged files; and damaged examples, whose checksums are right: a UsageError, or a whole image."""
    path = tmp_path / "train-r02-s-0000-of-0001.tfrecords"
    image = rng.integers(0, 256, (4, 4, 3), np.uint8)
    examples = [tfrecords.encode(image, label) for label in (0, 7, 999)]
    write_records(path, examples)
    whole = path.read_bytes()
    n_good = []
    for _ in range(75):
        if signed:
            write_records(path, [damaged(example, rng) for example in examples])
        else:
            path.write_bytes(damaged(whole, rng))
        make = functools.partial(tfrecords.Records, [path], (4, 4, 3), n_labels=1000)
        n_good.append(assert_only_usage_errors(make))
    assert {0, 1, 2} <= set(n_good)


def test_image_of_the_wrong_size(layout, rng):
    path = layout / "train/train-r04-s-0000-of-0002.tfrecords"
    foreign_write(path, rng.integers(0, 256, (2, 16, 12, 3), np.uint8), [0, 1])
    hyperparameters = records_hps(layout)
    data = problems.load(hyperparameters, "train")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hyperparameters)
    assert "[16, 12, 3], not [16, 16, 3]" in str(data.failure) and str(path) in str(data.failure)
    assert len(problems.load(hyperparameters, "train", skip_corrupt=True)) == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(size=32), "r04.*needs r05"),
        (dict(data_dir="/nowhere"), "/nowhere"),
        (dict(n_test=5), "n_test is 5"),
    ],
)
def test_wrong_layouts(layout, change, words):
    with pytest.raises(UsageError, match=words):
        problems.load(records_hps(**dict(data_dir=layout) | change), "test")


def test_missing_shard(layout):
    (layout / "train/train-r04-s-0000-of-0002.tfrecords").unlink()
    with pytest.raises(UsageError, match=r"files 0 to 1 of r04, each once; it has \[1\]"):
        problems.load(records_hps(layout), "train")


@pytest.fixture
def folder(tmp_path, rng):
    """Twenty pictures, larger than 16x16, of several shapes and kinds."""
    top = tmp_path / "photos"
    (top / "more").mkdir(parents=True)
    for i in range(20):
        picture = Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8))
        picture.convert("L" if i == 3 else "RGB").save(top / ("more" if i > 9 else "") / f"{i:02d}.png")
    return top


def test_folder(folder):
    hyperparameters = resolve(dict(problem="folder", data_dir=str(folder), image_size=16))
    train, test = problems.load(hyperparameters, "train"), problems.load(hyperparameters, "test")
    assert len(train) == 18 and len(test) == 2
    middle = np.asarray(Image.open(folder / "00.png"))[:, 8:40].astype(float)
    areas = middle.reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(all_images(test, hyperparameters)[0][0], np.floor(areas))
    assert next(iter(batches.train(train, hyperparameters, 6)))[0].shape == (6, 16, 16, 3)
    Image.new("RGB", (15, 40)).save(folder / "small.png")  # The 21st, which is for testing.
    data = problems.load(hyperparameters, "test")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hyperparameters)
    assert "small.png" in str(data.failure) and "15 pixels wide and 40 high" in str(data.failure)
    (folder / "text.png").write_text("no image")
    assert len(problems.load(hyperparameters, "train", skip_corrupt=True)) == 18
    with pytest.raises(UsageError, match="/nowhere"):
        problems.load(dataclasses.replace(hyperparameters, data_dir="/nowhere"), "train")


def write(*arguments):
    """Runs `experiments.records` in this process; raises its UsageErrors."""
    values = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "FLAGS", values)
        for kind in ("string", "bool", "enum", "integer"):
            define = functools.partial(getattr(flags, f"DEFINE_{kind}"), flag_values=values)
            patch.setattr(flags, f"DEFINE_{kind}", define)
        records.define_flags()
        values(["records", *map(str, arguments)])
        records.main([])


def test_writer_goes_on_and_never_overwrites(folder, tmp_path):
    out = tmp_path / "records"
    arguments = ["--images", folder, "--data_dir", out, "--image_size", 16, "--shard_size", 5]
    write(*arguments)
    write(*arguments, "--split", "test")
    files = sorted((out / "train").glob("*.tfrecords"))
    assert [f.name for f in files] == [f"train-r04-s-000{i}-of-0004.tfrecords" for i in range(4)]
    hyperparameters = records_hps(out, n_test=2)
    read, _ = all_images(problems.load(hyperparameters, "train"), hyperparameters)
    from_folder = resolve(dict(problem="folder", data_dir=str(folder), image_size=16))
    np.testing.assert_array_equal(read, all_images(problems.load(from_folder, "train"), from_folder)[0])
    # What was cut is written again, and nothing else.
    content, times = files[1].read_bytes(), [f.stat().st_mtime_ns for f in files]
    files[1].rename(files[1].with_suffix(".part"))
    write(*arguments)
    assert files[1].read_bytes() == content
    assert [f.stat().st_mtime_ns == t for f, t in zip(files, times, strict=True)] == [True, False, True, True]
    with pytest.raises(UsageError, match="holds all 18 of these images already"):
        write(*arguments)
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write(*arguments, "--shard_size", 6)
    # Other images, even as many, don't go into the same shards; a plan of an earlier version names no folder.
    files[2].unlink()
    with pytest.raises(UsageError, match="holds records of .*photos.*, not of .*others"):
        write("--images", shutil.copytree(folder, tmp_path / "others"), *arguments[2:])
    plan = out / "train" / "r04.json"
    old = json.loads(plan.read_text())
    assert old.pop("folder") == str(folder) and old["images"] == 18
    plan.write_text(json.dumps(old))
    write(*arguments)
    assert files[2].exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 100_000, b'{"images": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "list", "null", "number", "no_utf8", "deep", "many_digits"],
)
def test_a_damaged_plan_is_told(folder, tmp_path, content):
    arguments = ["--images", folder, "--data_dir", tmp_path, "--image_size", 16]
    plan = tmp_path / "train" / "r04.json"
    plan.parent.mkdir()
    plan.write_bytes(content)
    with pytest.raises(UsageError, match="r04.json, which says what .* is damaged: .* another --data_dir"):
        write(*arguments)
    assert plan.read_bytes() == content and list(plan.parent.iterdir()) == [plan]


@pytest.mark.parametrize("damage", ["cut", "length", "data", "gone"])
def test_damaged_shards_of_tfds_are_told(tmp_path, rng, damage):
    examples = dict(image=rng.integers(0, 256, (3, 20, 20, 3), np.uint8))
    tfds.dataset_builders.store_as_tfds_dataset(
        "photos",
        version="1.0.0",
        features=tfds.features.FeaturesDict(dict(image=tfds.features.Image(shape=(20, 20, 3)))),
        split_datasets=dict(train=tf.data.Dataset.from_tensor_slices(examples)),
        data_dir=tmp_path / "tfds",
    )
    (shard,) = (tmp_path / "tfds").rglob("*.tfrecord*")
    content = bytearray(shard.read_bytes())
    if damage == "gone":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(content[: len(content) // 2])
    else:
        content[0 if damage == "length" else len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
    arguments = ["--tfds", "photos", "--tfds_dir", tmp_path / "tfds", "--data_dir", tmp_path / "out"]
    with pytest.raises(UsageError, match="Can't read the TFDS dataset 'photos' in .*--download"):
        write(*arguments, "--image_size", 16)
    assert not list((tmp_path / "out").rglob("*.tfrecords"))


def test_a_tfds_dataset_without_images_is_told(tmp_path):
    tfds.dataset_builders.store_as_tfds_dataset(
        "numbers",
        version="1.0.0",
        features=tfds.features.FeaturesDict(dict(x=tfds.features.Scalar(np.int64))),
        split_datasets=dict(train=tf.data.Dataset.from_tensor_slices(dict(x=np.arange(3)))),
        data_dir=tmp_path / "tfds",
    )
    with pytest.raises(UsageError, match="'numbers' in .* has no feature image; it has: x"):
        write("--tfds", "numbers", "--tfds_dir", tmp_path / "tfds", "--data_dir", tmp_path / "out")


def test_writer_takes_tfds_and_attributes(tmp_path, rng):
    images, labels = rng.integers(0, 256, (6, 30, 40, 3), np.uint8), np.arange(6)
    examples = dict(image=images, attributes=dict(Young=labels < 2, Bald=labels > 4))
    tfds.dataset_builders.store_as_tfds_dataset(
        "faces",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            dict(
                image=tfds.features.Image(shape=(30, 40, 3)),
                attributes=dict(Young=tfds.features.Scalar(np.bool_), Bald=tfds.features.Scalar(np.bool_)),
            )
        ),
        split_datasets=dict(train=tf.data.Dataset.from_tensor_slices(examples)),
        data_dir=tmp_path / "tfds",
    )
    arguments = ["--tfds", "faces", "--tfds_dir", tmp_path / "tfds", "--data_dir", tmp_path / "out"]
    write(*arguments, "--image_size", 16, "--for_random_crops", "--shard_size", 4)
    files = tfrecords.find(tmp_path / "out", "train", 16)
    data = tfrecords.Records(files, (16, 16, 3), random_crop=True)
    read = [data.example(i) for i in range(len(data))]
    assert len(read) == 6 and len(files) == 2
    assert {e["image"].shape for e in read} == {(24, 32, 3)}
    assert sorted(tuple(e["attr"]) for e in read) == sorted([(-1, 1)] * 2 + [(-1, -1)] * 3 + [(1, -1)])


def test_imagenet_oord_of_tfds(tmp_path, rng):
    """TFDS' downsampled_imagenet, which TFDS itself finds here, is read by number from its files."""
    images = rng.integers(0, 256, (5, 32, 32, 3), np.uint8)
    examples = tf.data.Dataset.from_tensor_slices(dict(image=images))
    tfds.dataset_builders.store_as_tfds_dataset(
        "downsampled_imagenet",
        config="32x32",
        version="2.0.0",
        features=tfds.features.FeaturesDict(dict(image=tfds.features.Image(shape=(None, None, 3)))),
        split_datasets=dict(train=examples, validation=examples),
        data_dir=tmp_path,
    )
    hyperparameters = resolve(dict(problem="imagenet-oord", image_size=32, data_dir=str(tmp_path), n_test=2))
    read, _ = all_images(problems.load(hyperparameters, "train"), hyperparameters)
    assert sorted(map(bytes, read)) == sorted(map(bytes, images))
    assert len(problems.load(hyperparameters, "test")) == 2
    with pytest.raises(UsageError, match="32 or 64, got 16"):
        problems.load(dataclasses.replace(hyperparameters, image_size=16), "train")


def test_fuzz_images_in_records(tmp_path, rng):
    """PNG and JPEG of TFDS' downsampled_imagenet with damaged bytes, and examples without them."""
    path = tmp_path / "images.tfrecord"
    pictures = []
    for format in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file, format)
        pictures.append(file.getvalue())

    def open_data(skip_corrupt):
        return tfrecords.Records(
            [path], (32, 32, 3), tfds_source.decode_as((32, 32, 3)), skip_corrupt=skip_corrupt
        )

    n_good = []
    for _ in range(40):
        write_records(path, [example_of(image=damaged(picture, rng)) for picture in pictures])
        n_good.append(assert_only_usage_errors(open_data))
    assert len(set(n_good)) > 1
    write_records(path, [example_of(), example_of(image=b""), example_of(image=[3]), b"\xff"])
    assert assert_only_usage_errors(open_data) == 0


def test_patches():
    hyperparameters = resolve(dict(problem="patches"))
    train, test = problems.load(hyperparameters, "train"), problems.load(hyperparameters, "test")
    assert train.images.shape == (10000, 32, 32, 3) and test.images.shape == (1000, 32, 32, 3)
    np.testing.assert_array_equal(train.images[:50], problems.load(hyperparameters, "train").images[:50])
    assert len({bytes(image) for image in train.images}) > 9500
    assert not {bytes(image) for image in train.images} & {bytes(image) for image in test.images}
    with pytest.raises(UsageError, match="160"):
        problems.load(resolve(dict(problem="patches", image_size=168)), "train")
