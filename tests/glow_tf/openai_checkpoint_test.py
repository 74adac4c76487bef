"""How a checkpoint of OpenAI's is named, and what is told of one that is cut, damaged, or not there."""

import numpy as np
import pytest
import tensorflow as tf

from glow_tf import openai_checkpoint
from glow_tf.glow import Glow, GlowConfig

CONFIG = GlowConfig(image_size=4, n_channels=1, n_levels=2, depth=2, width=3)
NAME = "model_best_loss.ckpt"


def write(folder, seed, name=NAME, notes=True, change=lambda key, value: value) -> Glow:
    """Writes a checkpoint with the original's names, as TF1's Saver; returns the model that it is of."""
    model = Glow(CONFIG, seed=seed)
    tensors = {
        key: variable if step is None else variable[step]
        for key, (variable, step) in openai_checkpoint._names(model).items()
    }
    tf.raw_ops.SaveV2(
        prefix=str(folder / name),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.convert_to_tensor(change(key, value)) for key, value in tensors.items()],
    )
    (folder / f"{name}.meta").write_bytes(b"the graph")
    if notes:  # Of the machine that it was trained on.
        (folder / "checkpoint").write_text(
            f'model_checkpoint_path: "/home/them/logs/{name}"\nall_model_checkpoint_paths: "{name}"\n'
        )
    return model


def assert_restored(path, expected):
    """Restores into another model and compares."""
    model = Glow(CONFIG, seed=99)
    openai_checkpoint.restore(model, path)
    for a, b in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("folder", ["logs", "a b*]?", "lo[gs]", "lo\\gs"])
@pytest.mark.parametrize("suffix", ["", ".index", ".meta", ".data-00000-of-00001", None])
def test_by_prefix_by_file_and_by_folder(tmp_path, folder, suffix):
    folder = tmp_path / folder
    folder.mkdir()
    expected = write(folder, 0)
    assert_restored(folder if suffix is None else folder / (NAME + suffix), expected)
    assert_restored(str(folder) + "/" if suffix is None else str(folder / (NAME + suffix)), expected)


def test_a_folder_with_several_or_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint in the folder"):
        openai_checkpoint.restore(Glow(CONFIG), tmp_path)
    write(tmp_path, 0, "a.ckpt", notes=False)
    assert_restored(tmp_path, write(tmp_path, 0, "a.ckpt", notes=False))
    b = write(tmp_path, 1, "b.ckpt", notes=False)
    with pytest.raises(ValueError, match=r"2 checkpoints in the folder .*a\.ckpt, .*b\.ckpt"):
        openai_checkpoint.restore(Glow(CONFIG), tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "b.ckpt"\n')
    assert_restored(tmp_path, b)
    (tmp_path / "checkpoint").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="2 checkpoints"):
        openai_checkpoint.restore(Glow(CONFIG), tmp_path)


@pytest.mark.parametrize("name", ["", "nothing", "nothing.index", "model_best_loss", "logs/x.ckpt.meta"])
def test_what_is_not_there(tmp_path, name, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        openai_checkpoint.restore(Glow(CONFIG), name)


def _cut(n):
    return lambda data: data[:n] if n >= 0 else data[: len(data) + n]


def _flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 40]) + data[middle + 40 :]


@pytest.mark.parametrize(
    "change",
    [_cut(0), _cut(10), _cut(-1), _cut(-50), _flip, None],
    ids=["empty", "ten bytes", "less 1", "less 50", "flipped", "gone"],
)
@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_what_is_cut_or_damaged_is_told_and_changes_nothing(tmp_path, suffix, change):
    write(tmp_path, 0)
    file = tmp_path / (NAME + suffix)
    data = file.read_bytes()
    file.unlink()
    if change is not None:
        file.write_bytes(change(data))
    model = Glow(CONFIG, seed=1)
    before = [v.numpy() for v in model.variables]
    with pytest.raises((ValueError, FileNotFoundError), match=NAME) as error:
        openai_checkpoint.restore(model, tmp_path / NAME)
    assert "checkpoint" in str(error.value)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def cast(dtype):
    return lambda value: tf.cast(value, dtype)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cast("int32"), "of another type: .*int32, the model's float32"),
        (cast("bool"), "of another type: .*bool"),
        (cast("complex64"), "of another type: .*complex64"),
        (lambda value: tf.fill(value.shape, "x"), "of another type: .*string"),
        (lambda value: value * np.nan, "not finite: "),
        (lambda value: value / 0.0, "not finite: "),
    ],
)
@pytest.mark.parametrize("part", ["invconv/W", "f1/l_1/W", "f1/l_last/b"])
def test_values_that_are_none_are_told_by_name_and_change_nothing(tmp_path, part, change, words):
    wrong = lambda key, value: change(tf.convert_to_tensor(value) + 1.0) if part in key else value
    write(tmp_path, 0, change=wrong)
    model = Glow(CONFIG, seed=1)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(ValueError, match=words) as error:
        openai_checkpoint.restore(model, tmp_path / NAME)
    assert part in str(error.value)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_checkpoint_in_float64(tmp_path):
    assert_restored(tmp_path, write(tmp_path, 0, change=lambda key, value: tf.cast(value, tf.float64)))
