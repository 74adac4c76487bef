"""Which operations a training step spends its time in, from TensorFlow's own profiler."""

import collections
import importlib
import pathlib
import tempfile

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_STEPS = 5


def table(spec: dict) -> str:
    """Returns the operations of a step of `spec`, the slowest first, as a Markdown table."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    built = importlib.import_module(f"experiments.bench.{spec['model']}").build(spec)
    built.step()
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
        with tf.profiler.experimental.Profile(folder, options):
            for _ in range(_STEPS):
                built.step()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    times, calls = collections.Counter(), collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # Operations are called "name:Type"; "Class::Method" and functions are the executor's own.
                name = plane.event_metadata[event.metadata_id].name
                _, colon, kind = name.rpartition(":")
                if colon and "::" not in name and kind.isidentifier() and not kind.startswith("__inference"):
                    times[kind] += event.duration_ps / 1e9 / _STEPS
                    calls[kind] += 1
    total = sum(times.values())
    rows = [
        f"| {kind} | {calls[kind] // _STEPS} | {ms:.2f} | {ms / total:.1%} |"
        for kind, ms in times.most_common(25)
    ]
    return "\n".join(
        ["| operation | calls per step | ms per step | share |", "| --- | --- | --- | --- |", *rows]
    )
