"""Picture files as pixels: every kind of file, every way to read it; damaged ones, and what is written."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from experiments import client, pictures
from experiments.cli import UsageError
from experiments.data import image_folder, images_flag, tfrecords
from experiments.demo import uploads
from tests.experiments.data import records_test
from tests.experiments.demo import bad_uploads

ORIENTATION = 0x0112
# What a camera stores of the scene that it is to be shown as, by EXIF's orientation.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
WITHOUT_EXIF = ("BMP", "GIF", "PPM")
SUFFIX = dict(BMP="bmp", GIF="gif", JPEG="jpg", PNG="png", PPM="ppm", TIFF="tif", WEBP="webp")


def gray_palette(a):
    picture = Image.fromarray(a, "P")
    picture.putpalette([level for level in range(256) for _ in range(3)])
    return picture


def with_alpha(mode):
    """Returns a function that makes a picture of a scene with an opaque fourth channel."""
    return lambda a: Image.fromarray(np.dstack([a, np.full(a.shape[:2], 255, np.uint8)]), mode)


# A kind of file: its format, a picture of a scene uint8 [H, W] or [H, W, 3], and the levels it may be off.
KINDS = {
    "gray": ("PNG", Image.fromarray, 0),
    "gray, two levels": (
        "PNG",
        lambda a: Image.fromarray((a > 127).astype(np.uint8) * 255).convert("1"),
        None,
    ),
    "gray of 16 bits": ("PNG", lambda a: Image.fromarray(a.astype(np.uint16) * 257), 0),
    "gray of 16 bits in a TIFF": ("TIFF", lambda a: Image.fromarray(a.astype("<u2") * 257), 0),
    "gray of 16 bits, high byte first": (
        "TIFF",
        lambda a: Image.fromarray((a.astype(int) * 257).astype(">u2")),
        0,
    ),
    "gray of 16 bits in a PGM": ("PPM", lambda a: Image.fromarray(a.astype(np.uint16) * 257), 0),
    "gray with alpha": ("PNG", with_alpha("LA"), 0),
    "gray palette": ("PNG", gray_palette, 0),
    "gray GIF": ("GIF", Image.fromarray, 0),
    "gray BMP": ("BMP", Image.fromarray, 0),
    "gray PGM": ("PPM", Image.fromarray, 0),
    "colours": ("PNG", Image.fromarray, 0),
    "colours with alpha": ("PNG", with_alpha("RGBA"), 0),
    "colours in a TIFF": ("TIFF", Image.fromarray, 0),
    "colours with alpha in a TIFF": ("TIFF", with_alpha("RGBA"), 0),
    "colours in a WEBP": ("WEBP", Image.fromarray, 0),
    "colours in a BMP": ("BMP", Image.fromarray, 0),
    "colours in a PPM": ("PPM", Image.fromarray, 0),
    "colours, CMYK": ("TIFF", lambda a: Image.fromarray(a).convert("CMYK"), 2),
    "colours, YCbCr": ("TIFF", lambda a: Image.fromarray(a).convert("YCbCr"), 3),
    "colours, LAB": ("TIFF", lambda a: Image.fromarray(a).convert("LAB"), 8),
}


def file_of(picture, kind, orientation=None) -> bytes:
    """Returns a picture's file; lossless where there is a choice."""
    exif = Image.Exif()
    arguments = dict(lossless=True) if kind == "WEBP" else {}
    if orientation is not None:
        exif[ORIENTATION] = orientation
        arguments["exif"] = exif
    with io.BytesIO() as file:
        picture.save(file, kind, **arguments)
        return file.getvalue()


