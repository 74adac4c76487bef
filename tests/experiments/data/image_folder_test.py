"""Folders of images as people keep them: which files are training and test data, and their classes."""

import json
import os
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from experiments import settings, train
from experiments.cli import UsageError
from experiments.data import image_folder, problems, tfrecords
from experiments.settings import hps_json, resolve
from tests.experiments.data import records_test


def fill(top, counts):
    """Writes pictures of 8x8 into sub-folders of a folder: {name: how many}."""
    for name, n in counts.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            level = np.random.default_rng([i, *name.encode()]).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(level).save(top / name / f"{i:02d}.png")
    return top


def names(found, split):
    """Returns where the images of a split are, each once."""
    return sorted({str(p.parent.relative_to(found.splits[split].top)) for p in found.splits[split].paths})


TEST_NAMES = ["test", "testing", "validation", "valid", "val", "dev", "Test", "VAL", "Validation", "DEV"]


@pytest.mark.parametrize("test", TEST_NAMES)
@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training", "Training"])
def test_train_and_test_by_their_names(train, test, tmp_path):
    found = image_folder.find(fill(tmp_path, {f"{train}/a": 3, f"{train}/b": 2, f"{test}/a": 4, "other": 7}))
    assert found.about == (
        f"Found 5 training and 4 test images in 2 sub-folders (a, b) in {tmp_path / train} and in "
        f"{tmp_path / test}; not used: other."
    )
    assert {str(p.relative_to(tmp_path)) for p in found.splits["train"].paths} == {
        f"{train}/{name}.png" for name in ("a/00", "a/01", "a/02", "b/00", "b/01")
    }


@pytest.mark.parametrize(
    ("counts", "n_train", "n_test", "words"),
    [
        ({"train": 10}, 9, 1, "every tenth is for testing, as there is no folder test or .*val"),
        ({"train": 10, "holdout": 5}, 9, 1, "no folder test or .*; not used: holdout"),
        ({"train": 10, "test": 2, "val": 3}, 10, 2, "in .*/test; not used: val"),
        ({"train": 10, "Train": 4, "dev": 2, "valid": 3}, 10, 3, "in .*/valid; not used: Train, dev"),
        ({"test": 10}, 9, 1, "every tenth is for testing, as there is no folder train"),
        ({"cats": 10, "dogs": 11}, 18, 3, "2 sub-folders .cats, dogs. .*every tenth"),
        ({"": 5, "dogs": 15}, 18, 2, "test images in"),
        ({"trainer": 10, "values": 10}, 18, 2, "no folder train in"),
        ({"train": 4, "test": 2, ".git": 3, ".cache/a": 3}, 4, 2, "/test.$"),
        ({"own": 10, ".ipynb_checkpoints": 3, "own/.thumbnails": 4, "__MACOSX/own": 9}, 9, 1, "own"),
        ({"train": 4, "train/.hidden": 2, "test": 2, "test/.hidden": 5, "train/@eaDir/00.png": 3}, 4, 2, ""),
    ],
)
def test_what_was_found_where_is_told(counts, n_train, n_test, words, tmp_path):
    found = image_folder.find(fill(tmp_path, counts))
    assert (len(found.splits["train"].paths), len(found.splits["test"].paths)) == (n_train, n_test)
    assert found.about.startswith(f"Found {n_train} training and {n_test} test images")
    assert re.search(words, found.about)


def test_files_that_are_data(tmp_path):
    data = ["a.PNG", "b.JpG", "c.jfif", "d.JPE", "e.TIF", "f.pgm", "g.webp", "h.jpeg", "i.Bmp", "j.GIF"]
    no_data = ["._a.png", ".png", "Thumbs.db", ".DS_Store", "notes.txt", "k.heic", "png", "l.png.txt"]
    for name in data + no_data:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    found = image_folder.find(tmp_path)
    everything = found.splits["train"].paths + found.splits["test"].paths
    assert sorted(path.name for path in everything) == data
    assert found.splits["train"].problems == []


def test_links_are_followed_and_circles_end(tmp_path):
    top, elsewhere = tmp_path / "top", fill(tmp_path / "elsewhere", {"cats": 20, "cats/kittens": 3})
    fill(top, {"dogs": 10})
    (top / "cats").symlink_to(elsewhere / "cats")
    (top / "circle").symlink_to(top)
    (top / "dogs/up").symlink_to("..")
    (top / "dogs/itself").symlink_to("../dogs")
    (top / "above").symlink_to(tmp_path)
    (elsewhere / "cats/back").symlink_to(top)
    (elsewhere / "cats/parent").symlink_to(elsewhere)
    (top / "again").symlink_to(elsewhere / "cats")
    (top / "a_dog").symlink_to("dogs")
    (top / "picture.png").symlink_to("dogs/00.png")
    found = image_folder.find(top)
    # The second link to the same folder is `cats` by its name: `again` comes first, as itself none does.
    paths = found.splits["train"].paths + found.splits["test"].paths
    assert len(paths) == 34 and len({path.resolve() for path in paths}) == 33
    assert {path.relative_to(top).parts[0] for path in paths} == {"dogs", "again", "picture.png"}
    assert not found.splits["train"].problems


