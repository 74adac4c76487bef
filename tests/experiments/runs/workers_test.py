"""TF_CONFIG, and waiting for the workers that it names."""

import contextlib
import json
import os
import signal
import socket
import threading

import pytest

from experiments.cli import UsageError
from experiments.runs import interruptions, workers

TWO = {"worker": ["host0:2222", "host1:2222"]}
FIRST = {"type": "worker", "index": 0}


def cluster_of(monkeypatch, config):
    """Returns the cluster of a TF_CONFIG, text or what becomes JSON."""
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    return workers.cluster()


@pytest.mark.parametrize(
    ("config", "names", "mine"),
    [
        ({"cluster": TWO, "task": FIRST}, ["worker 0", "worker 1"], "worker 0"),
        ({"cluster": TWO, "task": FIRST | {"index": 1}, "more": 1}, ["worker 0", "worker 1"], "worker 1"),
        (
            {"cluster": {"chief": ["[::1]:1"], "worker": ["10.0.0.1:65535"]}, "task": FIRST},
            ["chief 0", "worker 0"],
            "worker 0",
        ),
        (
            {"cluster": TWO | {"chief": ["a-b.c_d:80"]}, "task": {"type": "chief", "index": 0}},
            ["worker 0", "worker 1", "chief 0"],
            "chief 0",
        ),
    ],
)
def test_what_is_taken(config, names, mine, monkeypatch):
    cluster = cluster_of(monkeypatch, config)
    assert list(cluster.workers) == names and cluster.name == mine


def test_none_without_tf_config(monkeypatch):
    for text in ("", " \n"):
        assert cluster_of(monkeypatch, text) is None
    monkeypatch.delenv("TF_CONFIG")
    assert workers.cluster() is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "no JSON"),
        ("hosts", "no JSON"),
        ("[" * 100000, "no JSON"),
        ("[]", r"object, got \[\]"),
        ('"host0:2222"', "object, got 'host0:2222'"),
        ("2", "object, got 2"),
        ("null", "object, got None"),
        ("{}", "cluster .* got None"),
        ({"cluster": {}, "task": FIRST}, "cluster .* got {}"),
        ({"cluster": ["host0:2222"], "task": FIRST}, "cluster .* got "),
        ({"cluster": {"worker": []}, "task": FIRST}, r"list of addresses as worker, got \[\]"),
        ({"cluster": {"worker": "host0:2222"}, "task": FIRST}, "list of addresses as worker, got 'host0"),
        ({"cluster": {"worker": {"0": "host0:2222"}}, "task": FIRST}, "list of addresses as worker"),
        ({"cluster": TWO | {"ps": ["host2:2222"]}, "task": FIRST}, "job 'ps'.* chief and worker"),
        ({"cluster": TWO | {"chief": ["a:1", "b:1"]}, "task": FIRST}, "several chiefs"),
        ({"cluster": TWO}, "must have a task.*got None"),
        ({"cluster": TWO, "task": 0}, "must have a task.*got 0"),
        ({"cluster": TWO, "task": []}, r"must have a task.*got \[\]"),
        ({"cluster": TWO, "task": {"index": 0}}, "task type None.* worker"),
        ({"cluster": TWO, "task": FIRST | {"type": "Worker"}}, "task type 'Worker'"),
        ({"cluster": TWO, "task": FIRST | {"type": "chief"}}, "task type 'chief'"),
        ({"cluster": TWO, "task": FIRST | {"type": ["worker"]}}, "task type"),
        ({"cluster": TWO, "task": {"type": "worker"}}, "index None.* 0 to 1"),
        *(
            ({"cluster": TWO, "task": FIRST | {"index": index}}, "index .* 0 to 1: there are 2 of 'worker'")
            for index in (2, -1, 10**30, 0.0, 1.5, "0", "one", True, None, [0], {}, float("nan"))
        ),
        ({"cluster": {"worker": ["host0:2222"]}, "task": FIRST | {"index": 1}}, "must be 0: there are 1"),
        *(
            ({"cluster": {"worker": [address, "host1:2222"]}, "task": FIRST}, "HOST:PORT")
            for address in (
                *("host0", "host0:", ":2222", "host0:0", "host0:65536", "host0:22222222", "host0:-1"),
                *(
                    "host0:port",
                    "http://host0:2222",
                    "host 0:2222",
                    "host0:2222/",
                    "::1:2222",
                    "hôst:2222",
                    "host0:٣",
                ),
                *("", None, 2222, ["host0:2222"], {}),
            )
        ),
        ({"cluster": {"worker": ["host0:2222", "host0:2222"]}, "task": FIRST}, "'host0:2222' twice"),
        ({"cluster": TWO | {"chief": ["host1:2222"]}, "task": FIRST}, "'host1:2222' twice"),
    ],
)
def test_what_is_wrong(config, words, monkeypatch):
    with pytest.raises(UsageError, match=words) as error:
        cluster_of(monkeypatch, config)
    assert "TF_CONFIG" in str(error.value) and workers.EXAMPLE in str(error.value)
    assert len(str(error.value)) < 1000


