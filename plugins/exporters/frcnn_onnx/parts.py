"""The three Keras graphs of a detector as ONNX graphs, channels first.

tf2onnx converts them; what is done here is what it does not know: that a batch may have any size,
what the layers are called, and which of its outputs are which.

Tensors and nodes get the name of their layer, ``part/layer/operation``, so that ranges, costs and
errors can be told by layer.  Convolutions include their batch normalization (folding.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import onnx
import tensorflow as tf

from frcnn_core import folding
from frcnn_core.errors import FrcnnError
from frcnn_core.quantized_layers import FakeQuantize

IMAGES = "images"
"""Input of a part while it is converted."""

Mark = Callable[[keras.Layer, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Part:
    """A graph of one input, its names already under ``part/``."""

    graph: onnx.GraphProto
    input: str
    """Name of the tensor it reads: images, feature map or crops, (N, C, H, W)."""
    outputs: tuple[str, ...]
    """Names of what it makes: maps (N, C, h, w), or rows (N, ...) of the head, as the part's
    outputs are ordered."""


def convert(
    parts: Mapping[str, keras.Model],
    *,
    height: int | None,
    width: int | None,
    opset: int,
    mark: Mark | None = None,
) -> dict[str, Part]:
    """ONNX graphs by the name of the part.

    Args:
        parts: ``features``, ``rpn`` and ``head`` (``FasterRCNN.parts``), or some of them.
        height, width: of the images in pixels; None for any.
        opset: of ONNX.
        mark: what becomes of a tensor that is fake-quantized; without, nothing, and the graph
            computes in floating point.

    Raises:
        FrcnnError: a layer cannot be expressed in ONNX; the message says which.
    """
    return {
        name: _convert(name, part, (height, width), opset, mark or _unchanged)
        for name, part in parts.items()
    }


def _unchanged(layer: keras.Layer, tensor: tf.Tensor) -> tf.Tensor:
    return tensor


def _convert(
    name: str, part: keras.Model, size: tuple[int | None, int | None], opset: int, mark: Mark
) -> Part:
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = list(part.inputs[0].shape)
    shape[0] = None
    if name == "features":
        shape[1:3] = size
    signature = [tf.TensorSpec(shape, tf.float32, name=IMAGES)]

    @tf.function(input_signature=signature, autograph=False)
    def run(images):
        return folding.run(part, images, training=False, instead={FakeQuantize: mark})

    outputs = run.get_concrete_function().outputs
    try:
        proto, _ = tf2onnx.convert.from_function(
            run,
            input_signature=signature,
            opset=opset,
            inputs_as_nchw=[IMAGES],
            outputs_as_nchw=[output.name for output in outputs if output.shape.rank == 4] or None,
        )
    except Exception as error:  # tf2onnx raises whatever it stumbles over
        raise FrcnnError(f"The part {name} cannot be converted to ONNX: {error}") from error
    unknown = sorted(
        {node.op_type for node in proto.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if unknown:
        raise FrcnnError(
            f"The part {name} has operations that ONNX does not: {', '.join(unknown)}. They come "
            "from a layer of a kind that no backbone of frcnn uses."
        )
    return _named(name, proto.graph, [output.name for output in outputs])


def _named(part: str, graph: onnx.GraphProto, outputs: list[str]) -> Part:
    """The graph with all names under ``part/``."""
    fresh: dict[str, str] = {"": ""}
    taken: set[str] = set()

    def name(old: str) -> str:
        if old not in fresh:
            short = f"{part}/{_short(old)}"
            found, number = short, 1
            while found in taken:
                number += 1
                found = f"{short}_{number}"
            taken.add(found)
            fresh[old] = found
        return fresh[old]

    for node in graph.node:
        node.name = f"{part}/{_short(node.name)}"
        node.input[:] = [name(tensor) for tensor in node.input]
        node.output[:] = [name(tensor) for tensor in node.output]
    for tensor in graph.initializer:
        tensor.name = name(tensor.name)
    del graph.value_info[:]
    return Part(graph, name(graph.input[0].name), tuple(name(output) for output in outputs))


def _short(name: str) -> str:
    """Without what TensorFlow and tf2onnx add: ``relu/relu_1/Relu:0`` is ``relu/Relu``."""
    name = re.sub(r":0$", "", name)
    return re.sub(r"(^|/)([^/]+)/\2(_\d+)?/", r"\1\2/", name)
