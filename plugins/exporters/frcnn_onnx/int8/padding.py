"""Padding as part of the convolutions and max pools that read it."""

from __future__ import annotations

import onnx
from onnx import helper

from frcnn_onnx import wiring
from frcnn_onnx.int8 import pairs
from frcnn_onnx.wiring import Wiring


def absorb(graph: onnx.GraphProto) -> None:
    """Let convolutions and max pools pad with zeros what a node pads before them now.

    A padding of its own is a pass over the map, and runtimes have none for int8.  One stays where
    it is read by something else, or does not pad height and width with zeros.  Max pools pad with
    what is less than any number, which is the same where no number is negative.
    """
    wires = Wiring(graph)
    outputs = {output.name for output in graph.output}
    absorbed: set[str] = set()
    for node in graph.node:
        readers = wires.readers.get(node.output[0], [])
        if node.op_type != "Pad" or node.output[0] in outputs or not readers:
            continue
        pads = _pads(node, wires)
        able = {"Conv", "MaxPool"} if _is_not_negative(node.input[0], wires) else {"Conv"}
        if pads is None or not all(
            reader.op_type in able and _pads_itself(reader, node.output[0]) for reader in readers
        ):
            continue
        for reader in readers:
            own = next((list(a.ints) for a in reader.attribute if a.name == "pads"), [0] * 4)
            others = [given for given in reader.attribute if given.name not in ("pads", "auto_pad")]
            del reader.attribute[:]
            reader.attribute.extend(others)
            sums = [one + other for one, other in zip(own, pads, strict=True)]
            reader.attribute.append(helper.make_attribute("pads", sums))
            reader.input[0] = node.input[0]
        absorbed.add(node.output[0])
    wiring.replace_nodes(graph, [node for node in graph.node if node.output[0] not in absorbed])


def _pads(node: onnx.NodeProto, wires: Wiring) -> list[int] | None:
    """(top, left, bottom, right) in pixels; None where it is not just that, or not zeros."""
    mode = next((given.s for given in node.attribute if given.name == "mode"), b"constant")
    constants = [name for name in node.input[1:] if name]
    if mode != b"constant" or any(name not in wires.constants for name in constants):
        return None
    if (len(constants) > 1 and wires.array(constants[1]).any()) or len(constants) > 2:
        return None
    pads = wires.array(constants[0]).tolist()
    if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or min(pads) < 0:
        return None
    return [pads[2], pads[3], pads[6], pads[7]]


def _pads_itself(node: onnx.NodeProto, tensor: str) -> bool:
    """Whether it is an operator over the tensor whose pads, if it has any, are numbers."""
    automatic = next((given.s for given in node.attribute if given.name == "auto_pad"), b"NOTSET")
    return node.input[0] == tensor and tensor not in node.input[1:] and automatic == b"NOTSET"


def _is_not_negative(tensor: str, wires: Wiring) -> bool:
    """Whether a tensor is, by what makes it, nowhere less than zero."""
    node = wires.makers.get(tensor)
    if node is None:
        return False
    if node.op_type in ("Relu", "Sigmoid"):
        return True
    if node.op_type == "Concat":
        return all(_is_not_negative(name, wires) for name in node.input)
    hands_on = node.op_type in wiring.HANDING_ON or node.op_type in pairs.HALVES
    return hands_on and _is_not_negative(node.input[0], wires)
