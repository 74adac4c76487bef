"""Runs a SavedModel in TensorFlow's C++ runtime, loaded as TensorFlow Serving loads it.

`TF_LoadSessionFromSavedModel` of libtensorflow_cc is a call of `LoadSavedModel`, and its session that of
TensorFlow Serving. Python only passes arrays on.
"""

import ctypes
import math
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

_STRING_BYTES = 24  # sizeof(TF_TString).


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _library():
    path = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
    library = ctypes.CDLL(str(path))
    constructors = ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel")
    others = ("TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData", "TF_StringGetDataPointer")
    for name in constructors + others:
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_NewBuffer.restype = ctypes.POINTER(_Buffer)
    library.TF_Message.restype = ctypes.c_char_p
    for name in ("TF_Dim", "TF_TensorByteSize"):
        getattr(library, name).restype = ctypes.c_int64
    library.TF_StringGetSize.restype = ctypes.c_size_t
    return library


class CppError(Exception):
    """What the runtime returned: `code`, the same numbers as gRPC's, and `message`."""

    def __init__(self, code: int, message: str):
        """Takes both."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class CppSavedModel:
    """A session of the C++ runtime, with its signatures."""

    def __init__(self, path, tag: str = "serve"):
        """Loads a SavedModel by a tag.

        Raises:
            CppError: if it can't be loaded.
        """
        c = self._c = _library()
        self._graph = c_pointer(c.TF_NewGraph())
        meta_graph = c.TF_NewBuffer()
        status = c_pointer(c.TF_NewStatus())
        self._session = c_pointer(
            c.TF_LoadSessionFromSavedModel(
                c_pointer(c.TF_NewSessionOptions()),
                None,
                str(path).encode(),
                (ctypes.c_char_p * 1)(tag.encode()),
                1,
                self._graph,
                meta_graph,
                status,
            )
        )
        self._raise(status)
        data = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(data).signature_def)

    def run(self, signature: str, inputs: dict) -> dict:
        """Runs a signature on arrays; returns its outputs.

        Raises:
            KeyError: for an unknown signature, or other inputs than it has.
            CppError: if the session does.
        """
        definition = self.signatures[signature]
        if inputs.keys() != set(definition.inputs):
            raise KeyError(f"Inputs must be {sorted(definition.inputs)}, got {sorted(inputs)}.")
        c = self._c
        feeds = [self._output(definition.inputs[name].name) for name in inputs]
        fetches = [self._output(info.name) for info in definition.outputs.values()]
        feed_values = (ctypes.c_void_p * len(feeds))(*[self._tensor(v).value for v in inputs.values()])
        values = (ctypes.c_void_p * len(fetches))()
        status = c_pointer(c.TF_NewStatus())
        c.TF_SessionRun(
            self._session,
            None,
            (_Output * len(feeds))(*feeds),
            feed_values,
            len(feeds),
            (_Output * len(fetches))(*fetches),
            values,
            len(fetches),
            None,
            0,
            None,
            status,
        )
        for value in feed_values:
            c.TF_DeleteTensor(c_pointer(value))
        self._raise(status)
        return {name: self._array(c_pointer(v)) for name, v in zip(definition.outputs, values, strict=True)}

    def _raise(self, status):
        code, message = self._c.TF_GetCode(status), self._c.TF_Message(status).decode()
        self._c.TF_DeleteStatus(status)
        if code:
            raise CppError(code, message)

    def _output(self, tensor_name):
        operation, _, index = tensor_name.partition(":")
        found = self._c.TF_GraphOperationByName(self._graph, operation.encode())
        assert found, f"{tensor_name} isn't in the graph"
        return _Output(found, int(index))

    def _tensor(self, value):
        value = np.asarray(value, order="C")
        dtype = tf.as_dtype(value.dtype)
        strings = dtype == tf.string
        size = value.size * _STRING_BYTES if strings else value.nbytes
        dims = (ctypes.c_int64 * max(value.ndim, 1))(*value.shape)
        tensor = c_pointer(
            self._c.TF_AllocateTensor(dtype.as_datatype_enum, dims, value.ndim, ctypes.c_size_t(size))
        )
        data = self._c.TF_TensorData(tensor)
        if not strings:
            ctypes.memmove(data, value.ctypes.data, value.nbytes)
            return tensor
        for i, text in enumerate(value.ravel()):
            address = c_pointer(data + i * _STRING_BYTES)
            self._c.TF_StringInit(address)
            self._c.TF_StringCopy(address, text, ctypes.c_size_t(len(text)))
        return tensor

    def _array(self, tensor):
        c = self._c
        dtype = tf.as_dtype(c.TF_TensorType(tensor))
        shape = [c.TF_Dim(tensor, i) for i in range(c.TF_NumDims(tensor))]
        data = c.TF_TensorData(tensor)
        if dtype == tf.string:
            texts = []
            for i in range(math.prod(shape)):
                address = c_pointer(data + i * _STRING_BYTES)
                texts.append(
                    ctypes.string_at(c.TF_StringGetDataPointer(address), c.TF_StringGetSize(address))
                )
            array = np.array(texts, object).reshape(shape)
        else:
            array = np.frombuffer(ctypes.string_at(data, c.TF_TensorByteSize(tensor)), dtype.as_numpy_dtype)
            array = array.reshape(shape)
        c.TF_DeleteTensor(tensor)
        return array


def c_pointer(address):
    """An address as an argument: ctypes passes a plain int on as 32 bits."""
    return ctypes.c_void_p(address)
