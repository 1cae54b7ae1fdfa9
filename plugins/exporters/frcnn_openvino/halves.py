"""Weights in 16 bits."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as operations

from frcnn_core.model_files import PARTS

_LARGEST = float(np.finfo(np.float16).max)


def store_in_halves(graph: openvino.Model) -> None:
    """Makes the weights of a detector float16 in place; it computes with them as before.

    The constants between the parts, such as anchors, stay float32.  OpenVINO's own compression
    (``compress_to_fp16``) takes them too.
    """
    for constant in graph.get_ops():
        if constant.get_type_name() != "Constant" or not _is_weight(constant):
            continue
        values = constant.data
        if values.size == 0 or np.abs(values).max() > _LARGEST:
            continue
        halves = operations.constant(values.astype(np.float16), name=constant.get_friendly_name())
        whole = operations.convert(halves, "f32").output(0)
        for reader in constant.output(0).get_target_inputs():
            reader.replace_source_output(whole)


def _is_weight(constant: openvino.Node) -> bool:
    part = constant.get_friendly_name().split("/")[0]
    return part in PARTS and constant.get_element_type() == openvino.Type.f32
