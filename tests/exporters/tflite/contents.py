"""What is in a TensorFlow Lite file, read from its flatbuffer."""

from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items()}
_TYPES = {number: name for name, number in vars(schema.TensorType).items()}


class Tensor(NamedTuple):
    type: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    constant: bool


class Operator(NamedTuple):
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def operators(content):
    """Those of the only graph, in the order they run."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]

    def tensor(index):
        one = graph.tensors[index]
        given = one.quantization
        data = model.buffers[one.buffer].data
        return Tensor(
            _TYPES[one.type],
            tuple(map(int, one.shape)) if one.shape is not None else (),
            _tuple(given and given.scale),
            _tuple(given and given.zeroPoint),
            data is not None and len(data) > 0,
        )

    return [
        Operator(
            _OPERATORS[codes[operator.opcodeIndex]],
            tuple(tensor(index) for index in operator.inputs if index >= 0),
            tuple(tensor(index) for index in operator.outputs),
        )
        for operator in graph.operators
    ]


def convolutions(content):
    return [one for one in operators(content) if one.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]


def _tuple(values):
    return () if values is None else tuple(np.asarray(values).tolist())
