"""The client and bad requests, against a server: TensorFlow Serving's, where it is, or a stand-in."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import glow_tf
from experiments import served
from experiments.served import directions
from experiments.served.outputs import Output
from glow_tf import quantization
from tests.support import commands, prediction_server, serving_cases

SERVERS = dict(
    stand_in=prediction_server.stand_in, tensorflow_model_server=prediction_server.tensorflow_model_server
)


@pytest.fixture(scope="module")
def model():
    """The served model, with labels."""
    return serving_cases.make_model("labels")


@pytest.fixture(scope="module", params=SERVERS)
def addresses(request, model, tmp_path_factory):
    """The addresses, gRPC's and REST's, of a server of the model."""
    if request.param == "tensorflow_model_server" and not shutil.which(request.param):
        pytest.skip("tensorflow_model_server isn't on PATH")
    directory = tmp_path_factory.mktemp("served") / prediction_server.MODEL
    glow_tf.serving.export(model, directory)
    with SERVERS[request.param](directory) as addresses:
        yield addresses


@pytest.fixture(params=["grpc", "rest"])
def server(request, addresses):
    """The model on the server, by each protocol."""
    address = addresses[["grpc", "rest"].index(request.param)]
    return served.connect(address, prediction_server.MODEL, 30.0)


def outputs_of(name, wanted):
    """Returns what a signature's answer must be."""
    if name == "sample_encoded":
        return dict(image_bytes=Output("string", (len(wanted["images"]),)))
    return {key: Output(value.dtype.name, value.shape) for key, value in wanted.items()}


def test_every_signature(server, model):
    for name, request in serving_cases.make_requests(model.config).items():
        wanted = serving_cases.expected(model, name, request)
        answer = server.predict(name, request, outputs_of(name, wanted))
        serving_cases.assert_close(answer, wanted, model.config.n_bits_x)


def test_the_server_tells_the_size_of_images(server, model):
    assert server.image_shape() == model.config.image_shape


def png(*shape):
    """Returns a black picture's file."""
    return tf.io.encode_png(np.zeros(shape, np.uint8)).numpy()


BAD_REQUESTS = [
    ("bits_per_dim", dict(images=np.zeros((2, 8, 6, 1), np.uint8)), "shape.*8, 8, 1.*2 8 6 1"),
    ("bits_per_dim", dict(images=np.zeros((2, 8, 8, 3), np.uint8)), "shape.*8, 8, 1.*2 8 8 3"),
    ("bits_per_dim", dict(images=np.zeros((8, 8, 1), np.uint8)), "shape.*8, 8, 1.*8 8 1"),
    ("bits_per_dim", dict(labels=np.int32([3, 10])), "labels must be from 0 to 9"),
    ("bits_per_dim", dict(labels=np.int32([-1, 0])), "labels must be from 0 to 9"),
    ("bits_per_dim", dict(labels=np.int32([1, 2, 3])), "as many rows"),
    ("encode", dict(images=np.zeros((2, 4, 4, 1), np.uint8)), "shape.*8, 8, 1"),
    ("decode", dict(latents=np.zeros((2, 63), np.float32)), "latents must be.*64.*2 63"),
    ("decode", dict(latents=np.full((2, 64), np.nan, np.float32)), "latents must be finite"),
    ("sample", dict(temperature=np.float32([1, -0.1])), "temperature must be finite and at least 0"),
    ("sample", dict(temperature=np.float32([np.nan, 1])), "temperature must be finite and at least 0"),
    ("sample", dict(temperature=np.float32([np.inf, 1])), "temperature must be finite and at least 0"),
    ("sample_encoded", dict(labels=np.int32([3, 10])), "labels must be from 0 to 9"),
    ("interpolate", dict(points=np.full((2, 3), 1.1, np.float32)), "points must be from 0 to 1"),
    ("manipulate", dict(alphas=np.full((2, 3), np.inf, np.float32)), "alphas must be finite"),
    ("manipulate", dict(direction=np.zeros((1, 64), np.float32)), "as many rows"),
    ("bits_per_dim_encoded", dict(image_bytes=np.array([b"GIF?", b"no"], object)), "Unknown image file"),
    ("bits_per_dim_encoded", dict(image_bytes=np.array([png(8, 8, 1)[:50]] * 2, object)), "PNG"),
    ("bits_per_dim_encoded", dict(image_bytes=np.array([png(9, 8, 1)] * 2, object)), "8 pixels high.*9 8"),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), BAD_REQUESTS)