def luma(rgb):
    """ITU-R 601-2."""
    return rgb @ np.array([0.299, 0.587, 0.114])


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    orientation=st.sampled_from([None, *range(0, 10)]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    n_channels=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_kind_of_file_is_its_scene(name, orientation, height, width, n_channels, seed):
    """Mode x orientation x size x channels of the model; orientations that there aren't turn nothing."""
    kind, make, off = KINDS[name]
    if kind in WITHOUT_EXIF:
        orientation = None
    shape = (height, width) if name.startswith("gray") else (height, width, 3)
    scene = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    if "LAB" in name:
        scene = scene // 4 + 96  # Its 8 bits don't hold all colours.
    data = file_of(make(np.ascontiguousarray(STORED.get(orientation, STORED[1])(scene))), kind, orientation)
    image = pictures.decode(data, (height, width, n_channels))
    assert image.dtype == np.uint8
    if off is None:
        scene, off = np.where(scene > 127, 255, 0), 0
    colours = scene if scene.ndim == 3 else np.repeat(scene[..., None], 3, -1)
    if n_channels == 4:
        assert (image[..., 3] == 255).all()
    expected, off = (luma(colours)[..., None], off + 1) if n_channels == 1 else (colours, off)
    assert np.abs(image[..., :3].astype(float) - expected).max() <= off
    if scene.ndim == 2 and n_channels == 1:
        np.testing.assert_array_equal(image[..., 0], scene)


@pytest.mark.parametrize("before_13", [False, True])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 2), (8, 9)])
def test_ycbcr_whatever_pillow_takes_it_for(before_13, compression, size, monkeypatch):
    """Bytes behind the pixels, such as a list of tags there, aren't pixels."""
    scene = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(scene).convert("YCbCr").save(file, "TIFF", compression=compression)
        data = file.getvalue() + bytes(100)
    if before_13 and compression is None:
        monkeypatch.setitem(
            TiffImagePlugin.OPEN_INFO, (TiffImagePlugin.II, 6, (1,), 1, (8, 8, 8), ()), ("RGB", "RGBX")
        )
    image = pictures.decode(data, (*size, 3))
    assert np.abs(image.astype(int) - scene).max() <= 3


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_cameras(kind, orientation):
    """Lossy files, of flat quarters that survive it; a JPEG may also be CMYK."""
    scene = np.kron(
        np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [200, 200, 20]]]), np.ones((16, 24, 1))
    )
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene.astype(np.uint8))))
    files = [(stored, {}), (stored.convert("CMYK"), {})] if kind == "JPEG" else [(stored, {})]
    for picture, arguments in files:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        with io.BytesIO() as file:
            picture.save(file, kind, exif=exif, quality=95, **arguments)
            image = pictures.decode(file.getvalue(), (32, 48, 3))
        for row, column in ((8, 12), (8, 36), (24, 12), (24, 36)):
            assert np.abs(image[row, column] - scene[row, column]).max() < 12


def png(bits: int, colour_type: int, rows, transparent=None) -> bytes:
    """Returns a PNG as its specification has it, of bits that Pillow doesn't write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def line(row):
        digits = "".join(f"{level:0{bits}b}" for level in row.ravel())
        return b"\0" + int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, colour_type, 0, 0, 0))
    colour = (
        b"" if transparent is None else chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    )
    pixels = chunk(b"IDAT", zlib.compress(b"".join(line(row) for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + colour + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n", [1, 3])
def test_one_transparent_colour_of_a_png_is_white(bits, n, rng):
    if n == 3 and bits < 8:
        return  # There are none.
    rows = rng.integers(0, 2**bits, (5, 7, n))
    for transparent in (rows[1, 2], rows[4, 0]):
        image = pictures.decode(png(bits, 0 if n == 1 else 2, rows, transparent), (5, 7, n))
        scene = rows >> 8 if bits == 16 else rows * 255 // (2**bits - 1)
        scene = np.where((rows == transparent).all(-1, keepdims=True), 255, scene)
        np.testing.assert_array_equal(image, scene)


HIDDEN_RED = [255, 0, 0]


def hidden(mode, share, a):
    """Returns a picture whose left half is `share` opaque, of a red that isn't to be seen where it is 0."""
    colour = np.repeat(a[..., None], 3, -1)
    colour[:, :4] = HIDDEN_RED
    alpha = np.full(a.shape, 255, np.uint8)
    alpha[:, :4] = round(255 * share)
    picture = Image.fromarray(np.dstack([colour, alpha]), "RGBA")
    if mode == "P":
        picture = Image.fromarray(np.where(alpha == 255, 1, 0).astype(np.uint8), "P")
        picture.putpalette([*HIDDEN_RED, *a[0, 4:5].repeat(3)])
        picture.info["transparency"] = bytes([round(255 * share), 255])
    return picture if mode in ("RGBA", "P") else picture.convert(mode)


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "TIFF")],
)
def test_what_is_transparent_is_white(mode, kind, share):
    a = np.full((6, 8), 40, np.uint8)
    data = file_of(hidden(mode, share, a), kind)
    for n_channels in (1, 3):
        image = pictures.decode(data, (6, 8, n_channels)).astype(float)
        red = np.array(HIDDEN_RED if mode != "LA" else [luma(np.array(HIDDEN_RED))] * 3)
        left = share * red + (1 - share) * 255
        left = left if n_channels == 3 else luma(left)
        assert np.abs(image[:, :4] - left).max() <= 2
        assert np.abs(image[:, 4:] - 40).max() <= 1
    # A model of four channels takes the transparency itself.
    own = pictures.decode(data, (6, 8, 4))
    np.testing.assert_array_equal(own[..., 3], np.repeat([[round(255 * share)] * 4 + [255] * 4], 6, 0))


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha(mode):
    """No file is kept so by Pillow, but readers of TIFF and a caller may have it in memory."""
    picture = hidden("RGBA", 0.4, np.full((6, 8), 40, np.uint8))
    plain = {"La": "LA", "RGBa": "RGBA"}[mode]
    ours = np.asarray(pictures.convert(picture.convert(plain).convert(mode), 3)).astype(int)
    assert np.abs(ours - np.asarray(pictures.convert(picture.convert(plain), 3))).max() <= 3


