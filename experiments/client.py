"""Asks a running TensorFlow Serving for bits per dimension, samples, interpolations or manipulations.

    python -m experiments.client --operation bits_per_dim --images a.png,b.png
    python -m experiments.client --operation sample --labels 0,1,2,3 --temperature 0.7 --out samples.png
    python -m experiments.client --operation interpolate --images a.png,b.png --out interpolation.png
    python -m experiments.client --operation manipulate --images a.png --directions directions.npz \
        --attributes 3,8 --alphas=-1,0,1 --out manipulation.png
    python -m experiments.client --operation sample --context small.png --n 5 --out larger.png

--server is host:port for gRPC, or http://host:port for the REST API. Labels are for models that are
conditioned on them, --context for those that are on a context: an .npz file, or pictures, whose pixels are
taken as pixel / 256 - 0.5. An --out that ends in / is a folder, which gets each image as it is; a .png is a
grid of them, enlarged where they are small, and a .gif one picture after the other.
"""

import pathlib

import numpy as np
from absl import flags

from experiments import cli, pictures, served
from experiments.cli import UsageError, number_lists
from experiments.data import contexts, npz
from experiments.served import Output, directions
from experiments.served.outputs import shortened

FLAGS = flags.FLAGS
OPERATIONS = ("bits_per_dim", "sample", "interpolate", "manipulate")
_MOST = 10_000  # Images of an answer.


def define_flags():
    flags.DEFINE_string("server", "localhost:8500", "host:port (gRPC), or http://host:port (REST).")
    flags.DEFINE_string("model", "glow", "The model's name there.")
    flags.DEFINE_float("timeout", 60.0, "Seconds to wait for an answer.")
    flags.DEFINE_enum("operation", "sample", OPERATIONS, "What to ask for.")
    flags.DEFINE_list("images", [], "Picture files of the model's size.")
    flags.DEFINE_list("labels", [], "Labels, one per image or sample.")
    flags.DEFINE_list(
        "context",
        [],
        "An .npz file with the floats `context`, or picture files of the context's size: one per image, "
        "sample or interpolation, or one for all.",
    )
    flags.DEFINE_integer(
        "n",
        10,
        "Samples; one per label or context where several are given.",
        lower_bound=1,
        upper_bound=_MOST,
    )
    flags.DEFINE_float("temperature", 0.7, "Of the samples, at least 0.")
    flags.DEFINE_integer("seed", 0, "Of the first sample; the next ones have the next seeds.")
    flags.DEFINE_integer(
        "points", 8, "Images from one to the next, both included.", lower_bound=2, upper_bound=_MOST
    )
    flags.DEFINE_string("directions", None, "What experiments.manipulate saved.")
    flags.DEFINE_list("attributes", [], "Which of the directions; all unless given.")
    flags.DEFINE_list("alphas", ["-1", "-0.5", "0", "0.5", "1"], "How far along a direction.")
    flags.DEFINE_string("out", "images.png", "The .png, .gif or folder/ to write.")


def _rows(**columns) -> dict:
    """Returns the columns and, where there are any, the labels."""
    labels = number_lists.integers("labels")
    n = len(next(iter(columns.values())))
    if labels and len(labels) != n:
        raise UsageError(f"--labels must be one per image or sample, {n}, got {len(labels)}.")
    for label in labels:
        if not 0 <= label < 2**31:
            raise UsageError(f"--labels must be from 0 to {2**31 - 1}, got {label}.")
    return columns | ({"labels": np.array(labels, np.int32)} if labels else {})


def _contexts(server) -> np.ndarray | None:
    """Returns --context, float32 [N, ...], None where it isn't given."""
    if not FLAGS.context:
        return None
    shape = server.input_shape("context")
    if len(FLAGS.context) == 1 and FLAGS.context[0].endswith(".npz"):
        return _of_npz(FLAGS.context[0], shape)
    if shape is not None and len(shape) != 3:
        raise UsageError(
            f"The model's context is no picture, but has the shape {list(shape)}: give --context NAME.npz."
        )
    images = [pictures.read(path, shape, "the context's") for path in FLAGS.context]
    return contexts.of_pixels(_stacked("context", images)).numpy()


def _of_npz(path, shape):
    """Returns the contexts of a file, [N, *shape]; `shape` is None where the server doesn't tell it."""
    values = npz.read(path, ("context",))["context"]
    rule = f"--context {path}: context must be finite floats"
    if values.dtype.kind != "f":
        raise UsageError(f"{rule}, got {values.dtype} {list(values.shape)}.")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(f"{rule}, got {values[~np.isfinite(values)][0]}.")
    if values.shape == shape:
        return values[None]
    if not values.ndim or not values.size or (shape is not None and values.shape[1:] != shape):
        row = "..." if shape is None else ", ".join(map(str, shape))
        raise UsageError(f"{rule} [N, {row}], or [{row}] for all, got {list(values.shape)}.")
    return values


def _context_rows(context, n: int) -> dict:
    """Returns the input `context` of n rows; {} without one."""
    if context is None:
        return {}
    if len(context) not in (1, n):
        raise UsageError(f"--context must be one for all, or {n}, one for each, got {len(context)}.")
    return {"context": np.broadcast_to(context, (n, *context.shape[1:]))}