def test_train_and_test_that_are_one_folder_are_told(tmp_path):
    fill(tmp_path, {"train": 4})
    (tmp_path / "val").symlink_to("train")
    assert f"in both: {tmp_path / 'train'}" in image_folder.find(tmp_path).about


def test_links_to_nothing_are_told_or_left_out(tmp_path, capsys):
    fill(tmp_path, {"train": 4, "test": 2})
    (tmp_path / "train/09.png").symlink_to("nowhere.png")
    (tmp_path / "train/cats").symlink_to("/nowhere/cats")
    (tmp_path / "train/loop").symlink_to("loop")
    (tmp_path / "train/notes.txt").symlink_to("nowhere.txt")
    hyperparameters = resolve(dict(problem="folder", data_dir=str(tmp_path), image_size=8))
    with pytest.raises(UsageError, match=r"The link .*train/09\.png leads to nothing.*--skip_corrupt"):
        problems.load(hyperparameters, "train")
    assert len(problems.load(hyperparameters, "train", skip_corrupt=True)) == 4
    assert "left out 3 bad parts" in capsys.readouterr().err
    assert len(problems.load(hyperparameters, "test")) == 2


@pytest.mark.parametrize("where", ["", "train", "train/a"])
def test_folders_that_cannot_be_listed(where, tmp_path, monkeypatch):
    """As the owner of all files may list everything, the system's answer is made here."""
    fill(tmp_path, {"train/a": 3, "train/b": 2, "test": 4})
    locked = tmp_path / where

    def listed(real):
        def listing(path, *more):
            if pathlib.Path(path) == locked:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *more)

        return listing

    monkeypatch.setattr(os, "scandir", listed(os.scandir))
    monkeypatch.setattr(os, "listdir", listed(os.listdir))
    hyperparameters = resolve(dict(problem="folder", data_dir=str(tmp_path), image_size=8))
    with pytest.raises(UsageError, match=f"Can't list the folder {locked}: Permission denied"):
        problems.load(hyperparameters, "train")
    if where == "train/a":
        assert len(problems.load(hyperparameters, "train", skip_corrupt=True)) == 2


def test_bad_pictures_are_left_out(tmp_path, capsys):
    fill(tmp_path, {"train/a": 5, "train/b": 5, "test/b": 1})
    (tmp_path / "train/a/00.png").write_bytes(b"")
    (tmp_path / "train/a/04.png").write_bytes((tmp_path / "train/a/03.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "train/a/float.tif")
    Image.new("L", (7, 90)).save(tmp_path / "train/b/small.png")
    hyperparameters = resolve(dict(problem="folder", data_dir=str(tmp_path), image_size=8, ycond=True))
    data = problems.load(hyperparameters, "train", skip_corrupt=True)
    assert "left out 4 bad parts" in capsys.readouterr().err
    assert len(data) == 8 and [data.read(i, None)[1] for i in range(8)] == [0] * 3 + [1] * 5


def test_sub_folders_are_classes(tmp_path):
    counts = {"train/zebra": 3, "train/Ant": 2, "train/bee/far/away": 4, "train/empty": 0}
    fill(tmp_path, counts | {"val/bee": 2, "val/zebra": 1, "val/empty": 0})
    given = dict(problem="folder", data_dir=str(tmp_path), image_size=8)
    hyperparameters = resolve(given | dict(ycond=True))
    assert hyperparameters.classes == ("Ant", "bee", "zebra") and hyperparameters.n_y == 3
    for split, labels in dict(train=[0] * 2 + [1] * 4 + [2] * 3, test=[1, 1, 2]).items():
        _, read = records_test.all_images(problems.load(hyperparameters, split), hyperparameters)
        assert read.tolist() == labels
    # Without it there are no names, and one label.
    plain = resolve(given)
    assert plain.classes is None and plain.n_y == 1
    assert set(records_test.all_images(problems.load(plain, "train"), plain)[1]) == {0}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"train/a": 3, "test/a": 1, "test/b": 1}, "class 'b' has test images.*no training images.*are: a"),
        ({"train/a": 3, "train": 1, "test/a": 1}, r"Each sub-folder of .*train is a class.*train/00\.png"),
        ({"train/a": 3, "test": 1}, r"Each sub-folder of .*test is a class.*test/00\.png"),
        ({"a": 2, "b": 9}, None),
        ({"a": 1, "b": 9}, "class 'a' has test images.*no training images"),
        ({"train/a": 0, "test/a": 1}, "no images to train"),
    ],
)
def test_classes_that_do_not_fit_are_told(counts, words, tmp_path):
    fill(tmp_path, counts)
    given = dict(problem="folder", data_dir=str(tmp_path), image_size=8, ycond=True)
    if words is None:
        assert resolve(given).n_y == 2
        return
    with pytest.raises(UsageError, match=words):
        resolve(given)


