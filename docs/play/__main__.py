"""Makes the files of the front page's model again, from an export of the default run.

    python -m docs.play --export served/glow/1 --converter .venv-tfjs/bin/tensorflowjs_converter

Besides requirements.txt it needs npm, and TF.js' converter in an environment of its own, on Python 3.11:

    python3.11 -m venv .venv-tfjs && .venv-tfjs/bin/pip install tensorflowjs==4.22.0 ydf==0.11.0

It writes, beside itself unless `--out` says where: `model.js`, the converted model with a few digits;
`tfjs.js`, the parts of TF.js that run it; and `answers.json`, the SavedModel's own answers, which
tests/docs/play_test.py asks of the page too.
"""

import argparse
import base64
import json
import pathlib
import subprocess
import tarfile
import tempfile

import numpy as np
import tensorflow as tf

from docs.play import graph
from experiments.data import embedded

VERSION = "4.22.0"
# What a model that was converted takes of TF.js; the whole of it is twice as large.
PARTS = ("tfjs-core", "tfjs-converter", "tfjs-backend-wasm")
BINARY = "tfjs-backend-wasm-simd.wasm"
LEVEL = 16  # Of the model's 4 bits per pixel: images are uint8 multiples of it.
_N_Y = 10
_ROWS = 40  # Of each signature's recorded answers.


class _Model(tf.Module):
    """One function of an export's three signatures, so that a converted model holds each weight once."""

    def __init__(self, served):
        super().__init__()
        self.served = served  # Its variables are saved with it.

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8, 8, 1], tf.uint8, "images"),
            tf.TensorSpec([None], tf.int32, "labels"),
            tf.TensorSpec([None, 64], tf.float32, "latents"),
            tf.TensorSpec([None], tf.int32, "latents_labels"),
        ]
    )
    def __call__(self, images, labels, latents, latents_labels):
        of = self.served.signatures
        return {
            "bits_per_dim": of["bits_per_dim"](images=images, labels=labels)["bits_per_dim"],
            "latents": of["encode"](images=images, labels=labels)["latents"],
            "images": of["decode"](latents=latents, labels=latents_labels)["images"],
        }


def converted(served, converter: str) -> dict:
    """Returns what `tf.io.fromMemory` of TF.js takes, the weights as base64, and the nodes of the outputs."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = _Model(served)
        tf.saved_model.save(model, str(folder / "saved"), signatures=model.__call__)
        command = [converter, "--input_format=tf_saved_model", "--saved_model_tags=serve"]
        subprocess.run([*command, folder / "saved", folder / "converted"], check=True)
        written = json.loads((folder / "converted" / "model.json").read_text())
        [manifest] = written.pop("weightsManifest")
        weights = b"".join((folder / "converted" / name).read_bytes() for name in manifest["paths"])
    # The converter forgets names of outputs, but not their alphabetical order.
    names = sorted(model.__call__.get_concrete_function().structured_outputs)
    outputs = {name: f"Identity_{i}" if i else "Identity" for i, name in enumerate(names)}
    topology = written["modelTopology"]
    nodes = graph.with_vectors_only(topology["node"], manifest["weights"])
    topology["node"], specs, weights = graph.smallest(
        nodes, manifest["weights"], weights, list(outputs.values())
    )
    made = {key: written[key] for key in ("format", "generatedBy", "convertedBy")}
    made |= {"modelTopology": topology, "weightSpecs": specs, "weights": base64.b64encode(weights).decode()}
    return {"graph": made, "outputs": outputs}


def as_text(images) -> list[str]:
    """Returns images as the page has them, a hexadecimal digit per pixel."""
    levels = np.reshape(images, [len(images), -1]) // LEVEL
    return ["".join(f"{level:x}" for level in row) for row in levels]


def asked(served, name, **inputs) -> np.ndarray:
    """Returns a signature's first answer."""
    answers = served.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
    return answers[{"encode": "latents", "interpolate": "images", "decode": "images"}.get(name, name)].numpy()