def _images(server, at_least: int) -> np.ndarray:
    """Returns --images as the model takes them."""
    if len(FLAGS.images) < at_least:
        raise UsageError(f"--operation {FLAGS.operation} needs at least {at_least} --images.")
    shape = server.image_shape()
    return _stacked("images", [_image(path, shape) for path in FLAGS.images])


def _stacked(flag, images):
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"--{flag} must be of one size and as many channels, got {shapes}.")
    return np.stack(images)


def _image(path, shape):
    image = pictures.read(path, shape)
    if shape is None and image.shape[-1] == 4:
        # The server doesn't tell, and few models have transparency: it goes on white.
        return pictures.read(path, (*image.shape[:2], 3))
    return image


def _bits_per_dim(server):
    # As pixels: the signature that takes files reads some kinds of them in another way.
    rows = _rows(images=_images(server, 1))
    rows |= _context_rows(_contexts(server), len(rows["images"]))
    each = Output("float32", (len(rows["images"]),))
    answer = server.predict("bits_per_dim", rows, dict(bits_per_dim=each, log_prob=each))
    for path, bits, log_prob in zip(FLAGS.images, answer["bits_per_dim"], answer["log_prob"], strict=True):
        print(f"{path}: {bits:.4f} bits/dim, log p {log_prob:.2f} nats")


def _sample(server):
    context = _contexts(server)
    n = len(FLAGS.labels) or (FLAGS.n if context is None or len(context) == 1 else len(context))
    if not -(2**63) <= FLAGS.seed <= 2**63 - n:
        raise UsageError(f"--seed must be from {-(2**63)} to {2**63 - n}, got {FLAGS.seed}.")
    if not 0 <= FLAGS.temperature <= np.finfo(np.float32).max:
        raise UsageError(f"--temperature must be finite and at least 0, got {FLAGS.temperature}.")
    seeds = FLAGS.seed + np.arange(n, dtype=np.int64)
    rows = _rows(seed=seeds, temperature=np.full(n, FLAGS.temperature, np.float32))
    rows |= _context_rows(context, n)
    answer = server.predict("sample_encoded", rows, dict(image_bytes=Output("string", (n,))))
    _write(_decoded(answer["image_bytes"]), min(n, 10))


def _decoded(files) -> np.ndarray:
    """Returns the pictures of an answer's files, which must be as many pixels each."""
    images = []
    for number, data in enumerate(files):
        try:
            images.append(pictures.decode(data))
        except (OSError, ValueError) as error:
            raise UsageError(f"The server's picture {number} isn't one: {shortened(str(error))}") from error
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"The server's pictures are of several sizes: {shapes}.")
    return np.stack(images)


def _interpolate(server):
    images = _images(server, 2)
    rows = len(images) - 1
    points = np.tile(np.linspace(0, 1, FLAGS.points, dtype=np.float32), (rows, 1))
    inputs = dict(first=images[:-1], second=images[1:], points=points)
    inputs |= _context_rows(_contexts(server), rows)
    lines = Output("uint8", (rows, FLAGS.points, *images.shape[1:]))
    answer = server.predict("interpolate", inputs, dict(images=lines))
    _write(answer["images"].reshape(-1, *images.shape[1:]), FLAGS.points)


def _manipulate(server):
    images = _images(server, 1)
    if not FLAGS.directions:
        raise UsageError("--operation manipulate needs --directions, which experiments.manipulate saves.")
    known = directions.load(FLAGS.directions)
    known.require_dimensions(images[0].size, FLAGS.directions)
    inputs = directions.rows(images, known.chosen(FLAGS.attributes), number_lists.floats("alphas"))
    given = _context_rows(_contexts(server), len(images))
    inputs |= {name: np.repeat(rows, len(inputs["alphas"]) // len(images), 0) for name, rows in given.items()}
    n, n_alphas = inputs["alphas"].shape
    lines = Output("uint8", (n, n_alphas, *images.shape[1:]))
    answer = server.predict("manipulate", inputs, dict(images=lines))
    _write(answer["images"].reshape(-1, *images.shape[1:]), n_alphas)


def _write(images, columns):
    if not FLAGS.out.endswith("/"):
        pictures.save(images, columns, FLAGS.out)
        print(f"Wrote {len(images)} images to {FLAGS.out}.")
        return
    folder = pathlib.Path(FLAGS.out)
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        pictures.save_one(image, folder / f"{i}.png")
    print(f"Wrote {folder}/0.png to {folder}/{len(images) - 1}.png.")


def main(argv):
    del argv
    if not FLAGS.out.endswith("/"):
        pictures.require_name(FLAGS.out)
    server = served.connect(FLAGS.server, FLAGS.model, FLAGS.timeout)
    operation = dict(
        bits_per_dim=_bits_per_dim, sample=_sample, interpolate=_interpolate, manipulate=_manipulate
    )
    try:
        operation[FLAGS.operation](server)
    except served.ServerError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"Can't write --out {FLAGS.out}: {error}") from error


if __name__ == "__main__":
    define_flags()
    cli.run(main)
