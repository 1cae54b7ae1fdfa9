"""Keeps OpenVINO from moving the scales of int8 to where they do not belong."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as operations


def keep_in_place(graph: openvino.Model) -> None:
    """Puts an operator that changes nothing before each reshape of what the head makes.

    The scales of the head's last layers differ by channel.  OpenVINO would apply them after the
    reshape (B*P, 4K) to (B, P, K, 4), and takes P for the channels there, since B*P and B are both
    unknown.  It moves no scale past a minimum.
    """
    for reshape in graph.get_ops():
        if reshape.get_type_name() != "Reshape":
            continue
        read = reshape.input_value(0)
        if _part(reshape) == "detection" and _part(read.get_node()) == "head":
            same = operations.minimum(read, operations.constant(np.finfo(np.float32).max))
            reshape.input(0).replace_source_output(same.output(0))


def _part(node: openvino.Node) -> str:
    return node.get_friendly_name().split("/")[0]
