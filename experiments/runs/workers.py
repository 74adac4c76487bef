"""The workers of several machines: what TF_CONFIG says of them, and waiting until all are there.

TensorFlow starts its server with any TF_CONFIG, and then waits for the others where no signal ends it. So
what is wrong is said before, and the wait is made here: each worker listens at its own address, says who it
is to whoever asks there, and asks at the others' addresses until all answer, as such a worker or as
TensorFlow's server, which is what they start when they have found the others.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import zlib

from experiments.cli import UsageError
from experiments.runs import interruptions

EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'

_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})", re.ASCII)
_GREETING = b"Glow: "
_HTTP2_SETTINGS = b"\x04"  # The type, the fourth byte, of the frame by which a gRPC server begins.
_ASK_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_RESOLVE_SECONDS = 10.0
_SAY_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers, of which one is this process.

    Attributes:
        workers: dict from names, such as "worker 0", to addresses "HOST:PORT".
        name: str, this worker's.
    """

    workers: dict[str, str]
    name: str

    def greeting(self, name: str) -> bytes:
        """Returns what a worker of this cluster says to who connects."""
        return _GREETING + f"{name}, cluster {zlib.crc32(repr(self.workers).encode()):08x}\n".encode()


def cluster() -> Cluster | None:
    """Returns the workers that TF_CONFIG names; None if it isn't set.

    Raises:
        UsageError: if TF_CONFIG isn't what TensorFlow takes.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"is no JSON ({error}): {_short(text)}") from error
    if not isinstance(config, dict):
        raise _wrong(f"must be an object, got {_short(config)}")
    workers = _workers(config.get("cluster"))
    task = config.get("task")
    if not isinstance(task, dict):
        raise _wrong(f"must have a task with the type and the index of this worker, got {_short(task)}")
    job, index = task.get("type"), task.get("index")
    jobs = {name.split()[0] for name in workers}
    if not isinstance(job, str) or job not in jobs:
        raise _wrong(f"has the task type {_short(job)}, and its cluster has {' and '.join(sorted(jobs))}")
    n = sum(name.split()[0] == job for name in workers)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < n:
        allowed = "0" if n == 1 else f"a whole number from 0 to {n - 1}"
        raise _wrong(f"has the task index {_short(index)}, which must be {allowed}: there are {n} of {job!r}")
    return Cluster(workers, f"{job} {index}")


def _workers(jobs):
    """Returns names and addresses of what should be a cluster."""
    if not isinstance(jobs, dict) or not jobs:
        raise _wrong(f"must have a cluster with the addresses of the workers, got {_short(jobs)}")
    workers = {}
    for job, addresses in jobs.items():
        if job not in _JOBS:
            raise _wrong(f"has the job {_short(job)} in its cluster; there may be {' and '.join(_JOBS)}")
        if not isinstance(addresses, list) or not addresses:
            raise _wrong(f"must have a list of addresses as {job}, got {_short(addresses)}")
        for index, address in enumerate(addresses):
            match = isinstance(address, str) and _ADDRESS.fullmatch(address)
            if not match or not 1 <= int(match[2]) <= 65535:
                raise _wrong(
                    f"has the address {_short(address)}, which must be HOST:PORT, the port from 1 to 65535"
                )
            if address in workers.values():
                raise _wrong(f"has the address {address!r} twice")
            workers[f"{job} {index}"] = address
    if "chief 1" in workers:
        raise _wrong("has several chiefs")
    return workers


def _wrong(what):
    return UsageError(f"TF_CONFIG {what}. It is JSON such as {EXAMPLE}, with another index on each worker.")


def _short(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def wait_for_all(workers: Cluster) -> None:
    """Waits until every worker is there, and says on stderr for whom; SIGTERM and Ctrl-C end it.

    Raises:
        UsageError: if this worker's port can't be used, or what is at another's address isn't that worker.
        SystemExit: after SIGTERM.
    """
    others = [_Other(name, workers) for name in workers.workers if name != workers.name]
    said = time.monotonic() + 2 * _ASK_SECONDS - _SAY_SECONDS  # Those who are there have answered then.
    with _exit_on_sigterm(), _listening(workers), contextlib.ExitStack() as asking:
        for other in others:
            asking.enter_context(other)
        while away := [other for other in others if not other.there]:
            for other in others:
                if other.fault:
                    raise UsageError(other.fault)
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                print(
                    f"{workers.name} of {len(workers.workers)} workers waits for "
                    f"{', '.join(map(str, away))}.",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(0.05)


class _Other:
    """Another worker, asked again and again by a thread whether it is there.

    Attributes:
        there: bool, whether it answered last time.
        fault: str or None, what is wrong for good.
    """

    def __init__(self, name, workers):
        self.there, self.fault = False, None
        self._name, self._address = name, workers.workers[name]
        self._greeting = workers.greeting(name)
        self._why = "no answer yet"
        self._resolved, self._stop = time.monotonic(), threading.Event()
        # A daemon, as looking up a name can't be interrupted.
        self._thread = threading.Thread(target=self._ask_again, daemon=True)

    def __str__(self):
        return f"{self._name} at {self._address} ({self._why})"

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *error):
        self._stop.set()

    def _ask_again(self):
        while not self._stop.is_set():
            self._why = self._ask()
            self.there = self._why is None
            self._stop.wait(_ASK_SECONDS)

    def _ask(self):
        """Returns why the worker isn't there; None if it is."""
        host, port = _ADDRESS.fullmatch(self._address).groups()
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as connection:
                self._resolved = time.monotonic()
                answer = connection.recv(256)
        except (socket.gaierror, UnicodeError) as error:
            if time.monotonic() - self._resolved > _RESOLVE_SECONDS:
                self.fault = (
                    f"TF_CONFIG names {self._name} at {self._address!r}, a host that isn't known here: "
                    f"{error}. An example: {EXAMPLE}."
                )
            return f"the host isn't known: {error}"
        except OSError as error:
            self._resolved = time.monotonic()
            return error.strerror or str(error)
        if answer == self._greeting or answer[3:4] == _HTTP2_SETTINGS:
            return None
        if not answer.startswith(_GREETING):
            return "another program is there"
        who = answer[len(_GREETING) :].decode(errors="replace").strip()
        self.fault = (
            f"TF_CONFIG names {self._name} at {self._address!r}, where a worker says that it is {who}. All "
            f"workers have the same cluster in TF_CONFIG, each another index: {EXAMPLE}."
        )
        return "another worker is there"


