"""Directions that are kept between commands, and npz files that aren't what they should be."""

import dataclasses
import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from absl import flags

import glow_tf
from experiments import manipulate, settings
from experiments.cli import UsageError
from experiments.data import labelled_images, npz
from experiments.served import directions

GOOD = dict(
    names=np.array(["a", "b"]), vectors=np.ones((2, 6), np.float32), counts=np.array([[3, 4], [1, 6]])
)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


WRONG = {
    "names missing": ({"names": None}, "no array 'names'; it has: vectors, counts"),
    "vectors missing": ({"vectors": None}, "no array 'vectors'"),
    "names are numbers": ({"names": np.arange(2)}, "names must be strings"),
    "names twice": ({"names": np.array(["a", "a"])}, "once"),
    "no names": ({"names": np.array([], "U1")}, "names must be strings"),
    "one name": ({"names": np.array("a")}, "names must be strings"),
    "names of objects": ({"names": np.array(["a", None], object)}, "can't be read"),
    "vectors are float64": ({"vectors": np.ones((2, 6))}, "vectors must be float32"),
    "vectors are integers": ({"vectors": np.ones((2, 6), int)}, "vectors must be float32"),
    "vectors are one": ({"vectors": np.ones(6, np.float32)}, "vectors must be float32"),
    "vectors are three": ({"vectors": np.ones((3, 6), np.float32)}, "must be \\[A\\], \\[A, M\\]"),
    "vectors are empty": ({"vectors": np.ones((2, 0), np.float32)}, "vectors must be float32"),
    "NaN": ({"vectors": np.full((2, 6), np.nan, np.float32)}, "finite"),
    "counts are floats": ({"counts": np.ones((2, 2))}, "counts must be integers"),
    "counts are one": ({"counts": np.ones(2, int)}, "must be \\[A\\], \\[A, M\\]"),
    "counts are zero": ({"counts": np.zeros((2, 2), int)}, "counts must be positive"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_are_no_directions(name, tmp_path):
    changes, words = WRONG[name]
    arrays = {key: value for key, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(UsageError, match=f"made.npz.*{words}"):
        directions.load(saved(tmp_path / "made.npz", **arrays))


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


HUGE = npy(np.zeros(3)).replace(b"(3,), ", b"(9" + b"9" * 14 + b",), ")
FILES = {
    "empty": b"",
    "text": b"no arrays",
    "npy": npy(np.zeros(3)),
    "pickle": pickle.dumps(GOOD),
    "empty zip": zipped(),
    "members are text": zipped(names=b"a", vectors=b"b", counts=b"c"),
    "members are empty": zipped(names=b"", vectors=b"", counts=b""),
    "a header beyond all memory": zipped(names=HUGE, vectors=HUGE, counts=HUGE),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(40),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_npz(name, tmp_path):
    path = tmp_path / "made.npz"
    path.write_bytes(FILES[name])
    with pytest.raises(UsageError, match="made.npz"):
        directions.load(path)


def test_paths_that_are_no_files(tmp_path):
    for path in (tmp_path, tmp_path / "none.npz", tmp_path / "none" / "none.npz"):
        with pytest.raises(UsageError, match=str(path)):
            directions.load(path)
    known = directions.Directions(**GOOD)
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none" / "a.npz", tmp_path / "file" / "a.npz"):
        with pytest.raises(UsageError, match=f"Can't write.*{path}"):
            known.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_gigabytes_when_unpacked_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MOST_BYTES", 2**25)
    path, size = tmp_path / "bomb.npz", 2**27
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("names", "counts"):
            archive.writestr(f"{name}.npy", npy(GOOD[name]))
        header = io.BytesIO()
        shape = dict(descr="<f4", fortran_order=False, shape=(2, size // 8))
        np.lib.format.write_array_header_1_0(header, shape)
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(size // 2**24):
                member.write(bytes(2**24))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="bomb.npz.*when unpacked"):
            directions.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_bytes_flipped_or_cut(tmp_path, rng):
    whole = saved(tmp_path / "good.npz", **GOOD).read_bytes()
    path = tmp_path / "made.npz"
    for trial in range(150):
        data = bytearray(whole)
        for i in rng.integers(0, len(data), 1 + trial % 3):
            data[i] = rng.integers(0, 256)
        path.write_bytes(data[: rng.integers(0, len(data))] if trial % 4 == 0 else data)
        try:
            directions.load(path)
        except UsageError as error:
            assert "made.npz" in str(error)


def test_what_directions_are_made_of_is_kept(tmp_path):
    made_of = dict(fingerprint="f", data=dict(problem="digits"), source="logs", step=7)
    known = directions.Directions(**GOOD, made_of=made_of)
    known.save(tmp_path / "made.npz")
    found = directions.load(tmp_path / "made.npz").chosen(["b"])
    assert found.made_of == made_of and found.is_of(made_of | dict(step=8))
    assert not found.is_of(made_of | dict(fingerprint="g")) and not found.is_of(made_of | dict(data={}))
    for made_of in (None, "text", "[1]", "{", "null"):
        arrays = GOOD if made_of is None else GOOD | dict(made_of=np.array(made_of))
        assert directions.load(saved(tmp_path / "old.npz", **arrays)).made_of is None


def small(**changes):
    config = dict(image_size=8, n_channels=1, n_levels=1, depth=1, width=4) | changes
    return glow_tf.Glow(glow_tf.GlowConfig(**config), seed=0)


def test_fingerprints():
    model = small()
    first = glow_tf.serving.fingerprint(model)
    assert first == glow_tf.serving.fingerprint(model)
    for variable in (model.trainable_variables[0], model.variables[-1]):
        before = variable.numpy()
        variable.assign_add(np.full(before.shape, 1e-3, before.dtype))
        assert glow_tf.serving.fingerprint(model) != first
        variable.assign(before)
    assert glow_tf.serving.fingerprint(model) == first
    for same in (dict(), dict(memory="store"), dict(keep_bytes=0)):
        assert glow_tf.serving.fingerprint(small(**same)) == first
    assert glow_tf.serving.fingerprint(small(n_bits_x=5)) != first


class Run:
    """As much of a run as directions are made of."""

    step = 3

    def __init__(self):
        """The model is a new one, of the digits' size."""
        self.glow = small()
        self.hyperparameters = settings.resolve({})


@pytest.fixture
def run(tmp_path, monkeypatch):
    values = flags.FlagValues()
    for name, value in dict(
        directions=str(tmp_path / "kept.npz"), data=None, logdir="logs", openai_checkpoint=None
    ).items():
        flags.DEFINE_string(name, value, "", flag_values=values)
    for name in ("polyak", "download"):
        flags.DEFINE_bool(name, False, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(manipulate, "FLAGS", values)
    return Run()


def kept_or_made(run, encode):
    """Returns the directions that the command shows."""
    given = manipulate.FLAGS
    labelled = labelled_images.load(run.hyperparameters, run.glow.config.image_shape, given.data)
    return directions.kept_or_made(given.directions, manipulate.made_of(run), encode, *labelled)


def test_kept_directions_are_used_only_for_what_they_are_of(run, tmp_path, capsys, rng):
    calls = []
    encode = lambda x: calls.append(1) or np.float32(x).reshape(len(x), -1)
    find = lambda: (calls.clear(), kept_or_made(run, encode), bool(calls))[1:]
    first, made = find()
    assert made and first.made_of["data"]["problem"] == "digits" and first.made_of["step"] == 3
    again, made = find()
    assert not made
    np.testing.assert_array_equal(first.vectors, again.vectors)
    run.glow.trainable_variables[0].assign_add(1e-3 * run.glow.trainable_variables[0] + 1e-3)
    assert find()[1] and "of other weights" in capsys.readouterr().out and not find()[1]

    images = rng.integers(0, 256, (9, 8, 8, 1)).astype(np.uint8)
    attributes = np.arange(9)[:, None] % 2
    data = dict(images=images, attributes=attributes, names=np.array(["odd"]))
    manipulate.FLAGS.data = str(saved(tmp_path / "data.npz", **data))
    mine, made = find()
    assert made and list(mine.names) == ["odd"] and "of other data" in capsys.readouterr().out
    assert not find()[1]
    saved(tmp_path / "data.npz", **data | dict(attributes=1 - attributes))
    assert find()[1]

    for name, changes, words in (
        ("images", images[:, :4], "images must be uint8"),
        ("images", images.astype(float), "images must be uint8"),
        ("images", images[:0], "images must be uint8"),
        ("attributes", attributes[:3], "attributes must be \\[9, 1\\]"),
        ("attributes", 3 * attributes, "0 or 1, got 3"),
        ("attributes", np.full((9, 1), np.nan), "0 or 1, got nan"),
        ("attributes", attributes.astype(str), "0 or 1, got '0'"),
        ("names", np.array([["odd"]]), "names must be strings"),
        ("names", np.array([b"\xff"]), "data.npz: names must be strings"),
        ("attributes", attributes.astype("V2"), "data.npz: attributes must be 0 or 1, got .*V2"),
        ("attributes", attributes.astype(complex), "data.npz: attributes must be 0 or 1, got complex128"),
        ("attributes", attributes.astype("M8[D]"), "data.npz: attributes must be 0 or 1, got datetime64"),
    ):
        saved(tmp_path / "data.npz", **data | {name: changes})
        with pytest.raises(UsageError, match=words):
            find()
    (tmp_path / "data.npz").write_bytes(b"")
    with pytest.raises(UsageError, match="data.npz"):
        find()
    (tmp_path / "data.npz").unlink()
    with pytest.raises(UsageError, match="data.npz"):
        find()


def test_kept_directions_that_dont_say_what_they_are_of_stay(run, tmp_path):
    path = saved(tmp_path / "kept.npz", **GOOD)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="doesn't say which weights"):
        kept_or_made(run, None)
    assert path.read_bytes() == before


def test_files_of_a_data_dir_are_part_of_the_data(run, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    run.hyperparameters = dataclasses.replace(run.hyperparameters, problem="folder", data_dir=str(folder))
    first = manipulate.made_of(run)
    assert first == manipulate.made_of(run) and json.dumps(first)
    (folder / "b.png").write_bytes(b"b")
    assert manipulate.made_of(run)["data"] != first["data"]


def test_alphas_beyond_float32():
    with pytest.raises(UsageError, match="--alphas must be finite.*1e\\+39"):
        directions.rows(np.zeros((1, 2, 3, 1), np.uint8), directions.Directions(**GOOD), [0.0, 1e39])


def test_missing_arrays_are_named(tmp_path):
    with pytest.raises(UsageError, match="no array 'x'; it has: names, vectors, counts"):
        npz.read(saved(tmp_path / "good.npz", **GOOD), ("x",))
