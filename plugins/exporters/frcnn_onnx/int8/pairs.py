"""Reads a marked graph: which tensor each marker is for, and the graph without them.

A *pair* is a QuantizeLinear and a DequantizeLinear of one scale.  In a marked graph their scale is
the number of a marker / 127 (``frcnn_onnx.int8.markers``), and tf2onnx may have moved the second
half behind operators that only move numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from frcnn_core.detector.quantized_layers import STEPS
from frcnn_onnx import wiring
from frcnn_onnx.wiring import Wiring

HALVES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Marked:
    """A tensor that a marker is for."""

    tensor: str
    """Its name, in the graph without markers."""
    path: str
    """``part/layer`` of what makes it."""


def marked_tensors(marked: onnx.ModelProto, paths: Mapping[int, str]) -> list[Marked]:
    """The tensors that have a marker, in the order that data flows.

    Args:
        paths: ``Markers.paths``.
    """
    wires, bare = Wiring(marked.graph), _bare_names(marked.graph)
    return [
        Marked(bare.get(node.input[0], node.input[0]), paths[number(node, wires)])
        for node in marked.graph.node
        if node.op_type == "QuantizeLinear"
    ]


def number(node: onnx.NodeProto, wires: Wiring) -> int:
    """The number of the marker that a QuantizeLinear or DequantizeLinear belongs to."""
    return round(wires.array(node.input[1]).item() * STEPS)


def stripped(marked: onnx.ModelProto) -> onnx.ModelProto:
    """The float graph: the same without its markers."""
    result = onnx.ModelProto()
    result.CopyFrom(marked)
    bare = _bare_names(result.graph)
    wiring.replace_nodes(
        result.graph, [node for node in result.graph.node if node.op_type not in HALVES]
    )
    for node in result.graph.node:
        node.output[:] = [bare.get(tensor, tensor) for tensor in node.output]
    wiring.rename(result.graph, bare)
    wiring.remove_unread(result.graph)
    return result


def tensor_ranges(
    marked: onnx.ModelProto, paths: Mapping[int, str], ranges: Mapping[str, float]
) -> dict[str, float]:
    """The range of each tensor of the float graph, by its name, in the order that data flows.

    Tensors that hold the numbers of another one, such as a max pool's, have its range.  A range of
    0, which nobody has seen, is left out.

    Args:
        ranges: by ``part/layer``.
    """
    found: dict[str, float] = {}
    for pair in marked_tensors(marked, paths):
        if ranges[pair.path] > 0:
            found[pair.tensor] = max(found.get(pair.tensor, 0.0), ranges[pair.path])
    result: dict[str, float] = {}
    bare = stripped(marked).graph
    for given in bare.input:
        if given.name in found:
            result[given.name] = found[given.name]
    for node in bare.node:
        for tensor in node.output:
            if tensor in found:
                result[tensor] = found[tensor]
            elif _hands_on(node, tensor) and all(name in result for name in _data(node)):
                result[tensor] = max(result[name] for name in _data(node))
    return result


def _hands_on(node: onnx.NodeProto, tensor: str) -> bool:
    """Whether a tensor is what a layer of a part hands on.

    Names with a number of tf2onnx's are those of tensors that only this conversion has.
    """
    made_up = re.search(r"__\d+$", tensor)
    hands_on = node.op_type in wiring.HANDING_ON or node.op_type == "Concat"
    return bool(wiring.part_of(node)) and hands_on and not made_up


def _data(node: onnx.NodeProto) -> list[str]:
    """The tensors that a node hands on."""
    return list(node.input) if node.op_type == "Concat" else [node.input[0]]


def _bare_names(graph: onnx.GraphProto) -> dict[str, str]:
    """What tensors before, within and after pairs are called where there are none; the others keep
    their names.

    That is the name of what a pair reads; but the output of a part has that name whether or not it
    is rounded last.
    """
    wires = Wiring(graph)
    bare: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in HALVES:
            bare[node.output[0]] = bare.get(node.input[0], node.input[0])
    outputs: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and any(
            wiring.part_of(reader) != wiring.part_of(node)
            for reader in wires.readers.get(node.output[0], [])
        ):
            outputs.setdefault(bare[node.output[0]], node.output[0])
    return {name: outputs.get(origin, origin) for name, origin in bare.items()} | outputs