def test_first_frame(tmp_path):
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        first, second = (Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (10, 200))
        with io.BytesIO() as file:
            first.save(file, kind, save_all=True, append_images=[second])
            assert np.abs(pictures.decode(file.getvalue(), (8, 8, 3)).astype(int) - 10).max() <= 3


def test_twelve_bits_and_white_first():
    """Of TIFF: gray of 12 bits isn't dark, and where white is 0 it isn't a negative."""
    levels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096 + 77
    data = bytearray(file_of(Image.fromarray(levels), "TIFF"))
    at = data.index(struct.pack("<HHI", 262, 3, 1))  # Photometric interpretation: 1, black is 0.
    data[at + 8] = 0
    np.testing.assert_array_equal(pictures.decode(bytes(data), (4, 4, 1))[..., 0], (65535 - levels) >> 8)
    packed = bytes([0x12, 0x3F, 0xFF, 0x80, 0x00, 0x00])  # 0x123, 0xFFF, 0x800, 0x000.
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag == 273 else 3, 1, value) for tag, value in tags)
    tiff = b"II*\0" + struct.pack("<I", 14) + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert pictures.decode(tiff, (1, 4, 1)).ravel().tolist() == [0x12, 0xFF, 0x80, 0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8), np.int32), "32-bit integers"),
        (np.full((8, 8), 70000, np.int32), "32-bit integers"),
        (np.zeros((8, 8), np.float32), "floats"),
    ],
)
def test_other_pixels_are_refused_by_name(array, words, tmp_path):
    path = tmp_path / "scan.tiff"
    Image.fromarray(array).save(path)
    with pytest.raises(UsageError, match=rf"scan\.tiff.*{words}"):
        pictures.read(path, (8, 8, 1))
    with pytest.raises(UsageError, match=rf"scan\.tiff.*{words}"):
        image_folder.open_image(path, 8)