def test_bad_requests_are_told_and_the_server_goes_on(name, changes, sentence, server, model):
    request = serving_cases.make_requests(model.config, 2)[name]
    code = "400" if isinstance(server, served.RestServer) else "INVALID_ARGUMENT"
    with pytest.raises(served.ServerError, match=f"(?s){code}.*{sentence}"):
        server.predict(name, request | changes, {})
    wanted = serving_cases.expected(model, name, request)
    answer = server.predict(name, request, outputs_of(name, wanted))
    serving_cases.assert_close(answer, wanted, model.config.n_bits_x)


def test_a_wrong_dtype_is_told(addresses, model):
    server = served.connect(addresses[0], prediction_server.MODEL, 30.0)
    request = serving_cases.make_requests(model.config, 2)["bits_per_dim"]
    wrong = request | dict(images=request["images"].astype(np.float32))
    with pytest.raises(served.ServerError, match="INVALID_ARGUMENT.*uint8.*float"):
        server.predict("bits_per_dim", wrong, {})
    assert server.predict("bits_per_dim", request, dict(log_prob=Output("float32", (2,))))


def test_client(addresses, model, tmp_path):
    """The command: samples as files, their bits per dimension, and pictures made from them."""
    grpc, rest = addresses
    model_flag = ["--model", prediction_server.MODEL]
    folder = f"{tmp_path}/samples/"
    sample = ["--operation", "sample", "--labels", "1,2,3", "--out", folder]
    commands.run("client", "--server", grpc, *model_flag, *sample)
    files = [f"{folder}{i}.png" for i in range(3)]
    arguments = ["--operation", "bits_per_dim", "--images", ",".join(files), "--labels", "1,2,3"]
    printed = commands.run("client", "--server", rest, *model_flag, *arguments)
    images = np.stack([np.asarray(Image.open(file)) for file in files])[..., None]
    noise = glow_tf.serving.image_noise(quantization.preprocess(images, 4), 4)
    for line, bits in zip(
        printed.splitlines(), model.bits_per_dim(images, [1, 2, 3], noise).numpy(), strict=True
    ):
        assert abs(float(line.split()[1]) - bits) < 2e-4, printed

    out = tmp_path / "interpolation.png"
    arguments = ["--operation", "interpolate", "--images", ",".join(files), "--points", 4, "--out", out]
    commands.run("client", "--server", rest, *model_flag, *arguments)
    assert Image.open(out).size == (4 * 34, 2 * 34)

    named = directions.Directions(np.array(["a", "b"]), np.ones((2, 64), np.float32), np.ones((2, 2), int))
    named.save(tmp_path / "directions.npz")
    out = tmp_path / "manipulation.gif"
    arguments = ["--operation", "manipulate", "--directions", tmp_path / "directions.npz", "--out", out]
    arguments += ["--images", files[0], "--alphas=-1,0,1"]
    commands.run("client", "--server", grpc, *model_flag, *arguments)
    picture = Image.open(out)
    assert picture.n_frames == 3 and picture.size == (34, 2 * 34)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--server {grpc} --operation sample --labels 11 --out {tmp}/", ["INVALID_ARGUMENT", "0 to 9"]),
        ("--server 127.0.0.1:1 --timeout 2 --out {tmp}/", ["127.0.0.1:1"]),
    ],
)
def test_mistakes_are_told_in_a_paragraph(arguments, words, addresses, tmp_path):
    fill = dict(grpc=addresses[0], rest=addresses[1], tmp=tmp_path)
    message = commands.run("client", *arguments.format(**fill).split(), fails=True)
    assert "Traceback" not in message, message
    for word in words:
        assert word in message, message
