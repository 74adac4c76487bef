"""What a served Glow can be asked: one method per signature."""

import functools
import inspect
import math
import re

import tensorflow as tf

from glow_tf import quantization
from glow_tf.serving.checks import checked, require
from glow_tf.serving.frozen import FrozenGlow
from glow_tf.serving.noise import image_noise, seeded_latents, seeded_noise

DEFAULT = "bits_per_dim"
PICTURE_CHANNELS = (1, 3, 4)  # Of a PNG.


class Signatures:
    """The signatures of a frozen Glow, each a method of that name.

    All inputs and outputs have the batch as their first axis, and row i of the outputs depends on row i of
    the inputs alone. `labels` is an input only where the model is conditioned on labels, `context`, float32
    [B, *context_shape], only where it is on a context. Images are uint8 [B, height, width, n_channels];
    M = height * width * n_channels.

    Dequantisation noise is an image's own, a function of its pixels (`image_noise`), or drawn from a seed.
    """

    def __init__(self, frozen: FrozenGlow):
        """Takes what is served; nothing is traced yet."""
        self._frozen = frozen
        config = self._config = frozen.config
        self._dtype = frozen.dtype
        images, row = [None, *config.image_shape], [None]
        self._specs = {
            "images": tf.TensorSpec(images, tf.uint8),
            "first": tf.TensorSpec(images, tf.uint8),
            "second": tf.TensorSpec(images, tf.uint8),
            "image_bytes": tf.TensorSpec(row, tf.string),
            "labels": tf.TensorSpec(row, tf.int32),
            "seed": tf.TensorSpec(row, tf.int64),
            "temperature": tf.TensorSpec(row, tf.float32),
            "latents": tf.TensorSpec([None, config.n_dims], tf.float32),
            "direction": tf.TensorSpec([None, config.n_dims], tf.float32),
            "points": tf.TensorSpec([None, None], tf.float32),
            "alphas": tf.TensorSpec([None, None], tf.float32),
            "context": tf.TensorSpec([None, *config.context_shape], tf.float32),
        }
        self._left_out = [] if config.ycond else ["labels"]
        self._left_out += [] if config.context_shape else ["context"]
        # Functions of their own, so that the signatures share one body of each.
        height, width, channels = config.eps_shapes[-1]
        prior = tf.TensorSpec([None, height, width, 2 * channels], self._dtype)
        x = tf.TensorSpec(images, self._dtype)
        eps = [tf.TensorSpec([None, *shape], self._dtype) for shape in config.eps_shapes]
        given = [tf.TensorSpec([None, *config.context_shape], self._dtype)] if config.context_shape else []
        noise = functools.partial(image_noise, n_bits=config.n_bits_x)
        self._image_noise = tf.function(noise, input_signature=[x], autograph=False)
        self._encode = tf.function(frozen.encode, input_signature=[x, prior, *given], autograph=False)
        self._decode = tf.function(frozen.decode, input_signature=[eps, prior, *given], autograph=False)

    @property
    def frozen(self) -> FrozenGlow:
        """What is served."""
        return self._frozen

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, n_channels)."""
        return self._config.image_shape

    @property
    def names(self) -> list[str]:
        """The names of the signatures; pictures have 1, 3 or 4 channels, for others there is no PNG."""
        names = ["bits_per_dim", "bits_per_dim_seeded", "encode", "encode_seeded"]
        names += ["decode", "sample", "interpolate", "manipulate"]
        if self._config.n_channels in PICTURE_CHANNELS:
            names += ["bits_per_dim_encoded", "sample_encoded"]
        return names

    def inputs(self, name: str) -> dict[str, tf.TensorSpec]:
        """Returns the inputs of a signature."""
        names = inspect.signature(getattr(self, name)).parameters
        return {n: self._specs[n] for n in names if n not in self._left_out}

    def documentation(self) -> dict[str, str]:
        """Returns each signature's text: without what isn't an input, and with the context's shape."""
        texts = {name: inspect.getdoc(getattr(self, name)) for name in self.names}
        for left_out in self._left_out:
            clause = rf"[;,][^;.]*{left_out.removesuffix('s')}[^;.]*"
            texts = {name: re.sub(clause, "", text) for name, text in texts.items()}
        shape = ", ".join(map(str, ["B", *self._config.context_shape]))
        of_context = f"context float32 [{shape}]"
        return {name: text.replace("context float32", of_context) for name, text in texts.items()}

    def concrete_functions(self) -> dict:
        """Returns what `tf.saved_model.save` takes as its signatures, `serving_default` included."""
        functions = {name: self._concrete_function(name) for name in self.names}
        return functions | {"serving_default": functions[DEFAULT]}

    def functions_of_a_dict(self, concrete_functions: dict) -> dict:
        """Returns functions of one dict of inputs, by the names of `concrete_functions`, which they call.

        Runtimes that call a loaded object's attributes, such as Keras 3's TFSMLayer, give the inputs as one
        value; a signature's function takes keywords only.
        """

        def of_a_dict(name, function):
            specs = self.inputs(DEFAULT if name == "serving_default" else name)
            return tf.function(lambda inputs: function(**inputs), input_signature=[specs], autograph=False)

        return {name: of_a_dict(name, function) for name, function in concrete_functions.items()}

    def _concrete_function(self, name):
        method, specs = getattr(self, name), self.inputs(name)

        @tf.function(autograph=False)
        def serve(**inputs):
            return method(**checked(inputs, specs, self._config.n_y))

        return serve.get_concrete_function(**specs)

    # --- The signatures ---

    def bits_per_dim(self, images, labels=None, context=None):
        """Bits per dimension of images, the dequantisation noise each image's own.

        The same image is the same number in any batch, on any server; the mean over a data set is that with
        noise that is drawn.

        Inputs: images; labels int32 [B]; context float32.
        Outputs: bits_per_dim float32 [B]; log_prob float32 [B], log p(image) in nats.
        """
        return self._densities(self._dequantize(images), labels, context)

    def bits_per_dim_seeded(self, images, seed, labels=None, context=None):
        """Bits per dimension of images, the dequantisation noise drawn from a seed.

        Inputs: images; seed int64 [B], of the noise; labels int32 [B]; context float32.
        Outputs: as those of bits_per_dim.
        """
        return self._densities(self._dequantize(images, seed), labels, context)

    def bits_per_dim_encoded(self, image_bytes, labels=None, context=None):
        """Bits per dimension of encoded images, equal to bits_per_dim of what they show.

        Inputs: image_bytes string [B], PNG or JPEG files of the model's size; labels int32 [B];
        context float32.
        Outputs: as those of bits_per_dim.
        """
        images = tf.map_fn(
            self._decode_picture,
            image_bytes,
            fn_output_signature=tf.TensorSpec(self._config.image_shape, tf.uint8),
        )
        return self._densities(self._dequantize(images), labels, context)

    def encode(self, images, labels=None, context=None):
        """Latents of images, the dequantisation noise each image's own.

        Inputs: images; labels int32 [B]; context float32.
        Outputs: latents float32 [B, M], what decode takes; level_0, level_1, ... float32 [B, h, w, c], the
        same per level, the one that is split off first comes first; only where there are labels,
        latents_without_label float32 [B, M], in the space that manipulate's direction is added in.
        """
        return self._latents(self._dequantize(images), labels, context)

    def encode_seeded(self, images, seed, labels=None, context=None):
        """Latents of images, the dequantisation noise drawn from a seed.

        Inputs: images; seed int64 [B], of the noise; labels int32 [B]; context float32.
        Outputs: as those of encode.
        """
        return self._latents(self._dequantize(images, seed), labels, context)

    def decode(self, latents, labels=None, context=None):
        """Images of latents.

        Inputs: latents float32 [B, M]; labels int32 [B]; context float32.
        Outputs: images.
        """
        return {"images": self._images(latents, labels, context)}

    def sample(self, seed, temperature, labels=None, context=None):
        """New images; the same seed is the same latents on every server, and the same image up to rounding.

        Inputs: seed int64 [B]; temperature float32 [B], at least 0; labels int32 [B]; context float32.
        Outputs: images.
        """
        latents = seeded_latents(seed, temperature, self._config.n_dims)
        return {"images": self._images(latents, labels, context)}

    def sample_encoded(self, seed, temperature, labels=None, context=None):
        """New images as files, those of sample.

        Inputs: seed int64 [B]; temperature float32 [B], at least 0; labels int32 [B]; context float32.
        Outputs: image_bytes string [B], PNG files.
        """
        images = self.sample(seed, temperature, labels, context)["images"]
        png = tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.TensorSpec([], tf.string))
        return {"image_bytes": png}

    def interpolate(self, first, second, points, context=None):
        """Images between two, along the straight line between their latents; labels play no part.

        Inputs: first and second, images; points float32 [B, P], from 0 (first) to 1 (second);
        context float32, of both and of all between.
        Outputs: images uint8 [B, P, height, width, n_channels].
        """
        start, end = (
            self._latents(self._dequantize(images), context=context)["latents"] for images in (first, second)
        )
        return {"images": self._line(start, end - start, points, context)}

    def manipulate(self, images, direction, alphas, context=None):
        """Images moved along a direction in latent space; labels play no part.

        Inputs: images; direction float32 [B, M]; alphas float32 [B, A], how far; context float32.
        Outputs: images uint8 [B, A, height, width, n_channels].
        """
        start = self._latents(self._dequantize(images), context=context)["latents"]
        return {"images": self._line(start, direction, alphas, context)}

    # --- Their parts ---

    def _dequantize(self, images, seed=None):
        n_bits = self._config.n_bits_x
        x = quantization.preprocess(images, n_bits, self._dtype)
        shape = self._config.image_shape
        noise = self._image_noise(x) if seed is None else seeded_noise(seed, shape, n_bits)
        return x + tf.cast(noise, self._dtype)

    def _given(self, rows, labels, context):
        """Returns the prior of so many rows and, if there is one, the context in the model's dtype."""
        given = [] if context is None else [tf.cast(context, self._dtype)]
        prior = self._frozen.prior(labels, *given)
        return tf.broadcast_to(prior, [rows, *prior.shape[1:]]), *given

    def _densities(self, x, labels, context):
        _, log_prob = self._encode(x, *self._given(tf.shape(x)[0], labels, context))
        bits = quantization.bits_per_dim(log_prob, self._config.n_dims, self._config.n_bits_x)
        return {
            "bits_per_dim": tf.cast(bits, tf.float32),
            "log_prob": tf.cast(-bits * self._config.n_dims * math.log(2.0), tf.float32),
        }

    def _latents(self, x, labels=None, context=None):
        prior, *given = self._given(tf.shape(x)[0], labels, context)
        eps, _ = self._encode(x, prior, *given)
        eps = [tf.cast(e, tf.float32) for e in eps]
        latents = {"latents": self._frozen.flatten(eps)} | {f"level_{i}": e for i, e in enumerate(eps)}
        if labels is None:
            return latents
        mean, logs = tf.split(prior, 2, -1)
        free_mean, free_logs = tf.split(self._frozen.prior(None, *given), 2, -1)
        last = tf.cast(eps[-1], self._dtype) * tf.exp(logs - free_logs)
        last += (mean - free_mean) * tf.exp(-free_logs)
        without = self._frozen.flatten([*eps[:-1], tf.cast(last, tf.float32)])
        return latents | {"latents_without_label": without}

    def _images(self, latents, labels=None, context=None):
        eps = self._frozen.unflatten(tf.cast(latents, self._dtype))
        x = self._decode(eps, *self._given(tf.shape(latents)[0], labels, context))
        return quantization.postprocess(x, self._config.n_bits_x)

    def _line(self, start, direction, distances, context):
        latents = tf.expand_dims(start, 1) + tf.expand_dims(distances, 2) * tf.expand_dims(direction, 1)
        if context is not None:
            context = tf.repeat(context, tf.shape(distances)[1], 0)
        images = self._images(tf.reshape(latents, [-1, self._config.n_dims]), None, context)
        return tf.reshape(images, tf.concat([tf.shape(distances), self._config.image_shape], 0))

    def _decode_picture(self, data):
        shape = self._config.image_shape
        image = tf.io.decode_image(data, channels=shape[-1], expand_animations=False)
        actual = tf.shape(image)
        described = f"{shape[0]} pixels high and {shape[1]} wide"
        fits = tf.reduce_all(tf.equal(actual[:2], shape[:2]))
        size = require(fits, f"An image must be {described}, got height and width:", actual[:2])
        with tf.control_dependencies([size]):
            return tf.reshape(image, shape)
