"""The signatures of an export as one LiteRT (TensorFlow Lite) file, by TensorFlow's own converter."""

import dataclasses
import pathlib

import tensorflow as tf

from glow_tf.glow import Glow

FILE = "glow.tflite"
# What is drawn at random or read from picture files isn't among LiteRT's operations.
SIGNATURES = ("bits_per_dim", "encode", "decode", "interpolate", "manipulate")
DTYPE = "float32"  # Its convolutions take no other.


def in_float32(model: Glow) -> Glow:
    """Returns a model of the same weights that computes in float32."""
    twin = Glow(dataclasses.replace(model.config, dtype=DTYPE), seed=0)
    for ours, theirs in zip(twin.variables, model.variables, strict=True):
        ours.assign(tf.cast(theirs, ours.dtype))
    return twin


def convert(path: pathlib.Path) -> bytes:
    """Returns the content of FILE for a SavedModel of `Signatures`.

    Their checks of the inputs aren't in it: the converter drops assertions.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=list(SIGNATURES))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()
