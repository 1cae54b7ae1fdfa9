"""An int8 graph as ONNX Runtime's CPU kernels want it: with unsigned codes.

TensorRT takes only int8 with zero point 0 (``frcnn_onnx.int8.insertion``).  There the negative half
of the codes of a ReLU is never used, and ONNX Runtime computes a convolution, its ReLU and their
rounding as one only where rounding itself cuts off what is negative: unsigned, with zero point 0.
Otherwise it computes in floating point and is slower than without int8.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from frcnn_onnx import wiring
from frcnn_onnx.int8 import pairs
from frcnn_onnx.wiring import Wiring

FROM_ZERO, IN_THE_MIDDLE = "uint8_zero", "uint8_middle"
_ZEROS = {FROM_ZERO: 0, IN_THE_MIDDLE: 128}


def fitted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same detector with unsigned codes of tensors; ``proto`` stays as it is.

    Scales stay.  What a ReLU makes has zero point 0, so its codes 0 to 127 mean what they meant;
    values beyond its range are cut off at twice the range, not at the range.  Everything else has
    zero point 128 and the same numbers as before.  A graph without int8 comes back unchanged.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    wires = Wiring(result.graph)
    zeros: dict[str, str] = {}
    for node in result.graph.node:
        if node.op_type == "QuantizeLinear" and _is_int8(node, wires):
            not_negative = wires.made_by(node.input[0], "Relu") or _hands_on(node, wires, zeros)
            node.input[2] = zeros[node.output[0]] = FROM_ZERO if not_negative else IN_THE_MIDDLE
        elif node.op_type == "DequantizeLinear" and node.input[0] in zeros:
            node.input[2] = zeros[node.input[0]]
    if zeros:
        result.graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.uint8), name)
            for name, value in _ZEROS.items()
        )
        wiring.remove_unread(result.graph)
    return result


def _is_int8(node: onnx.NodeProto, wires: Wiring) -> bool:
    zero = node.input[2] if len(node.input) > 2 else ""
    return zero in wires.constants and wires.constants[zero].data_type == onnx.TensorProto.INT8


def _hands_on(node: onnx.NodeProto, wires: Wiring, zeros: dict[str, str]) -> bool:
    """Whether a QuantizeLinear rounds what is handed on of tensors with codes from zero."""
    maker = wires.makers.get(node.input[0])
    if maker is None:
        return False
    if maker.op_type == "Concat":
        handed_on = list(maker.input)
    elif maker.op_type in wiring.HANDING_ON:
        handed_on = [maker.input[0]]
    else:
        return False
    seconds = [wires.made_by(tensor, pairs.HALVES[1]) for tensor in handed_on]
    return all(second and zeros.get(second.input[0]) == FROM_ZERO for second in seconds)