def test_damaged_tf_config(monkeypatch, rng):
    """Whatever is done to it, it is taken or answered by a sentence."""
    whole = json.dumps({"cluster": TWO | {"chief": ["host2:2222"]}, "task": FIRST})
    characters = list('{}[]",:0123456789 aw.-\\')
    taken = 0
    for _ in range(150):
        text = list(whole)
        for place in rng.integers(0, len(text), rng.integers(1, 4)):
            text[place] = rng.choice(characters)
        text = "".join(text)[: rng.choice([len(text), rng.integers(1, len(text))])]
        try:
            taken += cluster_of(monkeypatch, text) is not None
        except UsageError as error:
            assert "TF_CONFIG" in str(error)
    assert 0 < taken < 100


@pytest.fixture
def two():
    """Two workers at free ports of this machine."""
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.create_server(("", 0))) for _ in range(2)]
        ports = [s.getsockname()[1] for s in free]
    return {f"worker {i}": f"localhost:{port}" for i, port in enumerate(ports)}


@contextlib.contextmanager
def at(address, answer, after=0.0):
    """Answers at an address, from some seconds on, with bytes; with silence if they are None."""
    stop = threading.Event()

    def serve():
        stop.wait(after)
        if stop.is_set():
            return
        with socket.create_server(("localhost", int(address.split(":")[1]))) as listener:
            listener.settimeout(0.05)
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        if answer is None:
                            stop.wait()
                        else:
                            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_waits_for_another_worker(two, capfd):
    mine, other = (workers.Cluster(two, name) for name in two)
    heard = []

    def listen():
        with contextlib.suppress(OSError), socket.create_connection(two_address) as connection:
            heard.append(connection.recv(256))

    two_address = ("localhost", int(two["worker 0"].split(":")[1]))
    timer = threading.Timer(1.0, listen)
    timer.start()
    with at(two["worker 1"], other.greeting("worker 1"), after=1.8):
        workers.wait_for_all(mine)
    timer.join()
    said = capfd.readouterr().err
    assert said.count("waits for") == 1 and f"worker 1 at {two['worker 1']} (Connection refused)" in said
    assert heard == [mine.greeting("worker 0")], "meanwhile it answers for itself"
    with socket.create_server(("", two_address[1])):
        pass  # The port is free for TensorFlow's server.


def test_a_server_of_tensorflow_is_a_worker(two, capfd):
    settings = b"\x00\x00\x18\x04\x00\x00\x00\x00\x00" + bytes(24)  # An HTTP/2 frame.
    with at(two["worker 1"], settings):
        workers.wait_for_all(workers.Cluster(two, "worker 0"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("change", ["index", "cluster"])
def test_who_is_there_is_another(two, change):
    names = two if change == "index" else two | {"worker 2": "localhost:1"}
    greeting = workers.Cluster(names, "worker 0").greeting("worker 0" if change == "index" else "worker 1")
    with (
        at(two["worker 1"], greeting),
        pytest.raises(UsageError, match="worker 1 at .* says that it is worker .*another index"),
    ):
        workers.wait_for_all(workers.Cluster(two, "worker 0"))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_port_in_use(two, family):
    port = int(two["worker 1"].split(":")[1])
    with (
        socket.create_server(("", port), family=family),
        pytest.raises(UsageError, match=f"port {port} of this worker, worker 1 .*in use.*another index"),
    ):
        workers.wait_for_all(workers.Cluster(two, "worker 1"))


def test_unknown_host(two, monkeypatch, capfd):
    monkeypatch.setattr(workers, "_RESOLVE_SECONDS", 1.5)
    two["worker 1"] = "no-such-host.invalid:2222"
    with pytest.raises(UsageError, match=r"'no-such-host.invalid:2222', a host that isn't known here"):
        workers.wait_for_all(workers.Cluster(two, "worker 0"))
    assert "waits for worker 1 at no-such-host.invalid:2222 (the host isn't known" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.parametrize("there", ["nobody", "silence", "another program", "nothing"])
def test_a_signal_ends_it(two, number, raised, there, capfd):
    """Also where what is at the other's address isn't a worker, which it says."""
    before = signal.getsignal(signal.SIGTERM)
    answers = {"silence": None, "another program": b"SSH-2.0-OpenSSH\r\n", "nothing": b""}
    server = at(two["worker 1"], answers[there]) if there in answers else contextlib.nullcontext()
    threading.Timer(1.6, os.kill, (os.getpid(), number)).start()
    with server, pytest.raises(raised) as end:
        workers.wait_for_all(workers.Cluster(two, "worker 0"))
    said = capfd.readouterr().err
    assert f"waits for worker 1 at {two['worker 1']}" in said
    if there in ("another program", "nothing"):
        assert "another program" in said
    if number == signal.SIGTERM:
        assert end.value.code == interruptions.TERMINATED and "SIGTERM while waiting" in said
    assert signal.getsignal(signal.SIGTERM) is before
