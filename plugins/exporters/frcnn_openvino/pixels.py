"""The detector within a representation that has its preprocessing in it."""

from __future__ import annotations

import openvino
from openvino import opset13 as operations

from frcnn_core.data import Preprocessing
from frcnn_onnx.joined import IMAGES, SIZES
from frcnn_onnx.pixels import NETWORK


def detach(graph: openvino.Model, preprocessing: Preprocessing) -> openvino.Model:
    """The part of ``graph`` that takes preprocessed images, as ``frcnn_onnx.pixels.detach``."""
    tensors = {
        name: port for node in graph.get_ops() for port in node.outputs() for name in port.names
    }
    batch = graph.input(0).partial_shape[0]
    height, width, channels = preprocessing.shape
    shapes = {
        IMAGES: [batch, channels, height or -1, width or -1],
        SIZES: [batch, 2],
    }
    inputs = []
    for name, shape in shapes.items():
        if name not in tensors:
            continue
        given = operations.parameter(openvino.PartialShape(shape), openvino.Type.f32, name)
        given.output(0).set_names({name})
        for reader in tensors[name].get_target_inputs():
            reader.replace_source_output(given.output(0))
        inputs.append(given)
    outputs = []
    for output in graph.outputs:
        inner = [tensors[NETWORK + name] for name in output.names if NETWORK + name in tensors]
        port = inner[0] if inner else output.node.input_value(0)
        port.add_names(output.names)
        outputs.append(port)
    return openvino.Model(outputs, inputs, graph.get_friendly_name())
