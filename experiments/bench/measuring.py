"""Models measured side by side, each in a process of its own."""

import json
import os
import subprocess
import sys

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A process with one model, which makes a step at each call of `step`."""

    def __init__(self, spec: dict):
        """The first step has been made when this returns; the process has the cores and threads of `spec`."""
        multi_thread = str(spec["threads"] > 1).lower()
        environment = dict.fromkeys(_THREADS, str(spec["threads"])) | dict(
            XLA_FLAGS=f"--xla_cpu_multi_thread_eigen={multi_thread}",
            TF_CPP_MIN_LOG_LEVEL="3",
            CUDA_VISIBLE_DEVICES="",
            JAX_PLATFORMS="cpu",
        )
        cores = set(sorted(os.sched_getaffinity(0))[-spec["cores"] :])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.result = spec | self._answer() | dict(seconds=[])

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A measurement failed:\n{self._process.communicate()[1]}")
        return json.loads(line)

    def step(self):
        """Waits for one more step, and keeps its time."""
        self.result["seconds"].append(self._seconds())

    def warm_up(self):
        """Waits for one more step: some look for their fastest algorithm in the second one too."""
        self._seconds()

    def _seconds(self):
        print(file=self._process.stdin, flush=True)
        return self._answer()["seconds"]

    def stop(self) -> dict:
        """Ends the process; returns everything that was measured."""
        self._process.stdin.close()
        self.result |= self._answer()
        self._process.wait()
        return self.result


def measure(specs: dict[str, dict], rounds: int, progress) -> dict[str, dict]:
    """Measures models side by side: by name, from each one's spec to its result."""
    workers = {}
    for name, spec in specs.items():
        progress.set_postfix_str(f"{name}, K={spec['depth']}: starting")
        workers[name] = Worker(spec)
        workers[name].warm_up()
        progress.update()
    progress.set_postfix_str("timing")
    for _ in range(rounds):
        for worker in workers.values():
            worker.step()
    return {name: worker.stop() for name, worker in workers.items()}
