"""What a user writes over the public names: `mypy --strict` takes it, and it runs.

Lines with an ignore are mistakes; mypy complains of an ignore that isn't needed.
"""

import pathlib
import tempfile

import numpy as np
import numpy.typing as npt

import glow_tf
from glow_tf import bijectors, optimizers

Images = npt.NDArray[np.uint8]


def train(images: Images, labels: npt.NDArray[np.int32], epochs: int) -> glow_tf.Glow:
    config = glow_tf.GlowConfig(image_size=8, n_channels=1, n_levels=2, depth=2, width=8, ycond=True)
    model = glow_tf.Glow(config, seed=0)
    model.initialize(images, y=labels)
    keras_model = glow_tf.training.GlowModel(model, weight_y=0.1)
    keras_model.compile(optimizer=optimizers.Adamax(optimizers.WarmUp(1e-3, 10), beta_2=0.99))
    keras_model.fit(images, labels, batch_size=16, epochs=epochs, verbose=0)
    return model


def mean_bits(model: glow_tf.Glow, images: Images, labels: npt.NDArray[np.int32]) -> float:
    return float(np.mean(model.bits_per_dim(images, y=labels, seed=1)))


def main() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (32, 8, 8, 1), np.uint8), rng.integers(0, 10, 32, np.int32)
    model = train(images, labels, epochs=1)
    latents = model.encode(images, y=labels)
    shapes: list[tuple[int, int, int]] = model.config.eps_shapes
    assert [tuple(z.shape[1:]) for z in latents] == shapes and mean_bits(model, images, labels) < 20
    assert model.sample(3, y=[1, 2, 3], temperature=[0.5, 0.7, 1.0]).shape == (3, 8, 8, 1)
    losses = model.losses(images, labels, weight_y=0.1)
    assert model.distribution(y=labels).log_prob(model.dequantize(images)).shape == losses["loss"].shape
    flow = bijectors.Invertible1x1Conv(4, parameterization="lu", seed=0)
    assert bijectors.ActNorm(4).inverse(flow.forward(np.ones([2, 4], np.float32))).shape == (2, 4)
    with tempfile.TemporaryDirectory() as folder:
        path: pathlib.Path = glow_tf.serving.export(
            model, folder, version=3, metadata={"by": "me"}, tflite=False
        )
        assert path.name == "3"


def mistakes() -> None:
    glow_tf.GlowConfig(depth="deep")  # type: ignore[arg-type]
    glow_tf.GlowConfig(levels=3)  # type: ignore[call-arg]
    model = glow_tf.Glow(glow_tf.GlowConfig(), seed="zero")  # type: ignore[arg-type]
    model.sample(3, temp=0.7)  # type: ignore[call-arg]
    bijectors.Invertible1x1Conv(4, parameterization=3)  # type: ignore[arg-type]
    bijectors.Squeeze(2)  # type: ignore[call-arg]
    optimizers.Adamax(1e-3, beta_2="high")  # type: ignore[arg-type]
    glow_tf.threads.use_cores("all")  # type: ignore[arg-type]
    glow_tf.openai_checkpoint.restore(model, 3)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
