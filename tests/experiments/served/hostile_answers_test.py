"""A server's answers that aren't answers: each is a sentence, and nothing wrong comes through."""

import base64
import contextlib
import http.server
import json
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments import client, served
from experiments.cli import UsageError
from experiments.served import ServerError, rest_server
from experiments.served.outputs import BadAnswer, Output

IMAGES = Output("uint8", (2, 2, 2, 1))
BITS = Output("float32", (2,))
FILES = Output("string", (2,))
GOOD = [[[[0], [1]], [[2], [255]]]] * 2


@pytest.fixture(scope="module")
def say():
    """A function: the bytes of an HTTP answer -> the address of a server that gives it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = b""

        def do_POST(self):  # noqa: N802
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.wfile.write(self.answer)
            self.close_connection = True

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def say(answer):
        Handler.answer = answer
        return f"http://127.0.0.1:{server.server_port}"

    yield say
    server.shutdown()
    server.server_close()


def http_answer(body, status="200 OK", headers=()):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", *(headers or [f"Content-Length: {len(body)}"])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask(address, timeout=20.0, **outputs):
    inputs = dict(seed=np.zeros(2, np.int64))
    return served.connect(address, "glow", timeout).predict("sample", inputs, outputs)


def replaced(value):
    """Returns GOOD with its last pixel replaced."""
    wrong = json.loads(json.dumps(GOOD))
    wrong[1][1][1][0] = value
    return wrong


BODIES = {  # What the two images are said to be, and words of the sentence.
    "300": (replaced(300), "0 to 255, got 300"),
    "-1": (replaced(-1), "0 to 255, got -1"),
    "1.5": (replaced(1.5), "float"),
    "1.0": (replaced(1.0), "float"),
    "10^400": (replaced(10**400), "0 to 255"),
    "true": (replaced(True), "bool"),
    "null pixel": (replaced(None), "NoneType"),
    "text pixel": (replaced("7"), "str"),
    "list pixel": (replaced([7]), "list|shape|lengths"),
    "dict pixel": (replaced({"b64": "AA=="}), "dict"),
    "NaN": (replaced(float("nan")), "float"),
    "ragged rows": ([GOOD[0], GOOD[0][:1]], "shape|lengths"),
    "ragged depth": ([GOOD[0], 7], "shape|lengths"),
    "a row fewer": (GOOD[:1], "shape"),
    "a row more": (GOOD * 2, "shape"),
    "no row": ([], "shape"),
    "other shape": ([[1, 2], [3, 4]], "shape"),
    "null": (None, "shape"),
    "text": ("images", "shape"),
    "number": (7, "shape"),
    "nested dicts": ({"images": {"images": {"images": GOOD}}}, "shape|dict"),
    "missing name": ({"pictures": GOOD}, "must have images, and has pictures"),
    "empty dict": ({}, "must have images, and has nothing"),
}


@pytest.mark.parametrize("name", BODIES)
def test_images_that_are_none(name, say):
    value, words = BODIES[name]
    with pytest.raises(ServerError, match=words):
        ask(say(http_answer({"outputs": value})), images=IMAGES)


FLOATS = {
    "NaN": b"[1, NaN]",
    "Infinity": b"[-Infinity, 1]",
    "1e400": b"[1, 1e400]",
    "1e39": b"[1e39, 1]",
    "10^400": b"[1, 1" + b"0" * 400 + b"]",
    "true": b"[true, 1]",
    "text": b'["1", "2"]',
    "null": b"[null, null]",
    "nested": b"[[1], [2]]",
    "a dict": b'{"0": 1, "1": 2}',
}


@pytest.mark.parametrize("name", FLOATS)
def test_numbers_that_are_none(name, say):
    with pytest.raises(ServerError, match="bits_per_dim|finite"):
        ask(say(http_answer(b'{"outputs": ' + FLOATS[name] + b"}")), bits_per_dim=BITS)


B64 = base64.b64encode(b"no picture").decode()


@pytest.mark.parametrize(
    "files",
    [
        [{"b64": B64}, {"b64": "no base64!"}],
        [{"b64": B64}, {"b64": "AAA"}],
        [{"b64": B64}, {"b64": "\u00fc"}],
        [{"b64": B64}, {"b64": 7}],
        [{"b64": B64}, {"b64": [B64]}],
        [{"b64": B64}, {"b64": B64, "b65": B64}],
        [{"b64": B64}, {}],
        [{"b64": B64}, B64],
        [{"b64": B64}, None],
        [{"b64": B64}],
        {"b64": B64},
        B64,
    ],
)
def test_files_that_are_none(files, say):
    with pytest.raises(ServerError, match="image_bytes"):
        ask(say(http_answer({"outputs": files})), image_bytes=FILES)


def png(*shape):
    return tf.io.encode_png(np.zeros(shape, np.uint8)).numpy()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([png(2, 2, 1), b"no picture"], "picture 1 isn't one"),
        ([png(2, 2, 1), png(2, 2, 1)[:40]], "picture 1 isn't one"),
        ([b"", b""], "picture 0 isn't one"),
        ([png(2, 2, 1), png(2, 3, 1)], "several sizes"),
        ([png(2, 2, 1), png(2, 2, 3)], "several sizes"),
    ],
)
def test_pictures_that_are_none(files, words):
    with pytest.raises(UsageError, match=words):
        client._decoded(files)


OUTPUTS = json.dumps({"outputs": GOOD}).encode()
HTTP = {
    "HTML": (http_answer(b"<html>Please log in</html>"), "isn't JSON.*log in"),
    "empty": (http_answer(b""), "isn't JSON"),
    "not UTF-8": (http_answer(b"\xff\xfe\xfa"), "isn't JSON"),
    "cut JSON": (http_answer(OUTPUTS[:-9]), "isn't JSON"),
    "two JSONs": (http_answer(OUTPUTS * 2), "isn't JSON"),
    "deep": (http_answer(b"[" * 100_000), "isn't JSON|must have"),
    "a list": (http_answer([1, 2]), "must have outputs"),
    "null": (http_answer(None), "must have outputs"),
    "a number": (http_answer(7), "must have outputs"),
    "predictions": (http_answer({"predictions": GOOD}), "must have outputs, and has predictions"),
    "error in 200": (http_answer({"error": "no"}), "must have outputs, and has error"),
    "cut body": (http_answer(OUTPUTS, headers=["Content-Length: 9999"]), "is cut"),
    "short length": (http_answer(OUTPUTS, headers=["Content-Length: 30"]), "isn't JSON"),
    "negative length": (http_answer(b"no", headers=["Content-Length: -5"]), "."),
    "length is text": (http_answer(b"no", headers=["Content-Length: many"]), "."),
    "cut chunk": (http_answer(b"ffff\r\n{", headers=["Transfer-Encoding: chunked"]), "IncompleteRead|."),
    "bad chunk": (http_answer(b"zz\r\n{", headers=["Transfer-Encoding: chunked"]), "."),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    "nothing": (b"", "closed|RemoteDisconnected"),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "headers"),
    "long header": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, "line|header"),
    "status 999": (http_answer(OUTPUTS, "999 ?"), "999"),
    "status text": (http_answer(OUTPUTS, "OK OK"), "."),
    "redirect": (http_answer(b"", "302 Found", ["Location: file:///etc/passwd"]), "redirects to 'file"),
    "redirect 308": (http_answer(b"", "308 ?", ["Location: http://elsewhere/"]), "redirects to 'http"),
    "redirect nowhere": (http_answer(b"", "301 ?", ["Content-Length: 0"]), "redirects to None"),
    "error, JSON": (http_answer({"error": "labels must be"}, "400 Bad"), "400: labels must be"),
    "error, not UTF-8": (http_answer(b"\xff\xfe\x00no", "500 Bad"), "500"),
    "error, HTML": (http_answer(b"<h1>502\n\n</h1>", "502 Bad"), "502: <h1>502 </h1>"),
    "error, escapes": (http_answer(b"\x1b[2J\x07gone", "404 Not Found"), "404: [^\x1b\x07]*gone$"),
    "error, null": (http_answer({"error": None}, "400 Bad"), "400"),
    "error, cut": (http_answer(b"no", "400 Bad", ["Content-Length: 99"]), "cut"),
    "error, long": (http_answer(b"no " * 10_000, "400 Bad"), r"400: (no )+.*\.\.\.$"),
}


@pytest.mark.parametrize("name", HTTP)
def test_answers_that_are_none(name, say):
    answer, words = HTTP[name]
    with pytest.raises(ServerError, match=words) as refusal:
        ask(say(answer), images=IMAGES)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 3000


def test_an_answer_that_is_huge(say, monkeypatch):
    monkeypatch.setattr(rest_server, "MOST_BYTES", 2**21)
    for headers in (["Content-Length: 99999999"], ["Connection: close"]):
        with pytest.raises(ServerError, match="larger than 2097152 bytes"):
            ask(say(http_answer(b" " * 2**22, headers=headers)), images=IMAGES)


def test_a_deadline_holds_for_the_whole_answer(monkeypatch):
    class Drops:
        length = None

        def read1(self, _):
            time.sleep(0.01)
            return b" "

    with pytest.raises(OSError, match="too long"):
        rest_server._read(Drops(), time.monotonic() + 0.1)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 ",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 500 Oh\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 503 Oh\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 302 Go\r\nLocation: ",
    ],
)
def test_a_deadline_holds_wherever_an_answer_comes_byte_by_byte(start):
    """Each byte comes in time; the whole never does."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(start)
                while not ended.wait(0.02):
                    connection.sendall(b"1")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        server = served.connect(f"http://127.0.0.1:{listener.getsockname()[1]}", "glow", 0.3)
        begun = time.monotonic()
        with pytest.raises(ServerError, match="took too long"):
            server.predict("interpolate", dict(images=np.zeros((2, 2, 2, 1), np.uint8)), dict(images=IMAGES))
        assert time.monotonic() - begun < 5
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "address", ["http://", "http://[", "http://a:b", "http://127.0.0.1:99999", "http://a b"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(ServerError, match="http:"):
        ask(address, images=IMAGES)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_timeouts_that_are_none(timeout):
    with pytest.raises(UsageError, match="more than 0"):
        served.connect("http://127.0.0.1:1", "glow", timeout)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_bytes_flipped_or_cut(data, say):
    body = bytearray(OUTPUTS)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    try:
        images = ask(say(http_answer(bytes(body))), images=IMAGES)["images"]
    except ServerError as error:
        assert str(error)
    else:
        assert images.shape == IMAGES.shape and images.dtype == np.uint8


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64", "x"]), inner),
        max_leaves=12,
    ),
    output=st.sampled_from([Output("uint8", (2,)), Output("float32", (2,)), Output("string", (2,))]),
)
def test_any_json(value, output):
    try:
        array = output.of_json("it", value)
    except BadAnswer as error:
        assert "it" in str(error)
    else:
        assert array.shape == (2,)