def digits(served) -> dict:
    """Returns of each label the test digit of median bits per dimension, and the bits of all, sorted."""
    test = embedded.digits("test")
    labels = np.int32(test.labels)
    bits = asked(served, "bits_per_dim", images=test.images, labels=labels)
    chosen = []
    for y in range(_N_Y):
        of_y = np.flatnonzero(labels == y)
        chosen.append(of_y[np.argsort(bits[of_y])[len(of_y) // 2]])
    return {"digits": as_text(test.images[chosen]), "testBits": np.sort(bits).round(4).tolist()}


def answers(served, of_each_label) -> dict:
    """Returns requests and the SavedModel's answers: latents and images, pairs and lines, images and bits."""
    rng = np.random.default_rng(0)
    labels = np.int32(np.arange(_ROWS) % _N_Y)
    latents = np.float32((0.7 * rng.standard_normal([_ROWS, 64])).round(3))
    test = embedded.digits("test")
    # Also images that are no digits: of noise, black and white.
    images = np.uint8(rng.integers(0, 16, [_ROWS, 8, 8, 1]) * LEVEL)
    images[: _ROWS // 2] = test.images[: _ROWS // 2] // LEVEL * LEVEL
    images[-2:] = np.uint8([0, 240])[:, None, None, None]
    digit = lambda y: np.uint8([int(level, 16) * LEVEL for level in of_each_label[y]]).reshape(1, 8, 8, 1)
    points = np.linspace(0, 1, 11, dtype=np.float32)
    pairs = [(y, (3 * y + 1) % _N_Y) for y in range(_N_Y)]
    lines = [
        asked(served, "interpolate", first=digit(a), second=digit(b), points=points[None])[0]
        for a, b in pairs
    ]
    decoded = asked(served, "decode", latents=latents, labels=labels)
    return {
        "decode": {
            "latents": latents.astype(float).round(3).tolist(),
            "labels": labels.tolist(),
            "images": as_text(decoded),
        },
        "interpolate": {
            "pairs": pairs,
            "points": points.astype(float).round(1).tolist(),
            "images": [as_text(line) for line in lines],
        },
        "bits_per_dim": {
            "images": as_text(images),
            "labels": labels.tolist(),
            "bits_per_dim": asked(served, "bits_per_dim", images=images, labels=labels)
            .astype(float)
            .tolist(),
        },
    }


def runtime() -> str:
    """Returns the parts of TF.js as one script, from npm, and its WebAssembly as a data: URL."""
    scripts = [
        f"// TF.js {VERSION}: {', '.join(PARTS)}. Apache License 2.0, in LICENSE-tfjs.txt beside this file."
    ]
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            subprocess.run(
                ["npm", "pack", "--silent", f"@tensorflow/{part}@{VERSION}"], cwd=folder, check=True
            )
            with tarfile.open(pathlib.Path(folder) / f"tensorflow-{part}-{VERSION}.tgz") as file:
                read = lambda name, file=file: file.extractfile(f"package/dist/{name}").read()
                script = read(f"{part.replace('tfjs', 'tf')}.es2017.min.js").decode()
                # Its source map isn't here.
                scripts += [line for line in script.splitlines() if not line.startswith("//# sourceMapping")]
                binary = read(BINARY) if "wasm" in part else b""
    url = f"data:application/wasm;base64,{base64.b64encode(binary).decode()}"
    return "\n".join([*scripts, f'const glowBinary="{url}";', ""])


def main():
    parser = argparse.ArgumentParser(prog="python -m docs.play", description=__doc__.partition("\n")[0])
    parser.add_argument("--export", required=True, help="a version's folder, such as served/glow/1")
    parser.add_argument("--converter", default="tensorflowjs_converter", help="the program")
    parser.add_argument("--out", default=pathlib.Path(__file__).parent, type=pathlib.Path, help="a folder")
    given = parser.parse_args()
    served = tf.saved_model.load(given.export)
    shown = digits(served)
    model = json.dumps(converted(served, given.converter) | shown, sort_keys=True, separators=(",", ":"))
    (given.out / "tfjs.js").write_text(runtime())
    (given.out / "model.js").write_text(f"const glowModel={model};\n")
    (given.out / "answers.json").write_text(json.dumps(answers(served, shown["digits"])) + "\n")


main()
