"""A model that TensorFlow Serving answers for by its REST API."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from experiments.served.outputs import BadAnswer, shortened
from experiments.served.server import MOST_BYTES, RemoteServer, ServerError, input_shape_of, require_name

_CHUNK = 2**20
_TOO_LONG = "the answer took too long"


class RestServer(RemoteServer):
    """The REST API, in its columnar form."""

    def predict(self, signature, inputs, outputs):
        """See `Server.predict`."""
        columns = {name: [_to_json(row) for row in value] for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        url = f"{self._url()}:predict"
        answer = _json(url, _fetch(url, body, self._timeout))
        try:
            answer = require_name("outputs", answer)
            # A single output comes without its name.
            if not isinstance(answer, dict) and len(outputs) == 1:
                answer = dict.fromkeys(outputs, answer)
            return {
                name: output.of_json(name, require_name(name, answer)) for name, output in outputs.items()
            }
        except BadAnswer as error:
            raise ServerError(f"{url}: the answer to {signature} is wrong: {error}.") from error

    def input_shape(self, name):
        """See `Server.input_shape`."""
        url = f"{self._url()}/metadata"
        try:
            metadata = _json(url, _fetch(url, None, self._timeout))
        except ServerError as error:
            if isinstance(error.__cause__, urllib.error.HTTPError):
                return None  # Not TensorFlow Serving; what is wrong with the model, `predict` tells.
            raise
        try:
            return input_shape_of(metadata["metadata"]["signature_def"], name)
        except (KeyError, TypeError):
            return None

    def _url(self):
        return f"{self._address.rstrip('/')}/v1/models/{urllib.parse.quote(self._model, safe='')}"


def _to_json(row):
    return {"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row.tolist()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Pictures go where the user said, and nowhere else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Returns None: a redirection is an error."""
        del req, fp, code, msg, headers, newurl


class _Cut(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Connections that are cut at a deadline: a server could send its headers byte by byte for ever."""

    def __init__(self, seconds):
        super().__init__()
        self.done = False
        self._sockets = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()

    def _cut(self):
        self.done = bool(self._sockets)
        for connected in self._sockets:
            with contextlib.suppress(OSError):  # It has ended.
                connected.shutdown(socket.SHUT_RDWR)

    def do_open(self, http_class, req, **http_conn_args):
        """Opens a connection, as urllib does, and keeps its socket."""

        def connection(*args, **keywords):
            made = http_class(*args, **keywords)
            connect = made.connect

            def connect_and_keep():
                connect()
                self._sockets.append(made.sock)

            made.connect = connect_and_keep
            return made

        return super().do_open(connection, req, **http_conn_args)


def _fetch(url, body, timeout) -> bytes:
    """Returns the body of an answer; raises a ServerError if there is none, or it is an error."""
    deadline, cut = time.monotonic() + timeout, _Cut(timeout)
    try:
        with cut:
            opener = urllib.request.build_opener(_NoRedirects, cut)
            try:
                with opener.open(urllib.request.Request(url, body), timeout=timeout) as answer:
                    return _read(answer, deadline)
            except urllib.error.HTTPError as error:
                with error:
                    said = _error_text(_read(error, deadline))
                if 300 <= error.code < 400:
                    where = error.headers.get("Location")
                    said = f"it redirects to {where!r}; give that address if you trust it"
                raise ServerError(f"{url}: {error.code}: {shortened(said)}") from error
    # No connection, no HTTP, no address that one can connect to.
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        said = shortened(str(error)) or type(error).__name__
        raise ServerError(f"{shortened(url)}: {_TOO_LONG if cut.done else said}") from error


def _read(answer, deadline):
    """Returns all of a body that is whole, neither too large nor too slow."""
    length = answer.length  # As it says; None if it ends when it ends.
    parts, size = [], 0
    while length is None or size < length:
        # What has come, not a whole chunk: byte by byte it could take for ever.
        part = answer.read1(_CHUNK if length is None else min(_CHUNK, length - size))
        if time.monotonic() > deadline:
            raise OSError(_TOO_LONG)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise OSError(f"the answer is larger than {MOST_BYTES} bytes, the most that is taken")
    if length is not None and size < length:
        raise OSError(f"the answer is cut: {length - size} of its {length} bytes are missing")
    return b"".join(parts)


def _json(url, data):
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        said = shortened(data[:1000].decode(errors="replace"), 100)
        raise ServerError(f"{url}: the answer isn't JSON ({shortened(str(error))}): {said!r}") from error


def _error_text(data):
    """Returns what an error says: TensorFlow Serving's are {"error": TEXT}."""
    text = data.decode(errors="replace")
    try:
        said = json.loads(text)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return text
    return said if isinstance(said, str) else text
