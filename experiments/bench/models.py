"""The models that are measured, by the names that the tables give them."""

import importlib.util

CONVOLUTIONS = "convolutions alone"
DEFAULT = "Glow, reverse"
OURS = {
    "Glow, store": dict(model="glow", memory="store"),
    "Glow, recompute": dict(model="glow", memory="recompute"),
    DEFAULT: dict(model="glow", memory="reverse"),
    "Glow, reverse, mixed_bfloat16": dict(model="glow", memory="reverse", dtype="mixed_bfloat16"),
}
# By the module that is imported, which is this package's name for it too but for tfb_glow.
PEERS = {
    "tfb.Glow": "tfb_glow",
    "normflows": "normflows",
    "nflows": "nflows",
    "distrax": "distrax",
}
MODELS = {CONVOLUTIONS: dict(model="convolutions")} | OURS | {k: dict(model=v) for k, v in PEERS.items()}


def specs_of(column: dict, names, cores: int = 1) -> dict[str, dict]:
    """Returns the specs of the models that can do a column's task and are installed.

    On several cores a Glow, like the convolutions, has as many shares of a batch, and each other
    model as many threads for each operation.
    """
    specs = {}
    for name in names:
        model = MODELS[name]["model"]
        inference = column["task"] != "train"
        if inference and name in OURS and MODELS[name]["memory"] != "reverse":
            continue  # They differ in training alone.
        if column["task"] in ("encode", "decode") and name in PEERS:
            continue
        if name in PEERS and name != "tfb.Glow" and importlib.util.find_spec(model) is None:
            continue
        divides = name == CONVOLUTIONS or name in OURS
        threads = dict(shares=cores, threads=1) if divides else dict(shares=1, threads=cores)
        specs[name] = column | MODELS[name] | dict(cores=cores) | threads
    return specs
