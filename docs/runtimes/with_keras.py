"""A layer of Keras 3: `pip install tensorflow==2.21.0`."""

import keras


def load(path, signature):
    """Returns a layer of a dict of arrays, which answers as a signature of the export in `path` does."""
    return keras.layers.TFSMLayer(str(path), call_endpoint=signature, trainable=False)
