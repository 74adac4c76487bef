"""Models to serve, requests to them, and the answers of the Python model."""

import math

import numpy as np
import tensorflow as tf

from glow_tf import quantization, serving
from glow_tf.glow import Glow, GlowConfig

N = 4  # Rows of a request.

CONFIGS = {
    "labels": dict(n_channels=1, n_bits_x=4, ycond=True, flow_coupling="affine"),
    "no_labels": dict(
        n_channels=3, n_bits_x=8, flow_coupling="additive", flow_permutation="shuffle", n_levels=1
    ),
    "float64": dict(n_channels=3, n_bits_x=5, flow_permutation="reverse", n_levels=3, dtype="float64"),
    "vector": dict(n_channels=1, n_bits_x=4, ycond=True, flow_coupling="affine", context_shape=(5,)),
    "image": dict(n_channels=3, n_bits_x=5, depth=1, flow_coupling="additive", context_shape=(4, 4, 2)),
}


def make_model(name: str) -> Glow:
    """A small model with data-dependent initialisation and every weight moved."""
    config = dict(image_size=8, n_levels=2, depth=2, width=16) | CONFIGS[name]
    model = Glow(GlowConfig(**config), seed=0)
    rng = np.random.default_rng(1)
    model.initialize(smooth_images(model.config, 64, rng))
    for variable in model.trainable_variables:
        variable.assign_add(tf.constant(rng.normal(0, 0.02, variable.shape), variable.dtype))
    if config.get("ycond"):
        # So label 0 is the prior without a label, which the Python model can be asked for.
        table = model.top["y_emb_W"]
        table.assign(tf.concat([tf.zeros_like(table[:1]), 5 * table[1:]], 0))
    return model


def smooth_images(config, n, rng):
    """Returns random images whose neighbours are alike, as an image's are; uint8."""
    height, width, channels = config.image_shape
    coarse = rng.uniform(0, 255, (n, height // 4, width // 4, channels))
    fine = np.asarray(tf.image.resize(coarse, (height, width), "bicubic"))
    return np.clip(fine + rng.normal(0, 8, fine.shape), 0, 255).astype(np.uint8)


def make_requests(config, rows: int = N) -> dict[str, dict[str, np.ndarray]]:
    """Returns a request to each signature."""
    rng = np.random.default_rng(2)
    images, second = (smooth_images(config, rows, rng) for _ in range(2))
    labels = dict(labels=(np.arange(rows) % config.n_y).astype(np.int32)) if config.ycond else {}
    seed = dict(seed=np.arange(7, 7 + rows, dtype=np.int64))
    temperature = dict(temperature=np.linspace(0, 1, rows, dtype=np.float32))
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    pictures = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    points = np.tile(np.float32([0, 0.3, 1]), (rows, 1))
    context = dict(context=normal(rows, *config.context_shape)) if config.context_shape else {}
    requests = {
        "serving_default": dict(images=images) | labels,
        "bits_per_dim": dict(images=images) | labels,
        "bits_per_dim_seeded": dict(images=images) | seed | labels,
        "bits_per_dim_encoded": dict(image_bytes=pictures) | labels,
        "encode": dict(images=images) | labels,
        "encode_seeded": dict(images=images) | seed | labels,
        "decode": dict(latents=0.7 * normal(rows, config.n_dims)) | labels,
        "sample": seed | temperature | labels,
        "sample_encoded": seed | temperature | labels,
        "interpolate": dict(first=images, second=second, points=points),
        "manipulate": dict(
            images=images, direction=normal(rows, config.n_dims), alphas=0.3 * normal(rows, 2)
        ),
    }
    return {name: request | context for name, request in requests.items()}


def expected(model: Glow, name: str, request: dict) -> dict[str, np.ndarray]:
    """Returns what the Python model answers, by its own methods alone."""
    config = model.config
    y, context = request.get("labels"), request.get("context")
    own = lambda images: serving.image_noise(
        quantization.preprocess(images, config.n_bits_x), config.n_bits_x
    ).numpy()
    if name == "bits_per_dim_encoded":
        images = np.stack([tf.io.decode_png(data) for data in request["image_bytes"]])
    else:
        images = request.get("images")
    if images is not None:
        noise = own(images)
        if "seed" in request:
            noise = serving.seeded_noise(request["seed"], config.image_shape, config.n_bits_x)
    if name.startswith("bits_per_dim") or name == "serving_default":
        bits = model.bits_per_dim(images, y, noise, context=context).numpy()
        return dict(bits_per_dim=bits, log_prob=-bits * config.n_dims * math.log(2))
    if name.startswith("encode"):
        eps = [e.numpy() for e in model.encode(images, y, noise, context)]
        answer = {f"level_{i}": e for i, e in enumerate(eps)}
        answer["latents"] = model.flatten_latents(eps).numpy()
        if y is not None:
            answer["latents_without_label"] = _latents(model, images, noise, context)
        return answer
    if name == "decode":
        return dict(images=_decode(model, request["latents"], y, context))
    if name.startswith("sample"):
        latents = serving.seeded_latents(request["seed"], request["temperature"], config.n_dims)
        return dict(images=_decode(model, latents, y, context))
    if name == "interpolate":
        start, end = (
            _latents(model, request[key], own(request[key]), context) for key in ("first", "second")
        )
        return dict(images=_line(model, start, end - start, request["points"], context))
    assert name == "manipulate"
    start = _latents(model, images, noise, context)
    return dict(images=_line(model, start, request["direction"], request["alphas"], context))


def _without_label(model, n):
    return np.zeros(n, np.int32) if model.config.ycond else None


def _latents(model, images, noise, context):
    y = _without_label(model, len(images))
    return model.flatten_latents(model.encode(images, y, noise, context)).numpy()


def _decode(model, flat, y, context):
    dtype = "float64" if model.config.dtype == "float64" else "float32"
    return model.decode(model.unflatten_latents(np.asarray(flat, dtype)), y, context).numpy()


def _line(model, start, direction, distances, context):
    flat = start[:, None] + distances[:, :, None] * direction[:, None]
    flat = flat.reshape(-1, flat.shape[-1])
    if context is not None:
        context = np.repeat(context, distances.shape[1], 0)
    images = _decode(model, flat, _without_label(model, len(flat)), context)
    return images.reshape(*distances.shape, *model.config.image_shape)


def assert_close(answer: dict, wanted: dict, n_bits: int) -> None:
    """Asserts the bounds: bits/dim within 1e-4, images equal but for 0.1% of pixels by one level."""
    answer = dict(answer)
    if "image_bytes" in answer:
        answer["images"] = np.stack([tf.io.decode_png(data) for data in answer.pop("image_bytes")])
    assert answer.keys() == wanted.keys()
    for name, value in wanted.items():
        assert answer[name].shape == value.shape, name
        if name == "images":
            assert answer[name].dtype == np.uint8
            levels = np.abs(answer[name].astype(int) - value) / 2 ** (8 - n_bits)
            assert levels.max() <= 1 and (levels > 0).mean() <= 1e-3
        else:
            tolerance = dict(rtol=1e-5) if name == "log_prob" else dict(rtol=0, atol=1e-4)
            np.testing.assert_allclose(answer[name], value, err_msg=name, **tolerance)
