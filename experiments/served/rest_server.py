"""A model that TensorFlow Serving answers for by its REST API."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

from experiments.served.outputs import BadAnswer, shortened
from experiments.served.server import MOST_BYTES, RemoteServer, ServerError, input_shape_of, require_name

_CHUNK = 2**20


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


def _fetch(url, body, timeout) -> bytes:
    """Returns the body of an answer; raises a ServerError if there is none, or it is an error."""
    deadline = time.monotonic() + timeout
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        try:
            with opener.open(urllib.request.Request(url, body), timeout=timeout) as answer:
                return _read(answer, deadline)
        except urllib.error.HTTPError as error:
            with error:
                said = _error_text(_read(error, deadline))
            if 300 <= error.code < 400:
                said = f"it redirects to {error.headers.get('Location')!r}; give that address if you trust it"
            raise ServerError(f"{url}: {error.code}: {shortened(said)}") from error
    # No connection, no HTTP, no address that one can connect to.
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise ServerError(f"{shortened(url)}: {shortened(str(error)) or type(error).__name__}") from error


def _read(answer, deadline):
    """Returns all of a body that is whole, neither too large nor too slow."""
    length = answer.length  # As it says; None if it ends when it ends.
    parts, size = [], 0
    while length is None or size < length:
        # What has come, not a whole chunk: byte by byte it could take for ever.
        part = answer.read1(_CHUNK if length is None else min(_CHUNK, length - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise OSError(f"the answer is larger than {MOST_BYTES} bytes, the most that is taken")
        if time.monotonic() > deadline:
            raise OSError("the answer took too long")
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
