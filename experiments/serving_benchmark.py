"""Times one image through the Python model, through its export and through LiteRT, on one thread.

    python -m experiments.serving_benchmark

All are called from Python: the model under tf.function, the export by tf.saved_model.load, its glow.tflite by
TensorFlow's own interpreter. The calls alternate, and the median of each is shown, in milliseconds. The first
ratio, of the model to the export, is what freezing the weights brings; the second, of LiteRT to the export,
what leaving TensorFlow brings.
"""

import statistics
import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import flags

import glow_tf
from experiments import cli
from glow_tf.serving import lite

FLAGS = flags.FLAGS

CONFIGS = {
    "digits: 8x8x1, L=2, K=8, width 64": dict(
        image_size=8, n_channels=1, n_levels=2, depth=8, width=64, n_bits_x=4
    ),
    "32x32x3, L=3, K=8, width 128": dict(image_size=32, n_levels=3, depth=8, width=128),
}


def define_flags():
    flags.DEFINE_integer("calls", 200, "Timed calls of each.", lower_bound=1)


def initialized(config: glow_tf.GlowConfig) -> glow_tf.Glow:
    """Returns a model after data-dependent initialisation on random images."""
    model = glow_tf.Glow(config, seed=0)
    rng = np.random.default_rng(0)
    model.initialize(rng.integers(0, 256, (64, *config.image_shape)).astype(np.uint8))
    return model


def alternate(calls: dict, n: int) -> dict[str, float]:
    """Returns the median seconds of each call; they take turns, so that all see the same machine."""
    seconds = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(5):  # Tracing, and the first runs' optimisation.
            call()
    for _ in range(n):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(config: glow_tf.GlowConfig, n: int) -> dict[str, dict[str, float]]:
    """Returns, for encode and decode of one image, the seconds of "python", "export" and "litert"."""
    model = initialized(config)
    image = np.random.default_rng(1).integers(0, 256, (1, *config.image_shape)).astype(np.uint8)
    centre = tf.fill(image.shape, 0.5 / 2**config.n_bits_x)
    encode = tf.function(lambda x: model.flatten_latents(model.encode(x, noise=centre)), autograph=False)
    decode = tf.function(lambda z: model.decode(model.unflatten_latents(z)), autograph=False)
    image = tf.constant(image)
    latents = encode(image)
    with tempfile.TemporaryDirectory() as folder:
        path = glow_tf.serving.export(model, folder, tflite=True)
        served = tf.saved_model.load(str(path))
        interpreter = tf.lite.Interpreter(model_content=(path / lite.FILE).read_bytes(), num_threads=1)
    runners = {name: interpreter.get_signature_runner(name) for name in ("encode", "decode")}
    arrays = dict(images=image.numpy()), dict(latents=latents.numpy())
    calls = {
        "encode": {
            "python": lambda: encode(image),
            "export": lambda: served.signatures["encode"](images=image),
            "litert": lambda: runners["encode"](**arrays[0]),
        },
        "decode": {
            "python": lambda: decode(latents),
            "export": lambda: served.signatures["decode"](latents=latents),
            "litert": lambda: runners["decode"](**arrays[1]),
        },
    }
    return {operation: alternate(each, n) for operation, each in calls.items()}


def main(argv):
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("| one image | operation | Python model, ms | export, ms | ratio | LiteRT, ms | of the export's |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, config in CONFIGS.items():
        for operation, seconds in measure(glow_tf.GlowConfig(**config), FLAGS.calls).items():
            python, export, litert = (seconds[key] for key in ("python", "export", "litert"))
            row = f"{1e3 * python:.2f} | {1e3 * export:.2f} | {python / export:.2f}"
            row += f" | {1e3 * litert:.2f} | {litert / export:.2f}"
            print(f"| {name} | {operation} | {row} |", flush=True)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
