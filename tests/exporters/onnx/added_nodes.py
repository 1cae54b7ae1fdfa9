"""A model of nothing but the nodes that a test has added to a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from frcnn_onnx.graph import Graph, Tensor


def model_of(
    graph: Graph, results: Sequence[Tensor], inputs: Mapping[str, np.ndarray]
) -> onnx.ModelProto:
    """The graph as a model, whose outputs are ``results`` in their order."""
    names = [f"result_{i}" for i in range(len(results))]
    for name, result in zip(names, results, strict=True):
        graph.add("Identity", result, results=[name])
    proto = helper.make_graph(
        graph.nodes,
        "test",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in names],
        graph.initializers,
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
