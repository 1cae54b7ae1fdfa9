"""Kernels of 16 bits in a TensorFlow Lite file: half the size, computed in float32.

The converter can do this too, but it would halve every constant of the detector: anchors would be
half a pixel off at 1000 pixels, and thresholds would be others.  Here only kernels are.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_HAVE_KERNELS = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)
_KERNEL = 1
"""Which input of these it is."""


def with_half_kernels(content: bytes) -> bytes:
    """The same model with kernels in float16, each followed by the operator that widens it.

    That is the form that interpreters know: a fast library computes with the narrow kernel, any
    other one widens it once, when the model is loaded.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    widen = len(model.operatorCodes)
    model.operatorCodes.append(_widening())
    for graph in model.subgraphs:
        kernels = {
            operator.inputs[_KERNEL]: None
            for operator in graph.operators
            if codes[operator.opcodeIndex] in _HAVE_KERNELS
        }
        operators = []
        for index in kernels:
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
                continue
            narrow = _tensor_like(tensor, schema.TensorType.FLOAT16, len(model.buffers))
            values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
            model.buffers.append(_buffer(values.astype(np.float16)))
            operators.append(_operator(widen, len(graph.tensors), index))
            graph.tensors.append(narrow)
            tensor.buffer = 0  # by convention the empty one
        graph.operators[:0] = operators
    _drop_unread_buffers(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _widening() -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3
    return code


def _operator(code: int, reads: int, makes: int) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [reads], [makes]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator


def _tensor_like(tensor: schema.TensorT, dtype: int, buffer: int) -> schema.TensorT:
    made = schema.TensorT()
    made.name = tensor.name + b"/float16"
    made.shape, made.type, made.buffer = tensor.shape, dtype, buffer
    made.hasRank = tensor.hasRank
    return made


def _buffer(values: np.ndarray) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _drop_unread_buffers(model: schema.ModelT) -> None:
    """Empty what no tensor has any more; places stay, for they are how buffers are named."""
    read = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    read |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in read:
            buffer.data = None
