"""Images from files: the original's TFRecords, folders, and what is wrong with them."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

from experiments import datasets, records, tfrecords
from experiments.hyperparameters import UsageError, resolve
from tests import commands


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


def all_images(data, hps):
    """Returns the images and labels of all test batches."""
    batches = list(datasets.test_batches(data, hps, 5))
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])


@pytest.mark.parametrize("problem", ["imagenet-oord", "imagenet", "celeba"])
def test_records_of_an_independent_writer(layout, images, problem):
    hps = records_hps(layout, problem)
    read, labels = all_images(datasets.load(hps, "train"), hps)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(labels, np.arange(12))
    read, labels = all_images(datasets.load(hps, "test"), hps)
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
    hps = records_hps(tmp_path, "lsun_realnvp", size=8, category="tower", dal=0)
    data = datasets.load(hps, "train")
    take = lambda first, n: list(datasets.train_batches(data, hps, 12, first).take(n))
    first, second = take(0, 2)
    np.testing.assert_array_equal(second[0], take(1, 1)[0][0])
    assert (np.sort(first[0], 0) != np.sort(second[0], 0)).any(), "other crops in another step"
    windows = np.lib.stride_tricks.sliding_window_view(images, (8, 8, 3), (1, 2, 3)).reshape(-1, 8 * 8 * 3)
    known = {bytes(w) for w in windows}
    assert all(bytes(crop) in known for crop in first[0].numpy())
    with pytest.raises(UsageError, match="bedroom"):
        datasets.load(hps | dict(category="bedroom"), "train")


def test_parts_make_up_the_batch(layout):
    """Of two workers each makes its half: images, augmentation and noise are the whole batch's."""
    hps = records_hps(layout, dal=2)
    data = datasets.load(hps, "train")
    whole = list(datasets.train_batches(data, hps, 6, 3).take(2))
    halves = [list(datasets.train_batches(data, hps, 6, 3, part, 2).take(2)) for part in range(2)]
    for step in range(2):
        for k in range(3):
            parts = np.concatenate([half[step][k] for half in halves])
            np.testing.assert_array_equal(parts, whole[step][k])


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
    hps = records_hps(layout)
    data = datasets.load(hps, "train")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hps)
    assert str(path) in str(data.failure) and f"at byte {offset}:" in str(data.failure)
    assert "checksum" in str(data.failure)
    data = datasets.load(hps, "train", skip_corrupt=True)
    assert "left out 1 bad" in capsys.readouterr().err
    read, _ = all_images(data, hps)
    np.testing.assert_array_equal(read, np.delete(images, 8, 0))


def test_corrupt_length_and_truncated_file(layout, images, capsys):
    """What comes after such a place in a file can't be found."""
    path = layout / "train/train-r04-s-0001-of-0002.tfrecords"
    whole = path.read_bytes()
    offset = record_offsets(path)[2]
    hps = records_hps(layout)
    damage(path, offset + 1)
    with pytest.raises(UsageError, match=f"at byte {offset}: .*length"):
        datasets.load(hps, "train")
    path.write_bytes(whole[: offset + 100])
    with pytest.raises(UsageError, match=f"at byte {offset}: the file ends"):
        datasets.load(hps, "train")
    data = datasets.load(hps, "train", skip_corrupt=True)
    assert "left out 1 bad" in capsys.readouterr().err
    np.testing.assert_array_equal(all_images(data, hps)[0], images[:8])


def test_training_tells_of_a_corrupt_record(layout, tmp_path):
    """The command's own answer, through TensorFlow: a paragraph that names file and offset."""
    path = layout / "train/train-r04-s-0000-of-0002.tfrecords"
    damage(path, record_offsets(path)[3] + 200)
    message = commands.run(
        "train", *f"--problem imagenet --data_dir {layout} --image_size 16 --n_levels 2 --n_test 4".split(),
        *f"--depth 1 --width 4 --n_train 64 --n_batch_train 3 --logdir {tmp_path}/run".split(), fails=True,
    )  # fmt: skip
    assert "Traceback" not in message and str(path) in message and "--skip_corrupt" in message


def test_image_of_the_wrong_size(layout, rng):
    path = layout / "train/train-r04-s-0000-of-0002.tfrecords"
    foreign_write(path, rng.integers(0, 256, (2, 16, 12, 3), np.uint8), [0, 1])
    hps = records_hps(layout)
    data = datasets.load(hps, "train")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hps)
    assert "[16, 12, 3], not [16, 16, 3]" in str(data.failure) and str(path) in str(data.failure)
    assert len(datasets.load(hps, "train", skip_corrupt=True)) == 6


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
        datasets.load(records_hps(**dict(data_dir=layout) | change), "test")


def test_missing_shard(layout):
    (layout / "train/train-r04-s-0000-of-0002.tfrecords").unlink()
    with pytest.raises(UsageError, match=r"files 0 to 1 of r04, each once; it has \[1\]"):
        datasets.load(records_hps(layout), "train")


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
    hps = resolve(dict(problem="folder", data_dir=str(folder), image_size=16))
    train, test = datasets.load(hps, "train"), datasets.load(hps, "test")
    assert len(train) == 18 and len(test) == 2
    middle = np.asarray(Image.open(folder / "00.png"))[:, 8:40].astype(float)
    areas = middle.reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(all_images(test, hps)[0][0], np.floor(areas))
    assert next(iter(datasets.train_batches(train, hps, 6)))[0].shape == (6, 16, 16, 3)
    Image.new("RGB", (15, 40)).save(folder / "small.png")  # The 21st, which is for testing.
    data = datasets.load(hps, "test")
    with pytest.raises(tf.errors.OpError):
        all_images(data, hps)
    assert "small.png" in str(data.failure) and "15 pixels wide and 40 high" in str(data.failure)
    (folder / "text.png").write_text("no image")
    assert len(datasets.load(hps, "train", skip_corrupt=True)) == 18
    with pytest.raises(UsageError, match="/nowhere"):
        datasets.load(hps | dict(data_dir="/nowhere"), "train")


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
    hps = records_hps(out, n_test=2)
    read, _ = all_images(datasets.load(hps, "train"), hps)
    from_folder = resolve(dict(problem="folder", data_dir=str(folder), image_size=16))
    np.testing.assert_array_equal(read, all_images(datasets.load(from_folder, "train"), from_folder)[0])
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
    hps = resolve(dict(problem="imagenet-oord", image_size=32, data_dir=str(tmp_path), n_test=2))
    read, _ = all_images(datasets.load(hps, "train"), hps)
    assert sorted(map(bytes, read)) == sorted(map(bytes, images))
    assert len(datasets.load(hps, "test")) == 2
    with pytest.raises(UsageError, match="32 or 64, got 16"):
        datasets.load(hps | dict(image_size=16), "train")


def test_patches():
    hps = resolve(dict(problem="patches"))
    train, test = datasets.load(hps, "train"), datasets.load(hps, "test")
    assert train.images.shape == (10000, 32, 32, 3) and test.images.shape == (1000, 32, 32, 3)
    np.testing.assert_array_equal(train.images[:50], datasets.load(hps, "train").images[:50])
    assert len({bytes(image) for image in train.images}) > 9500
    assert not {bytes(image) for image in train.images} & {bytes(image) for image in test.images}
    with pytest.raises(UsageError, match="160"):
        datasets.load(resolve(dict(problem="patches", image_size=168)), "train")