@pytest.mark.filterwarnings("error")  # Pillow warns of some, which is then an error.
@pytest.mark.parametrize("side", [5001, 6000, 9500, 14000, 50_000])
def test_bombs_are_refused_before_they_are_decoded(side, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(bad_uploads.bomb(side))
    for read in (pictures.read, lambda path: image_folder.open_image(path, 8)):
        with pytest.raises(UsageError, match=r"bomb\.png: it has more than 25 million pixels"):
            read(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damaged_files_are_told_by_name(kind, tmp_path, rng):
    """Cut, with bytes changed, with others in between: pixels, or a sentence; never Pillow's own error."""
    scene = Image.fromarray(np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((5, 6, 1))).astype(np.uint8))
    whole = file_of(scene, kind, None if kind in WITHOUT_EXIF else 6)
    path = tmp_path / f"damaged.{SUFFIX[kind]}"
    refused = 0
    for case in range(90):
        data = bytearray(whole)
        if case % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        elif case % 3 == 1:
            for _ in range(rng.integers(1, 20)):
                data[rng.integers(0, len(data))] = rng.integers(0, 256)
        else:
            at = rng.integers(0, min(len(data), 200))
            data[at:at] = rng.bytes(rng.integers(1, 9))
        path.write_bytes(data)
        try:
            image = image_folder.open_image(path, 8)
        except UsageError as error:
            refused += 1
            assert (
                str(path) in str(error) and "--skip_corrupt" in str(error) and "Traceback" not in str(error)
            )
        else:
            assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    assert refused > 10


@pytest.mark.parametrize(
    "error",
    [SyntaxError("a"), struct.error("a"), MemoryError(), EOFError(), IndexError("a"), RecursionError("a")],
)
def test_whatever_pillow_raises_is_a_sentence(error, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)

    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(
        UsageError, match=rf"a\.png: it isn't a picture that can be read.*\({error or type(error).__name__}"
    ):
        pictures.read(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "picture.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    for name, words in {
        "folder.png": "it is a folder",
        "empty.png": "isn't a picture that can be read",
        "text.png": "isn't a picture that can be read",
        "picture.eps": "isn't a picture that can be read",
        "link.png": "there is no such file",
        "none.png": "there is no such file",
        "text.png/a.png": "there is no such file",
    }.items():
        with pytest.raises(UsageError, match=rf"{name}: .*{words}"):
            pictures.read(tmp_path / name, (8, 8, 3))
    with pytest.raises(pictures.BadPicture, match="can't be opened: No such file"):
        pictures.load(tmp_path / "none.png")


def test_a_picture_of_another_size_or_a_model_without_pictures(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 6)).save(path)
    with pytest.raises(
        UsageError, match=r"a\.png: it is 8 pixels wide and 6 high; it must be 6 wide and 8 high"
    ):
        pictures.read(path, (8, 6, 3))
    with pytest.raises(UsageError, match=r"a\.png: pictures have 1, 3 or 4 channels, and the model has 2"):
        pictures.read(path, (6, 8, 2))


def shares(full, n):
    """How much of each of `full` pixels lies in each of n equal parts, times n: int [n, full]."""
    start, end = (full * (np.arange(n)[:, None] + i) for i in (0, 1))
    pixel = n * np.arange(full)
    return np.clip(np.minimum(end, pixel + n) - np.maximum(start, pixel), 0, None)


