"""A detector's network in float16, its boxes in float32: what fp16 means in a typed graph.

TensorRT 11 has no flag that lets it compute in float16; the graph's types say where it does.  The
three parts of the network become float16, with their weights.  Scores, boxes and suppression
between them stay float32: a float16 tells pixels beyond 1024 apart only by whole ones.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from frcnn_core.errors import FrcnnError

PARTS = ("features/", "rpn/", "head/")
"""How names of nodes of the network begin (frcnn_onnx.parts)."""

LARGEST = 65504.0
"""The largest float16."""

# Resize reads where to sample in float32, whatever it samples.
_ALWAYS_FLOAT32 = {"Resize": (2,)}

_log = logging.getLogger(__name__)


def is_quantized(proto: onnx.ModelProto) -> bool:
    """Whether a graph is explicitly quantized."""
    return any(node.op_type == "QuantizeLinear" for node in proto.graph.node)


def has_parts(proto: onnx.ModelProto) -> bool:
    """Whether the names of a graph's nodes tell what is network and what is not."""
    return any(node.name.startswith(PARTS) for node in proto.graph.node)


def has_float16(proto: onnx.ModelProto) -> bool:
    """Whether something in a graph is float16 already."""
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in proto.graph.initializer)


def convert(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the network in float16; inputs and outputs keep their types.

    Weights beyond the largest float16 become that, and a warning names them.

    Raises:
        FrcnnError: the graph is quantized, or not one of frcnn's.
    """
    if is_quantized(proto):
        raise FrcnnError("The model is quantized to int8; float16 is made of a float model.")
    if not has_parts(proto):
        raise FrcnnError(
            "The model was not exported by frcnn: which of its tensors may be float16 is unknown."
        )
    return _Conversion(proto).run()


class _Conversion:
    def __init__(self, proto: onnx.ModelProto):
        self._proto = proto
        graph = proto.graph
        inferred = onnx.shape_inference.infer_shapes(proto).graph
        values = (*inferred.input, *inferred.output, *inferred.value_info)
        self._float32 = {
            value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._weights = {
            tensor.name: tensor
            for tensor in graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }
        self._made_by_network = {
            name for node in graph.node if node.name.startswith(PARTS) for name in node.output
        }
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._casts: dict[str, str] = {}

    def run(self) -> onnx.ModelProto:
        graph = self._proto.graph
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if node.name.startswith(PARTS):
                self._into_float16(copy)
            else:
                copy.input[:] = [self._as_float32(name) for name in copy.input]
            self._nodes.append(copy)
        self._keep_outputs()
        converted = onnx.ModelProto()
        converted.CopyFrom(self._proto)
        read = {name for node in self._nodes for name in node.input}
        unchanged = [tensor for tensor in graph.initializer if tensor.name in read]
        del converted.graph.node[:], converted.graph.initializer[:], converted.graph.value_info[:]
        converted.graph.node.extend(self._nodes)
        converted.graph.initializer.extend([*unchanged, *self._initializers.values()])
        onnx.checker.check_model(converted)
        return converted

    def _into_float16(self, node: onnx.NodeProto) -> None:
        kept = _ALWAYS_FLOAT32.get(node.op_type, ())
        node.input[:] = [
            name if position in kept else self._as_float16(name)
            for position, name in enumerate(node.input)
        ]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                if attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
            elif attribute.type == onnx.AttributeProto.TENSOR:
                if attribute.t.data_type == TensorProto.FLOAT:
                    attribute.t.CopyFrom(_halved(attribute.t, attribute.t.name))

    def _as_float16(self, name: str) -> str:
        if name in self._weights:
            halved = f"{name}/float16"
            if halved not in self._initializers:
                self._initializers[halved] = _halved(self._weights[name], halved)
            return halved
        if name in self._made_by_network or name not in self._float32:
            return name
        return self._cast(name, TensorProto.FLOAT16, "float16")

    def _as_float32(self, name: str) -> str:
        if name in self._made_by_network and name in self._float32:
            return self._cast(name, TensorProto.FLOAT, "float32")
        return name

    def _cast(self, name: str, to: int, word: str) -> str:
        if name not in self._casts:
            self._casts[name] = f"{name}/{word}"
            self._nodes.append(
                helper.make_node("Cast", [name], [f"{name}/{word}"], f"{name}/to_{word}", to=to)
            )
        return self._casts[name]

    def _keep_outputs(self) -> None:
        """An output that the network makes is a cast of it, under its own name."""
        for output in self._proto.graph.output:
            name = output.name
            if name not in self._made_by_network or name not in self._float32:
                continue
            inside = f"{name}/inside"
            for node in self._nodes:
                node.output[:] = [inside if one == name else one for one in node.output]
                node.input[:] = [inside if one == name else one for one in node.input]
            self._nodes.append(
                helper.make_node(
                    "Cast", [inside], [name], f"{name}/to_float32", to=TensorProto.FLOAT
                )
            )


def _halved(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest > LARGEST:
        _log.warning(
            "%s has weights up to %g, and float16 ends at %g: they are cut off there.",
            tensor.name,
            largest,
            LARGEST,
        )
    return numpy_helper.from_array(np.clip(values, -LARGEST, LARGEST).astype(np.float16), name)
