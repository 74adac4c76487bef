"""Runs every example: `python -m docs.examples`; or those named: `python -m docs.examples two_moons vae`."""

import importlib
import sys
import time

NAMES = (
    *("two_moons", "vae", "class_mixture", "inpainting", "chains", "out_of_distribution"),
    *("posterior", "super_resolution", "amortized_inpainting", "variational_dequantization"),
)

for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"There is no example {name!r}; there are {', '.join(NAMES)}.")
    start = time.perf_counter()
    print(f"--- {name}")
    importlib.import_module(f"docs.examples.{name}").main()
    print(f"({time.perf_counter() - start:.0f} s; picture: docs/pictures/{name}.png)", flush=True)