def area_means(image, size):
    """Means over areas, in integers, rounded down: the definition."""
    height, width, _ = image.shape
    sums = np.einsum("ia,jb,abc->ijc", shares(height, size[0]), shares(width, size[1]), image.astype(int))
    return (sums // (height * width)).astype(np.uint8)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    height=st.integers(4, 17),
    width=st.integers(4, 17),
    size=st.integers(1, 4),
    mode=st.sampled_from(["L", "RGB"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_smaller_pictures_are_means_over_areas(height, width, size, mode, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, len(mode))).astype(np.uint8)
    picture = Image.fromarray(levels[..., 0] if mode == "L" else levels)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = levels[top : top + side, left : left + side]
    np.testing.assert_array_equal(pictures.square(picture, size), area_means(middle, (size, size)))
    scaled = tuple(max(size, round(n * size / side)) for n in (height, width))
    np.testing.assert_array_equal(pictures.shrunk(picture, size), area_means(levels, scaled))
    # The original's own, over whole blocks, is the same.
    blocks = np.kron(levels[:4, :4], np.ones((3, 3, 1))).astype(np.float32)
    expected = area_means(blocks.astype(np.uint8), (6, 6))
    np.testing.assert_array_equal(pictures.block_means(blocks[None], 6)[0], expected)


def test_one_way_from_a_file_to_pixels(tmp_path, monkeypatch):
    """The folder, the records, --images, and the page read each file alike."""
    files = {
        "turned.jpg": file_of(Image.fromarray(bad_uploads.noise(16, 16, 3)), "JPEG", 6),
        "gray16.png": bad_uploads.sixteen_bits(),
        "cmyk.jpg": bad_uploads.cmyk(),
        "animated.gif": bad_uploads.animated(),
        "hidden.png": file_of(hidden("RGBA", 0.4, np.full((16, 16), 40, np.uint8)), "PNG", 8),
    }
    folder = tmp_path / "train"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (tmp_path / "test").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "test/a.png")
    for n_channels in (1, 3):
        out = tmp_path / f"records{n_channels}"
        flags = ["--images", tmp_path, "--data_dir", out, "--image_size", 16, "--n_channels", n_channels]
        records_test.write(*flags)
        shape = (16, 16, n_channels)
        recorded = tfrecords.Records(tfrecords.find(out, "train", 16), shape)
        data = image_folder.ImageFolder(tmp_path, "train", 16, n_channels)
        for i, name in enumerate(sorted(files)):
            image, label = data.read(i, None)
            assert label == 0
            np.testing.assert_array_equal(recorded.example(i)["image"], image)
            np.testing.assert_array_equal(uploads.read(folder / name, shape)[0], image)
            if Image.open(folder / name).size == (16, 16):
                np.testing.assert_array_equal(images_flag._one(str(folder / name), None, shape), image)


# How far TensorFlow's decoding, which the export's signatures of files have, may be off: its gray of colours
# is another.
SERVED = {
    "gray": 0,
    "gray of 16 bits": 0,
    "gray palette": 0,
    "gray, two levels": 0,
    "gray with alpha": 0,
    "colours": 1,
    "colours with alpha": 1,
}


@pytest.mark.parametrize("n_channels", [1, 3])
def test_the_served_decoding_agrees(n_channels, rng):
    served = lambda data: tf.io.decode_image(data, n_channels, expand_animations=False).numpy().astype(int)
    ours = lambda data: pictures.decode(data, (16, 16, n_channels))
    for name, off in SERVED.items():
        kind, make, _ = KINDS[name]
        shape = (16, 16) if name.startswith("gray") else (16, 16, 3)
        data = file_of(make(rng.integers(0, 256, shape).astype(np.uint8)), kind)
        assert np.abs(served(data) - ours(data)).max() <= off, name
    scene = Image.fromarray(np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8))
    for mode in ("L", "RGB"):
        data = file_of(scene.convert(mode), "JPEG")
        assert np.abs(served(data) - ours(data)).max() <= 8, mode
    # Where it doesn't, as docs/serving.md says: it turns nothing, and shows what is under the transparency.
    turned = file_of(scene, "PNG", 6)
    np.testing.assert_allclose(np.rot90(served(turned), -1), ours(turned), atol=1)
    red = file_of(hidden("RGBA", 0.0, np.full((16, 16), 40, np.uint8)), "PNG")
    assert (ours(red)[:, :4] == 255).all() and served(red)[0, 0, -1] < 100


def test_the_client_reads_them_as_the_model_takes_them(tmp_path):
    picture = hidden("RGBA", 0.0, np.full((8, 8), 40, np.uint8))
    path = tmp_path / "a.png"
    picture.save(path)
    for n_channels in (1, 3):
        image = client._image(path, (8, 8, n_channels))
        assert image.shape == (8, 8, n_channels) and (image[:, :4] == 255).all()
    np.testing.assert_array_equal(client._image(path, (8, 8, 4)), np.asarray(picture))
    np.testing.assert_array_equal(client._image(path, None), client._image(path, (8, 8, 3)))


def test_what_is_written_has_any_case_and_is_told_if_it_cannot_be(tmp_path, monkeypatch):
    images = np.zeros((4, 32, 32, 1), np.uint8)
    for name in ("a.png", "b.PNG", "c.Gif", "d.GIF"):
        pictures.require_name(tmp_path / name)
        pictures.save(images, 2, tmp_path / name)
        pictures.save_blocks([images, images], 2, tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == name[-3:].upper() and picture.size == (
                64,
                64 if picture.format == "GIF" else 128,
            )
    for name, words in {
        "a.jpg": "must end in",
        "none/a.png": "there is no folder",
        "f.png": "is a folder",
    }.items():
        (tmp_path / "f.png").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=words):
            pictures.require_name(tmp_path / name)
    for write in (pictures.save, lambda images, n, path: pictures.save_one(images[0], path)):
        with pytest.raises(UsageError, match=r"Can't write .*f\.png: Is a directory"):
            write(images, 2, tmp_path / "f.png")
