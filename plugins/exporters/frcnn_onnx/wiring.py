"""Who makes and who reads the tensors of an ONNX graph, and edits of it that keep its order."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

PARTS = ("features", "rpn", "head")

HANDING_ON = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "GlobalMaxPool",
        "Pad",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators whose outputs are numbers that they read, or 0: these lie on the same grid."""

HAS_KERNEL = frozenset({"Conv", "Gemm", "MatMul"})
"""Operators that int8 is for.  Their first input is the tensor, the second one the kernel."""


class Wiring:
    """A graph's makers, readers and constants, as they are when it is asked."""

    def __init__(self, graph: onnx.GraphProto):
        self.makers: dict[str, onnx.NodeProto] = {
            tensor: node for node in graph.node for tensor in node.output if tensor
        }
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for tensor in dict.fromkeys(node.input):
                self.readers.setdefault(tensor, []).append(node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def array(self, name: str) -> np.ndarray:
        """The value of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def made_by(self, tensor: str, op: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is such an operator."""
        node = self.makers.get(tensor)
        return node if node is not None and node.op_type == op else None


def layer_of(node: onnx.NodeProto) -> str:
    """``part/layer`` of a node, from its name; empty for one that belongs to no layer."""
    path, _, _ = node.name.rpartition("/")
    part, _, layer = path.partition("/")
    return path if part in PARTS and layer else ""


def part_of(node: onnx.NodeProto) -> str:
    """The part that a node belongs to; empty for the detection between and after them."""
    part = node.name.partition("/")[0]
    return part if part in PARTS else ""


def name_by_layer(graph: onnx.GraphProto, layers: Collection[str]) -> None:
    """Name the nodes of the parts ``part/layer/operator``, each differently.

    Before, nodes have names that TensorFlow and tf2onnx gave, some after their layer and some not.
    A kernel or bias tells the layer best: its name is never made up.

    Args:
        layers: those there are, as ``part/layer``.
    """
    wires, taken = Wiring(graph), set()
    for node in graph.node:
        part = part_of(node)
        if not part:
            continue
        constants = [tensor for tensor in node.input if tensor in wires.constants]
        known = (_layer(name, layers) for name in (*constants, node.name, *node.output))
        name = first = f"{next(filter(None, known), part)}/{node.op_type}"
        number = 1
        while name in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(name)
        node.name = name


def _layer(name: str, layers: Collection[str]) -> str:
    """The layer whose scope a name is in; empty if it is in none.

    Keras numbers scopes that are entered again: ``features/relu_1/Relu`` may be of ``relu``.
    """
    path = ""
    part, *scopes = name.split("/")
    for scope in scopes:
        path = f"{path or part}/{scope}"
        for candidate in (path, re.sub(r"_\d+$", "", path)):
            if candidate in layers:
                return candidate
    return ""


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give the graph other nodes, in the order that data flows."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let everything that reads a tensor read another one instead.

    An output of the graph keeps its name: it becomes a copy of the other tensor.
    """
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [names.get(tensor, tensor) for tensor in node.input]
    for output in graph.output:
        if output.name in names:
            nodes.append(onnx.helper.make_node("Identity", [names[output.name]], [output.name]))
    replace_nodes(graph, nodes)


def remove_unread(graph: onnx.GraphProto) -> None:
    """Take away nodes and constants that no output of the graph depends on."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    replace_nodes(graph, reversed(kept))
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def matching(patterns: Iterable[str], names: Iterable[str]) -> tuple[set[str], list[str]]:
    """Names that match a pattern with ``*`` and ``?``, and the patterns that match none."""
    names = sorted(set(names))
    found: set[str] = set()
    unknown = []
    for pattern in patterns:
        matches = fnmatch.filter(names, pattern)
        found.update(matches)
        if not matches:
            unknown.append(pattern)
    return found, unknown
