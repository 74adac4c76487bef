"""What is uploaded: read as the training images are, or refused in a sentence."""

import numpy as np
import pytest
from PIL import Image

from experiments.demo import uploads
from tests.experiments.demo import bad_uploads

SHAPE = (8, 8, 1)


@pytest.mark.parametrize("name", bad_uploads.CASES)
def test_odd_files_get_a_sentence(name, tmp_path):
    make, words, refused = bad_uploads.CASES[name]
    path = tmp_path / "upload.png"
    path.write_bytes(make())
    if refused:
        with pytest.raises(uploads.BadUpload, match=words):
            uploads.read(path, SHAPE)
        return
    image, sentence = uploads.read(path, SHAPE)
    assert image.shape == SHAPE and image.dtype == np.uint8
    assert words in sentence


def test_large_files_are_refused(tmp_path):
    path = tmp_path / "upload.png"
    path.write_bytes(bad_uploads.fifty_megabytes())
    with pytest.raises(uploads.BadUpload, match="larger than 10 MB"):
        uploads.read(path, SHAPE)


def test_sixteen_bits_keep_their_high_byte(tmp_path):
    path = tmp_path / "upload.png"
    path.write_bytes(bad_uploads.sixteen_bits())
    image, _ = uploads.read(path, (40, 40, 1))
    np.testing.assert_array_equal(image[..., 0], bad_uploads.noise(40, 40))


def test_means_over_blocks_as_in_training(tmp_path):
    pixels = bad_uploads.noise(64, 96, 3)
    path = tmp_path / "upload.png"
    Image.fromarray(pixels).save(path)
    image, sentence = uploads.read(path, (8, 8, 3))
    middle = pixels[:, 16:80].reshape(8, 8, 8, 8, 3)
    np.testing.assert_array_equal(image, np.floor(middle.astype(np.float64).mean((1, 3))))
    assert sentence == "Your picture, 96 by 64, cropped to its middle square, resized to 8 by 8."


def test_what_is_transparent_becomes_white(tmp_path):
    path = tmp_path / "upload.png"
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(path)
    image, sentence = uploads.read(path, SHAPE)
    assert (image == 255).all() and "transparent became white" in sentence


def test_a_camera_that_was_held_sideways(tmp_path):
    pixels = bad_uploads.noise(8, 8, 3)
    path = tmp_path / "upload.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees, clockwise.
    Image.fromarray(pixels).save(path, exif=exif)
    image, _ = uploads.read(path, (8, 8, 3))
    np.testing.assert_array_equal(image, np.rot90(pixels, -1))
