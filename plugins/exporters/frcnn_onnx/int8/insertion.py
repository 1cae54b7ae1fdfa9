"""From a marked graph and its ranges to an explicitly quantized one.

What comes out has the form that TensorRT asks for and other runtimes understand: int8 with zero
point 0, each QuantizeLinear directly followed by its DequantizeLinear, kernels as int8 constants
with a scale for each output channel, biases in floating point.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

import numpy as np
import onnx
from onnx import helper, numpy_helper

from frcnn_core.detector.quantized_layers import STEPS
from frcnn_core.errors import FrcnnError
from frcnn_onnx import wiring
from frcnn_onnx.int8 import kernels, padding, pairs
from frcnn_onnx.wiring import HANDING_ON, HAS_KERNEL, Wiring

CUTTING_OFF = frozenset({"Relu", "Clip"})
ZERO = "int8_zero"


def quantized(
    marked: onnx.ModelProto,
    paths: Mapping[int, str],
    ranges: Mapping[str, float],
    *,
    layers: Collection[str],
    largest_codes: Mapping[str, np.ndarray] | None = None,
    keep_float: Iterable[str] = (),
    fuse: bool = False,
) -> onnx.ModelProto:
    """The detector in int8.

    Args:
        marked: with markers.
        paths: ``Markers.paths``.
        ranges: by ``part/layer``; what has a range of 0 is not rounded.
        layers: those of the detector, as ``part/layer``; nodes are named after them.
        largest_codes: of kernels that were trained in int8 (``kernels.largest_codes``).
        keep_float: layers whose kernel and inputs are not rounded, as ``part/layer`` with ``*``
            and ``?``.
        fuse: leave out pairs that keep runtimes from computing several operators as one
            (``_hinders``).  Not for a network that was trained with them.

    Raises:
        FrcnnError: no layer is of a name in ``keep_float``.
    """
    result = onnx.ModelProto()
    result.CopyFrom(marked)
    graph = result.graph
    _give_ranges(graph, paths, ranges)
    _round_after_concatenations(graph)
    if fuse:
        _leave_out(graph)
        _share_scales(graph)
    padding.absorb(graph)
    _repeat(graph)
    wiring.name_by_layer(graph, layers)
    _keep(graph, keep_float)
    wiring.remove_unread(graph)
    _quantize_kernels(graph, largest_codes or {})
    wiring.remove_unread(graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def quantized_layers(graph: onnx.GraphProto) -> list[str]:
    """Layers that read a rounded tensor, in the order that data flows: those of ``keep_float``."""
    wires = Wiring(graph)
    return list(
        dict.fromkeys(
            wiring.layer_of(node)
            for node in graph.node
            if reads_pair(node, wires) and wiring.layer_of(node)
        )
    )


def reads_pair(node: onnx.NodeProto, wires: Wiring) -> bool:
    """Whether a node computes with a rounded tensor, which is more than to hand it on."""
    if node.op_type in HANDING_ON or node.op_type in pairs.HALVES:
        return False
    return any(source(tensor, wires) is not None for tensor in node.input)


def source(tensor: str, wires: Wiring) -> str | None:
    """What a pair rounds that makes this tensor; None if none does."""
    second = wires.made_by(tensor, "DequantizeLinear")
    first = wires.made_by(second.input[0], "QuantizeLinear") if second is not None else None
    return first.input[0] if first is not None else None


def _give_ranges(
    graph: onnx.GraphProto, paths: Mapping[int, str], ranges: Mapping[str, float]
) -> None:
    """Put a pair with its scale in the place of every marker."""
    wires = Wiring(graph)
    names: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    scales: dict[str, np.float32] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            names[node.output[0]] = node.input[0]
        elif node.op_type == "QuantizeLinear":
            path = paths[pairs.number(node, wires)]
            if ranges[path] <= 0:
                names[node.output[0]] = node.input[0]
                continue
            scales[f"{path}/scale"] = np.float32(ranges[path]) / np.float32(STEPS)
            pair = _pair(node.input[0], f"{path}/scale")
            names[node.output[0]] = pair[1].output[0]
            nodes += pair
        else:
            nodes.append(node)
    graph.initializer.extend(numpy_helper.from_array(np.array(v), k) for k, v in scales.items())
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), ZERO))
    wiring.replace_nodes(graph, nodes)
    wiring.rename(graph, {name: _end(name, names) for name in names})


def _pair(tensor: str, scale: str) -> list[onnx.NodeProto]:
    """The two nodes that round a tensor."""
    code, rounded, layer = f"{tensor}/int8", f"{tensor}/rounded", scale.removesuffix("/scale")
    return [
        helper.make_node(op, [read, scale, ZERO], [made], f"{layer}/{op}")
        for op, read, made in zip(pairs.HALVES, (tensor, code), (code, rounded), strict=True)
    ]


def _end(name: str, names: Mapping[str, str]) -> str:
    """Where a chain of new names ends."""
    while name in names:
        name = names[name]
    return name


def _round_after_concatenations(graph: onnx.GraphProto) -> None:
    """Put the pair of what a concatenation makes behind it.

    tf2onnx moves it before, to each tensor that is concatenated.  The numbers are the same.
    """
    wires = Wiring(graph)
    names: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        node.input[:] = [names.get(tensor, tensor) for tensor in node.input]
        nodes.append(node)
        scales = {_scale(tensor, wires) for tensor in node.input}
        scale = scales.pop() if len(scales) == 1 else None
        if node.op_type == "Concat" and scale is not None:
            # What has a scale has a source.
            node.input[:] = [source(tensor, wires) or "" for tensor in node.input]
            pair = _pair(node.output[0], scale)
            nodes += pair
            names[node.output[0]] = pair[1].output[0]
    wiring.replace_nodes(graph, nodes)
    wiring.remove_unread(graph)


def _scale(tensor: str, wires: Wiring) -> str | None:
    """The scale of the pair that makes a tensor; None if none does."""
    return wires.makers[tensor].input[1] if source(tensor, wires) is not None else None


def _share_scales(graph: onnx.GraphProto) -> None:
    """Round what only a concatenation reads with the scale of what that makes.

    Then it is rounded once and not twice, and the concatenation only moves codes.
    """
    wires = Wiring(graph)
    for node in reversed(graph.node):
        firsts = [
            reader
            for tensor in node.output
            for reader in wires.readers.get(tensor, [])
            if reader.op_type == "QuantizeLinear"
        ]
        if node.op_type != "Concat" or len(firsts) != 1:
            continue
        for tensor in node.input:
            if source(tensor, wires) is not None and len(wires.readers[tensor]) == 1:
                second = wires.makers[tensor]
                first = wires.makers[second.input[0]]
                if len(wires.readers[first.output[0]]) == 1:
                    first.input[1] = second.input[1] = firsts[0].input[1]


def _leave_out(graph: onnx.GraphProto) -> None:
    """Take away the pairs that hinder fusion."""
    wires = Wiring(graph)
    rename = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            rounded = source(node.output[0], wires)
            if rounded is not None and _hinders(node, wires):
                rename[node.output[0]] = rounded
    wiring.rename(graph, {name: _end(name, rename) for name in rename})


def _hinders(second: onnx.NodeProto, wires: Wiring) -> bool:
    """Whether a pair, given by its DequantizeLinear, is better left out after training.

    * One that only a ReLU reads: between a sum and its ReLU, which TensorRT computes with the
      convolution before the sum, and ONNX Runtime with the sum.
    * One that no layer reads: what the RPN makes.  Proposals are computed in floating point, so
      rounding what they are computed from costs accuracy and saves nothing.
    """
    readers = wires.readers.get(second.output[0], [])
    return bool(readers) and all(
        node.op_type in CUTTING_OFF or not wiring.part_of(node) for node in readers
    )


def _repeat(graph: onnx.GraphProto) -> None:
    """Let every operator that hands on rounded numbers be followed by a pair of the same scale.

    They are on its grid already, so this changes none.  But runtimes look for a pair directly
    before an operator that they could compute in int8, and after it.
    """
    wires = Wiring(graph)
    scales = {
        node.output[0]: node.input[1]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and source(node.output[0], wires) is not None
    }
    outputs = {output.name for output in graph.output}
    names: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        node.input[:] = [names.get(tensor, tensor) for tensor in node.input]
        nodes.append(node)
        if node.op_type not in HANDING_ON or not wiring.part_of(node):
            continue
        scale = scales.get(node.input[0])
        if scale is None:
            continue
        for tensor in node.output:
            if tensor and tensor not in outputs and _needs_pair(tensor, wires):
                pair = _pair(tensor, scale)
                nodes += pair
                names[tensor] = pair[1].output[0]
                scales[names[tensor]] = scale
    wiring.replace_nodes(graph, nodes)


def _needs_pair(tensor: str, wires: Wiring) -> bool:
    """Whether something reads the tensor that does not round it itself."""
    readers = wires.readers.get(tensor, [])
    return any(node.op_type != "QuantizeLinear" for node in readers)


def _keep(graph: onnx.GraphProto, patterns: Iterable[str]) -> None:
    """Let layers read tensors that are not rounded."""
    layers = quantized_layers(graph)
    kept, unknown = wiring.matching(patterns, layers)
    if unknown:
        raise FrcnnError(_unknown(unknown, layers))
    unrounded = Unrounded(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if wiring.layer_of(node) in kept and node.op_type not in pairs.HALVES:
            inputs = [unrounded(tensor) for tensor in node.input]
            nodes += unrounded.take_new()
            node.input[:] = inputs
        nodes.append(node)
    wiring.replace_nodes(graph, nodes)


def _unknown(patterns: list[str], layers: list[str]) -> str:
    lines = []
    for pattern in patterns:
        close = get_close_matches(pattern, layers, n=3, cutoff=0.4)
        lines.append(
            f"keep_float: no layer in int8 is called {pattern}"
            + (f"; did you mean {', '.join(close)}?" if close else ".")
        )
    return "\n".join(lines)


class Unrounded:
    """The tensors of a graph as they would be if no pair had rounded them on the way.

    What hands numbers on is computed once more, from numbers that are not rounded; these nodes are
    to be added before what reads them.
    """

    def __init__(self, graph: onnx.GraphProto):
        self._wires = Wiring(graph)
        self._known: dict[str, str] = {}
        self._new: list[onnx.NodeProto] = []

    def __call__(self, tensor: str) -> str:
        """The name of that tensor; the given one where nothing is rounded."""
        if tensor not in self._known:
            self._known[tensor] = self._found(tensor)
        return self._known[tensor]

    def take_new(self) -> list[onnx.NodeProto]:
        """Nodes that were made since the last time, in their order."""
        new, self._new = self._new, []
        return new

    def _found(self, tensor: str) -> str:
        rounded = source(tensor, self._wires)
        if rounded is not None:
            return self(rounded)
        maker = self._wires.makers.get(tensor)
        if maker is None or maker.op_type not in HANDING_ON or not wiring.part_of(maker):
            return tensor
        read = self(maker.input[0])
        if read == maker.input[0]:
            return tensor
        copy = onnx.NodeProto()
        copy.CopyFrom(maker)
        copy.name = f"{maker.name}_unrounded"
        copy.input[0] = read
        copy.output[:] = [f"{name}/unrounded" if name else "" for name in maker.output]
        self._new.append(copy)
        for name, fresh in zip(maker.output, copy.output, strict=True):
            self._known[name] = fresh
        return self._known[tensor]


def _quantize_kernels(graph: onnx.GraphProto, largest: Mapping[str, np.ndarray]) -> None:
    """Make int8 of the kernels of nodes that read a rounded tensor."""
    wires = Wiring(graph)
    rounded: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if _has_kernel(node, wires) and source(node.input[0], wires) is not None:
            axis, kernel = _output_axis(node, wires), node.input[1]
            if (kernel, axis) not in rounded:
                codes, scales = kernels.quantized(
                    wires.array(kernel), axis=axis, largest=largest.get(wiring.layer_of(node))
                )
                rounded[kernel, axis] = f"{kernel}/rounded"
                nodes.append(_dequantized(graph, kernel, codes, scales, axis=axis))
            node.input[1] = rounded[kernel, axis]
        nodes.append(node)
    wiring.replace_nodes(graph, nodes)


def _has_kernel(node: onnx.NodeProto, wires: Wiring) -> bool:
    return node.op_type in HAS_KERNEL and node.input[1] in wires.constants


def _output_axis(node: onnx.NodeProto, wires: Wiring) -> int:
    """Of its kernel, the axis of the output channels."""
    if node.op_type == "Conv":
        return 0
    transposed = any(given.name == "transB" and given.i for given in node.attribute)
    return 0 if transposed else len(wires.constants[node.input[1]].dims) - 1


def _dequantized(
    graph: onnx.GraphProto,
    kernel: str,
    codes: np.ndarray,
    scales: np.ndarray,
    *,
    axis: int,
) -> onnx.NodeProto:
    """The node that makes a kernel of its codes, which become constants of the graph."""
    names = [f"{kernel}/int8", f"{kernel}/scale", f"{kernel}/zero"]
    for name, value in zip(names, (codes, scales, np.zeros(len(scales), np.int8)), strict=True):
        graph.initializer.append(numpy_helper.from_array(value, name))
    return helper.make_node(
        "DequantizeLinear", names, [f"{kernel}/rounded"], f"{kernel}/DequantizeLinear", axis=axis
    )