@contextlib.contextmanager
def _listening(workers):
    """Says who this worker is to whoever connects to its port."""
    address = workers.workers[workers.name]
    port = int(_ADDRESS.fullmatch(address)[2])
    both = socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )
    except OSError as error:
        why = {
            errno.EADDRINUSE: "is in use on this machine, by a worker of the same index or another program",
            errno.EACCES: "is the system's, as those below 1024 are",
        }.get(error.errno, f"can't be used: {error.strerror or error}")
        raise UsageError(
            f"The port {port} of this worker, {workers.name} at {address!r} of TF_CONFIG, {why}. Each worker "
            f"needs another index, and a free port: {EXAMPLE}."
        ) from error
    stop = threading.Event()

    def greet():
        listener.settimeout(0.05)
        while not stop.is_set():
            with contextlib.suppress(OSError):  # Nobody, or who hung up.
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(workers.greeting(workers.name))

    thread = threading.Thread(target=greet, daemon=True)
    with listener:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def _exit_on_sigterm():
    def end(number, frame):
        print("SIGTERM while waiting for the other workers.", file=sys.stderr, flush=True)
        sys.exit(interruptions.TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def signals_kept():
    """Lets Ctrl-C end the process while TensorFlow joins the workers, and SIGTERM be afterwards what it was.

    No handler of Python's is run meanwhile, and TensorFlow takes SIGTERM over, to log it only.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
