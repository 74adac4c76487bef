"""The data augmentation: the original's recorded warps, keras' definition by SciPy, and the drawing."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from experiments.data import augmentation
from tests.support.golden import ROOT, Case, require_cases

TOLERANCE = 0.05  # Gray levels.


def warp_of(parameters):
    """Returns the warp of parameters [B, 7] in keras' order."""
    *numbers, mirror = np.asarray(parameters, np.float32).T
    return augmentation.Warp(*numbers, mirror > 0.5)


def reference(image, parameters):
    """Returns keras' result for one image, by its definition: matrices, then SciPy, channel by channel."""
    angle, shift_rows, shift_columns, shear, zoom_rows, zoom_columns, mirror = parameters
    t, s = np.deg2rad([angle, shear])
    matrix = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    matrix = matrix @ [[1, 0, shift_rows], [0, 1, shift_columns], [0, 0, 1]]
    matrix = matrix @ [[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]]
    matrix = matrix @ np.diag([zoom_rows, zoom_columns, 1])
    centre = np.eye(3)
    centre[:2, 2] = np.array(image.shape[:2]) / 2 + 0.5
    matrix = centre @ matrix @ np.linalg.inv(centre)
    warped = [
        scipy.ndimage.affine_transform(channel, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")
        for channel in np.moveaxis(image.astype(np.float64), -1, 0)
    ]
    warped = np.stack(warped, -1)
    return warped[:, ::-1] if mirror else warped


@require_cases
@pytest.mark.parametrize("level", [1, 2])
def test_recorded_warps(level):
    arrays = np.load(ROOT / "augmentation" / "arrays.npz")
    images = Case("case1_affine_invconv_8bit").arrays["pool_x"][arrays["pool_rows"]]
    warped = augmentation.apply(images, warp_of(arrays[f"level{level}_parameters"])).numpy()
    error = np.abs(warped - arrays[f"level{level}_images"]).max((1, 2, 3))
    print(f"level {level}: {error.max():.1e} gray levels")
    assert len(error) == 32 and error.max() < TOLERANCE


@pytest.mark.parametrize("shape", [(32, 32, 3), (33, 33, 1), (16, 24, 3), (8, 5, 1), (1, 1, 3)])
def test_warps_are_keras(shape, rng):
    """Far larger warps than are drawn, too, and images that aren't square."""
    n = 40
    images = rng.integers(0, 256, (n, *shape), np.uint8)
    low, high = [-180, -5, -5, -30, 0.3, 0.3, -0.5], [180, 5, 5, 30, 3, 3, 1.5]
    parameters = rng.uniform(low, high, (n, 7)).round(3)
    parameters[:, 6] = parameters[:, 6] > 0.5
    warped = augmentation.apply(images, warp_of(parameters)).numpy()
    for image, row, ours in zip(images, parameters, warped, strict=True):
        np.testing.assert_allclose(ours, reference(image, row), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("parameters", "result"),
    [
        ((0, 1, 0, 0, 1, 1, 0), lambda x: np.concatenate([x[1:], x[-1:]])),  # What was a row below.
        ((0, 0, -1, 0, 1, 1, 0), lambda x: np.concatenate([x[:, :1], x[:, :-1]], 1)),
        ((0, 1, 0, 0, 1, 1, 1), lambda x: np.concatenate([x[1:], x[-1:]])[:, ::-1]),
        ((0, 0, 0, 0, 1, 1, 1), lambda x: x[:, ::-1]),
        # About (2.5, 2.5): (row, column) is (5 - column, row) of the image, or the nearest pixel there.
        (
            (90, 0, 0, 0, 1, 1, 0),
            lambda x: x[np.minimum(5 - np.arange(4), 3)][:, np.arange(4)].swapaxes(0, 1),
        ),
    ],
)
def test_a_shift_a_mirror_and_a_quarter_turn(parameters, result, rng):
    image = rng.integers(0, 256, (4, 4, 2), np.uint8)
    warped = augmentation.apply(image[None], warp_of([parameters])).numpy()[0]
    np.testing.assert_allclose(warped, result(image), atol=1e-3)


@pytest.mark.parametrize("level", [1, 2])
def test_what_is_drawn(level):
    n = 4000
    warp = augmentation.draw(level, n, 32, 64, [3, 4])
    moving = level == 2
    ranges = dict(
        angle=(-15, 15) if moving else (0, 0),
        shift_rows=(-3.2, 3.2),
        shift_columns=(-6.4, 6.4),
        shear=(-0.02, 0.02) if moving else (0, 0),
        zoom_rows=(0.9, 1.1) if moving else (1, 1),
        zoom_columns=(0.9, 1.1) if moving else (1, 1),
    )
    for name, (low, high) in ranges.items():
        values = getattr(warp, name).numpy().astype(np.float64)
        assert values.shape == (n,)
        np.testing.assert_allclose([values.min(), values.max()], [low, high], atol=5e-3 * (high - low) + 1e-6)
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.03 * (high - low) + 1e-6)
    assert abs(warp.mirror.numpy().mean() - (0.5 if moving else 0)) < 0.03
    drawn = np.stack([getattr(warp, name) for name, (low, high) in ranges.items() if low < high])
    assert np.abs(np.corrcoef(drawn) - np.eye(len(drawn))).max() < 0.07, "drawn independently"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_augment(level, rng):
    """It warps as drawn, the same for the same seed, and a part as in the whole."""
    images = rng.integers(0, 256, (12, 16, 16, 3), np.uint8)
    seed = tf.constant([0, 1], tf.int64)
    whole = augmentation.augment(images, level, seed).numpy()
    assert whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 255
    numbers = [4, 5, 11, 0]
    part = augmentation.augment(images[numbers], level, seed, numbers, 12).numpy()
    np.testing.assert_array_equal(part, whole[numbers])
    if level == 0:
        np.testing.assert_array_equal(whole, images)
    else:
        warp = augmentation.draw(level, 12, 16, 16, seed)
        np.testing.assert_array_equal(whole, augmentation.apply(images, warp))
        other = augmentation.augment(images, level, tf.constant([0, 2], tf.int64)).numpy()
        assert (np.abs(whole - other).max((1, 2, 3)) > 1).all()
