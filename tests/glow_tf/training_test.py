"""GlowModel as Keras uses it: what data it takes, its files, its counts."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import glow_tf
from glow_tf.optimizers import Adamax, WarmUp
from glow_tf.training import GlowModel

TINY = dict(image_size=4, n_channels=1, n_levels=1, depth=1, width=2)
CONFIG = glow_tf.GlowConfig(**TINY, n_bits_x=4, ycond=True)
CONFIG_WITHOUT_LABELS = glow_tf.GlowConfig(**TINY)
N = 6
X = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 1)).astype(np.uint8)
Y = np.arange(N)
NOISE = np.random.default_rng(1).uniform(0, 1 / 16, X.shape).astype(np.float32)
WEIGHTS = np.array([1, 0, 0, 0, 0, 0], np.float32)


def compiled(seed, config=CONFIG, run_eagerly=False, **arguments) -> GlowModel:
    """A new model with its optimizer."""
    model = GlowModel(glow_tf.Glow(config, seed=seed), weight_y=0.1, **arguments)
    optimizer = Adamax(WarmUp(1e-3, 3), beta_2=0.99)
    model.compile(optimizer=optimizer, weighted_metrics=[], run_eagerly=run_eagerly)
    return model


@pytest.fixture(scope="module")
def trained():
    """A model after some steps."""
    model = compiled(0)
    model.fit((X, Y, NOISE), batch_size=N, epochs=2, verbose=0)
    return model


def assert_same(a: GlowModel, b: GlowModel):
    """Compares every variable of two Glows, to the last bit."""
    for one, other in zip(a.glow.variables, b.glow.variables, strict=True):
        np.testing.assert_array_equal(one, other)


# --- Data ---


def test_data_of_every_form(trained):
    """Where no noise is given it is drawn; a third part is noise or weights, by its rank, in any order."""
    with_noise = trained.evaluate((X, Y, NOISE), verbose=0)
    expected = trained.glow.losses(X, Y, 0.1, NOISE)
    np.testing.assert_allclose(with_noise, [np.mean(expected[k]) for k in expected], rtol=1e-4)
    dataset = lambda *parts: tf.data.Dataset.from_tensor_slices(parts).batch(4)
    weighted = trained.evaluate(dataset(X, Y, NOISE, WEIGHTS), verbose=0)
    np.testing.assert_allclose(weighted[0], expected["loss"][0], rtol=1e-4)
    by_keras = trained.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0)
    np.testing.assert_allclose(by_keras[1], expected["bits_x"][0], atol=0.3)
    assert trained.evaluate(X, Y, sample_weight=0 * WEIGHTS, verbose=0)[0] == 0
    drawn = [trained.test_on_batch(X, Y)[0] for _ in range(2)]
    assert drawn[0] != drawn[1]
    np.testing.assert_allclose(drawn, with_noise[0], atol=0.3)
    np.testing.assert_allclose(trained.predict((X, Y, NOISE), verbose=0), expected["bits_x"], rtol=1e-4)


def test_training_on_data_of_every_form():
    model = compiled(0, run_eagerly=True)  # Each form would be a graph of its own.
    history = model.fit(X, Y, batch_size=3, verbose=0, validation_data=(X, Y)).history
    assert np.isfinite(history["loss"] + history["val_bits_x"]).all()
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(X, Y, sample_weight=0 * WEIGHTS)
    model.fit(X, Y, class_weight=dict.fromkeys(range(10), 0.0), verbose=0)
    # Loss times 0 is no gradient, and the moments' steps are what earlier steps left.
    assert model.optimizer.iterations == 4
    assert all(np.isfinite(v).all() for v in model.trainable_variables)
    after = [v.numpy() for v in model.trainable_variables]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_a_weight_scales_the_loss_that_is_trained():
    gradients = []
    for scale in (1.0, 2.0):
        model = compiled(0)
        model.optimizer.apply_gradients = lambda pairs: gradients.append([g for g, _ in pairs])
        model.train_step(tuple(map(tf.constant, (X, Y, NOISE, scale * WEIGHTS))))
    for one, two in zip(*gradients, strict=True):
        np.testing.assert_allclose(2 * one, two, rtol=1e-4, atol=1e-7)


def test_models_without_labels_take_images_alone_and_pass_over_labels():
    model = compiled(0, CONFIG_WITHOUT_LABELS)
    noise = NOISE / 16
    assert np.isfinite(model.fit(X, verbose=0, validation_data=(X, Y)).history["val_loss"]).all()
    assert model.train_on_batch(X) != 0
    bits = model.predict((X, Y, noise), verbose=0)
    np.testing.assert_allclose(bits, model.glow.bits_per_dim(X, noise=noise), rtol=1e-4)


@pytest.mark.parametrize(
    "data",
    [
        {"image": X, "label": Y},
        (X, Y, NOISE, WEIGHTS, WEIGHTS),
        (X, {"label": Y}),
        (),
        (X, Y, NOISE, WEIGHTS[:, None]),
        (X, Y, NOISE[:2]),
        (X, Y, NOISE + 1),
        (X, Y[:, None]),
        (X, np.eye(10)[Y]),
        (X, Y / 2),
        (X,),
        (X / 255, Y),
        (X[0], Y[0]),
        (X[None], Y[None]),
        (None, Y),
    ],
    ids=lambda data: str(tf.nest.map_structure(np.shape, data)),
)
def test_other_data_are_refused(trained, data):
    data = tf.nest.map_structure(lambda part: part if part is None else tf.constant(part), data)
    with pytest.raises((ValueError, TypeError)):
        trained.test_step(data)


# --- Micro-batches ---


def test_steps_in_micro_batches_are_those_of_the_whole_batch():
    """Losses, metrics and weights, also with clipping, and with weights of the examples."""
    data = (X, Y, NOISE, WEIGHTS[::-1] + 1)
    results = []
    for micro_batch in (None, 4):
        model = compiled(0, micro_batch=micro_batch)
        model.optimizer.global_clipnorm = 0.01
        steps = [model.train_on_batch(data, reset_metrics=False) for _ in range(4)]
        model.run_eagerly = True  # Graphs take longer to build.
        evaluated = model.evaluate(tf.data.Dataset.from_tensors(data), verbose=0)
        results.append([*steps, evaluated, model.predict((X, Y, NOISE), verbose=0), *model.get_weights()])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_noise_that_is_drawn_doesnt_depend_on_micro_batches():
    losses = []
    for micro_batch in (None, 2):
        model = compiled(0, CONFIG_WITHOUT_LABELS, micro_batch=micro_batch)
        tf.random.set_seed(3)
        losses.append(model.train_on_batch(X))
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_counts_that_are_refused(value):
    for name in ("micro_batch", "global_batch_size"):
        with pytest.raises((ValueError, TypeError), match=name):
            compiled(0, **{name: value})


# --- Files ---


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a", "a.ckpt"])
def test_weights_come_back_exactly(trained, tmp_path, name):
    trained.save_weights(tmp_path / name)
    other = compiled(1)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / name)
    assert_same(trained, other)


@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.keras", "a", "a.ckpt"])
@pytest.mark.parametrize(
    "changes",
    [dict(width=3), dict(depth=2), dict(n_y=7), dict(ycond=False), dict(context_shape=(1,))],
    ids=str,
)
def test_weights_of_another_model_are_refused(trained, tmp_path, name, changes):
    """And change nothing, whichever variable is the first that doesn't fit."""
    trained.save_weights(tmp_path / name)
    other = compiled(1, dataclasses.replace(CONFIG, **changes))
    before = [v.numpy() for v in other.glow.variables]
    with pytest.raises(ValueError):
        other.load_weights(tmp_path / name)
    for variable, value in zip(other.glow.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_saved_model_goes_on_where_it_was(trained, tmp_path):
    trained.save(tmp_path / "a.keras")
    other = tf_keras.models.load_model(tmp_path / "a.keras")
    assert type(other) is GlowModel and other.glow.config == CONFIG and other.weight_y == 0.1
    assert type(other.optimizer) is Adamax
    assert_same(trained, other)
    for one, two in zip(trained.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    step = lambda model: model.fit((X, Y, NOISE), batch_size=N, shuffle=False, verbose=0)
    assert step(trained).history == step(other).history
    assert_same(trained, other)


@pytest.mark.parametrize("name", ["a", "a.h5", "a.tf"])
def test_formats_that_hold_no_glow_are_refused(trained, tmp_path, name):
    with pytest.raises(ValueError, match="NAME.keras"):
        trained.save(tmp_path / name)
    with pytest.raises((ValueError, NotImplementedError)):
        tf_keras.models.save_model(trained, tmp_path / name)


def test_model_checkpoint(trained, tmp_path):
    names = ["{epoch}.weights.h5", "{epoch}.h5", "{epoch}", "{epoch}.keras"]
    keep = [
        tf_keras.callbacks.ModelCheckpoint(
            str(tmp_path / name), save_weights_only=not name.endswith(".keras")
        )
        for name in names
    ]
    trained.fit((X, Y, NOISE), batch_size=N, verbose=0, callbacks=keep)
    paths = [tmp_path / name.format(epoch=1) for name in names]
    for path in paths[:-1]:
        other = compiled(1)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(path)
        assert_same(trained, other)
    assert_same(trained, tf_keras.models.load_model(paths[-1]))


def test_counts_summary_and_weights(trained):
    n = sum(int(tf.size(v)) for v in trained.glow.variables)
    lines = []
    trained.summary(print_fn=lines.append)
    assert trained.count_params() == n and f"{n}" in "\n".join(lines)
    other = compiled(1)
    assert [v.shape for v in other.get_weights()] == [v.shape for v in trained.glow.variables]
    other.set_weights(trained.get_weights())
    assert_same(trained, other)
    again = GlowModel.from_config(trained.get_config())
    assert again.get_config() == trained.get_config() and again.glow.config == CONFIG


def test_paths_in_checkpoints_are_those_of_the_glow(tmp_path):
    model = compiled(0, glow_tf.GlowConfig(**TINY | dict(n_levels=2), ycond=True))
    model.optimizer.build(model.trainable_variables)
    path = tf.train.Checkpoint(glow=model.glow, optimizer=model.optimizer).write(str(tmp_path / "a"))
    names = [name for name, _ in tf.train.list_variables(path)]
    for start in (
        "glow/levels/0/actnorm_b/",
        "glow/splits/0/w/",
        "glow/top/",
        "glow/classifier/W/",
        "optimizer/",
    ):
        assert any(name.startswith(start) for name in names), (start, names)
