"""One measurement in a process of its own, a step at a time, at the command of `experiments.benchmark`.

Its argument is a spec, as JSON, with the name of a module of this package as "model". It answers with a
line of JSON each: after the first step; after each line that it reads, when it has made one more step;
and when its input ends.
"""

import importlib
import json
import os
import resource
import sys
import time


def main():
    spec = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print isn't an answer.

    def answer(**values):
        print(json.dumps(values), file=answers, flush=True)

    module = importlib.import_module(f"experiments.bench.{spec['model']}")
    start = time.perf_counter()
    built = module.build(spec)
    ready = time.perf_counter()
    built.step()
    answer(
        build_s=ready - start,
        first_step_s=time.perf_counter() - ready,
        n_parameters=built.n_parameters,
        version=built.version,
    )
    for _ in sys.stdin:
        start = time.perf_counter()
        built.step()
        answer(seconds=time.perf_counter() - start)
    answer(peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
