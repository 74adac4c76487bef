"""distrax (JAX), jitted: Glow put together from its bijectors; it has no Glow of its own."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import bench


def _parameters(spec):
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.normal(0, 0.05, shape), jnp.float32)
    width = spec["width"]

    def step(c):
        return dict(
            shift=jnp.zeros(c),
            log_scale=jnp.zeros(c),
            matrix=jnp.eye(c),
            k1=normal(3, 3, c // 2, width),
            b1=jnp.zeros(width),
            k2=normal(1, 1, width, width),
            b2=jnp.zeros(width),
            k3=jnp.zeros((3, 3, width, c)),
            b3=jnp.zeros(c),
        )

    return [[step(channels) for _ in range(spec["depth"])] for _, channels in bench.level_shapes()]


def _conv(x, kernel, b):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return b + jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)


def _step(p):
    channels = p["shift"].shape[0]

    def network(h):
        h = jax.nn.relu(_conv(h, p["k1"], p["b1"]))
        h = jax.nn.relu(_conv(h, p["k2"], p["b2"]))
        return _conv(h, p["k3"], p["b3"])

    def affine(h):
        shift, u = jnp.split(h, 2, -1)
        return distrax.ScalarAffine(shift=shift, log_scale=jax.nn.log_sigmoid(u + 2.0))

    matrix = distrax.LowerUpperTriangularAffine(p["matrix"], jnp.zeros(channels))
    return distrax.Chain(
        [  # The last one comes first.
            distrax.SplitCoupling(channels // 2, 3, network, affine),
            distrax.Block(matrix, 2),
            distrax.Block(distrax.ScalarAffine(shift=p["shift"], log_scale=p["log_scale"]), 3),
        ]
    )


def _squeeze(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(b, h // 2, w // 2, 4 * c)


def _unsqueeze(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(b, 2 * h, 2 * w, c // 4)


def _forward(parameters, x):
    latents, log_det = [], 0.0
    for i, level in enumerate(parameters):
        x = _squeeze(x)
        for p in level:
            x, step_log_det = _step(p).forward_and_log_det(x)
            log_det += step_log_det
        if i < len(parameters) - 1:
            x, latent = jnp.split(x, 2, -1)
            latents.append(latent)
    return [*latents, x], log_det


def _inverse(parameters, latents):
    *latents, x = latents
    for i, level in reversed(list(enumerate(parameters))):
        if i < len(parameters) - 1:
            x = jnp.concatenate([x, latents[i]], -1)
        for p in reversed(level):
            x = _step(p).inverse(x)
        x = _unsqueeze(x)
    return x


def _log_prob(parameters, x):
    latents, log_det = _forward(parameters, x)
    return log_det + sum(jax.scipy.stats.norm.logpdf(z).sum((1, 2, 3)) for z in latents)


def build(spec) -> bench.Built:
    """Returns the task, with optax' Adam."""
    x, parameters = jnp.asarray(bench.dequantized(spec["batch"])), _parameters(spec)
    optimizer = optax.adam(0.001)

    def update(parameters, state, x):
        loss, gradients = jax.value_and_grad(lambda p: -_log_prob(p, x).mean())(parameters)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(parameters, updates), state, loss

    update = jax.jit(update, donate_argnums=(0, 1))
    log_prob = jax.jit(_log_prob)
    shapes = [latent.shape for latent in jax.eval_shape(_forward, parameters, x)[0]]

    @jax.jit
    def draw(parameters, key):
        keys = jax.random.split(key, len(shapes))
        return _inverse(parameters, [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)])

    if spec["task"] == "train":
        state = [parameters, optimizer.init(parameters)]

        def step():
            *state[:], loss = update(*state, x)
            return float(loss)

    elif spec["task"] == "log_prob":
        step = lambda: np.asarray(log_prob(parameters, x))
    else:
        step = lambda: np.asarray(draw(parameters, jax.random.key(0)))
    n_parameters = sum(v.size for v in jax.tree.leaves(parameters))
    return bench.Built(step, n_parameters, f"jax {jax.__version__}")