def proto(dtype=tf.uint8, shape=(2,), **values):
    made = tf.make_tensor_proto(np.zeros(2), tf.float32)
    made.Clear()
    made.dtype = tf.as_dtype(dtype).as_datatype_enum
    for size in shape:
        made.tensor_shape.dim.add().size = size
    for name, value in values.items():
        if isinstance(value, bytes):
            setattr(made, name, value)
        else:
            getattr(made, name).extend(value)
    return made


@pytest.mark.parametrize(
    ("message", "output", "words"),
    [
        (proto(int_val=[1, 300]), Output("uint8", (2,)), "0 to 255, got 300"),
        (proto(int_val=[-1, 3]), Output("uint8", (2,)), "0 to 255, got -1"),
        (proto(int_val=[1], shape=(10**12,)), Output("uint8", (2,)), "shape"),
        (proto(int_val=[1, 2, 3]), Output("uint8", (2,)), "entries"),
        (proto(tensor_content=b"123"), Output("uint8", (2,)), "entries"),
        (proto(tensor_content=b""), Output("uint8", (2,)), None),  # Zeros, as TensorFlow reads it.
        (proto(shape=(-1,)), Output("uint8", (2,)), "shape"),
        (proto(tf.int32, int_val=[1, 2]), Output("uint8", (2,)), "dtype"),
        (proto(tf.float32, float_val=[1.0, float("nan")]), Output("float32", (2,)), "finite"),
        (proto(tf.float64, double_val=[1.0, 2.0]), Output("float32", (2,)), "dtype"),
        (proto(tf.string), Output("string", (2,)), "bytes"),
        (proto(tf.string, string_val=[b"a", b"b"]), Output("string", (2,)), None),
    ],
)
def test_tensor_protos(message, output, words):
    if words is None:
        assert output.of_proto("it", message).shape == (2,)
        return
    with pytest.raises(BadAnswer, match=words):
        output.of_proto("it", message)