def test_data_of_other_classes_than_the_runs(tmp_path):
    hyperparameters = resolve(
        dict(problem="folder", data_dir=str(fill(tmp_path, {"a": 9, "b": 9})), image_size=8, ycond=True)
    )
    (tmp_path / "b").rename(tmp_path / "c")
    with pytest.raises(UsageError, match=r"c/.*\.png is in none of the classes: a, b"):
        problems.load(hyperparameters, "train")


@pytest.mark.parametrize("data_dir", ["", "/nowhere", __file__])
@pytest.mark.parametrize("ycond", [False, True])
def test_no_folder(data_dir, ycond):
    with pytest.raises(UsageError, match="needs --data_dir, a folder of images; got"):
        problems.load(resolve(dict(problem="folder", data_dir=data_dir, ycond=ycond)), "train")


def test_gray(tmp_path):
    fill(tmp_path, {"": 12})
    Image.new("L", (8, 8), 77).save(tmp_path / "00.png")
    hyperparameters = resolve(dict(problem="folder", data_dir=str(tmp_path), image_size=8, n_channels=1))
    assert settings.glow_config(hyperparameters).image_shape == (8, 8, 1)
    images, _ = records_test.all_images(problems.load(hyperparameters, "test"), hyperparameters)
    assert images.shape == (2, 8, 8, 1) and (images[0] == 77).all()
    records_test.write(
        *("--images", tmp_path, "--data_dir", tmp_path / "out", "--image_size", 8, "--n_channels", 1)
    )
    from_records = resolve(dict(problem="celeba", data_dir=str(tmp_path / "out"), image_size=8, n_channels=1))
    read, _ = records_test.all_images(problems.load(from_records, "train"), from_records)
    folder, _ = records_test.all_images(problems.load(hyperparameters, "train"), hyperparameters)
    np.testing.assert_array_equal(read, folder)
    for problem, n, words in (
        ("folder", 2, "1 or 3, got 2"),
        ("cifar10", 1, "must be 3, got 1"),
        ("digits", 3, "1, got 3"),
    ):
        with pytest.raises(UsageError, match=words):
            resolve(dict(problem=problem, n_channels=n))
    assert resolve(dict(problem="digits", n_channels=-1)).n_channels == 1


def test_records_leave_bad_pictures_out_and_keep_classes(tmp_path, capsys):
    top = fill(tmp_path / "photos", {"train/a": 3, "train/b": 4, "val/b": 1})
    (top / "train/a/01.png").write_text("no picture")
    flags = ["--images", top, "--data_dir", tmp_path / "out", "--image_size", 8, "--shard_size", 4]
    with pytest.raises(UsageError, match=r"a/01\.png: it isn't a picture.*--skip_corrupt"):
        records_test.write(*flags)
    records_test.write(*flags, "--skip_corrupt")
    printed = capsys.readouterr()
    assert "Found 7 training and 1 test images in 2 sub-folders (a, b)" in printed.out
    assert "Wrote 6 images" in printed.out and "a/01.png" in printed.err
    data = tfrecords.Records(tfrecords.find(tmp_path / "out", "train", 8), (8, 8, 3))
    assert [data.example(i)["label"] for i in range(len(data))] == [0, 0, 1, 1, 1, 1]


def test_training_tells_and_keeps_the_classes(tmp_path, capsys):
    data = fill(tmp_path / "data", {"train/cats": 6, "train/dogs": 4, "dev/dogs": 2})
    given = dict(
        problem="folder", data_dir=str(data), image_size=8, anchor_size=8, n_channels=1, ycond=True,
        weight_y=0.1, n_levels=1, depth=1, width=4, n_train=8, n_batch_train=4, n_batch_init=8, epochs=1,
        epochs_full_valid=1,
    )  # fmt: skip
    hyperparameters = resolve(given)
    run = train.train(hyperparameters, tmp_path / "run")
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        f"Found 10 training and 2 test images in 2 sub-folders (cats, dogs) in {data / 'train'} and in "
        f"{data / 'dev'}."
    )
    kept = json.loads((tmp_path / "run/hps.json").read_text())
    assert kept["classes"] == ["cats", "dogs"] and kept["n_y"] == 2 and kept["n_channels"] == 1
    assert run.glow.config.n_y == 2
    # A run that was begun before folders had classes goes on as it is.
    assert (
        hps_json.as_begun(hyperparameters, tmp_path / "run")
        == hyperparameters
        == hps_json.as_begun(hyperparameters, tmp_path)
    )
    del kept["classes"]
    (tmp_path / "run/hps.json").write_text(json.dumps(kept | dict(n_y=1)))
    begun = hps_json.as_begun(hyperparameters, tmp_path / "run")
    assert begun.n_y == 1 and begun.classes is None
    hps_json.save(begun, tmp_path / "run")
