"""Preprocessing as a part of the graph, so that it takes images as they are decoded.

The graph's input then is ``images`` (N, H0, W0, C) uint8, RGB or luma, of any size, which all
images of a batch share.  The numbers are those of ``Preprocessing.fit`` and ``normalize``
(``frcnn_core.data``), up to rounding.  Boxes are given in terms of these images: ``boxes``
in their pixels, the rows of ``NMS`` as fractions of their width and height.

What is added has ``pixels/`` before its name, and what was an input becomes a tensor under its old
name.  So the network can be had back as it was, for whoever has preprocessed images (``detach``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from frcnn_core.data import Preprocessing
from frcnn_core.detector import STRIDE
from frcnn_onnx import metadata
from frcnn_onnx.graph import Graph, Tensor
from frcnn_onnx.joined import IMAGES, SIZES

PIXELS = "images"
"""Input (N, H0, W0, C) uint8, RGB or luma, as decoded."""

NETWORK = "pixels/network/"
"""Before the name of an output of the network whose boxes are still in terms of its input."""

_PREFIX = "pixels"
_BOXES = ("boxes", "NMS")
"""Outputs with boxes in them."""


def embed(proto: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """The detector with ``preprocessing`` before it.

    Args:
        proto: from ``build``.  Where images are padded it needs ``OnnxOptions.image_sizes``, to be
            told which part of an image is none of that.
        preprocessing: of the model that ``proto`` was built from.
    """
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    inputs = {given.name: given for given in proto.graph.input}

    graph = Graph(_PREFIX)
    images = graph.tensor(PIXELS)
    fitted = _fit(images, preprocessing)
    _normalize(fitted.images, preprocessing)
    if SIZES in inputs:
        count = graph.add("Shape", images, start=0, end=1)
        shape = graph.add("Concat", count, np.array([2], np.int64), axis=0)
        graph.add("Expand", fitted.size, shape, results=[SIZES])
    before = list(graph.nodes)
    _in_terms_of_images(made.graph, fitted, preprocessing)

    nodes = [*before, *made.graph.node, *graph.nodes[len(before) :]]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(graph.initializers)
    made.graph.value_info.extend(made.graph.input)
    del made.graph.input[:]
    made.graph.input.append(_input(inputs[IMAGES], preprocessing.channels))
    _say(made, embedded=True)
    onnx.checker.check_model(made)
    return made


def detach(proto: onnx.ModelProto) -> onnx.ModelProto:
    """What ``embed`` was given: the detector that takes preprocessed images."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    nodes = [node for node in graph.node if not _is_added(node.name)]
    for node in nodes:
        node.output[:] = [name.removeprefix(NETWORK) for name in node.output]
    constants = [tensor for tensor in graph.initializer if not _is_added(tensor.name)]
    inputs = [info for info in graph.value_info if info.name in (IMAGES, SIZES)]
    others = [info for info in graph.value_info if info.name not in (IMAGES, SIZES)]
    fields: tuple[tuple[Any, list[Any]], ...] = (
        (graph.node, nodes),
        (graph.initializer, constants),
        (graph.input, inputs),
        (graph.value_info, others),
    )
    for field, values in fields:
        del field[:]
        field.extend(values)
    _say(made, embedded=False)
    return made


@dataclass(frozen=True)
class _Fitted:
    """Images as the network needs them but for their normalization, and sizes (2,) float32, height
    and width in pixels; as ``Preprocessing.fit``."""

    images: Tensor
    """(N, C, H, W) float32 in 0..255."""
    canvas: Tensor
    """H and W."""
    size: Tensor
    """Of what is no padding."""
    original: Tensor
    """H0 and W0."""


def _fit(images: Tensor, preprocessing: Preprocessing) -> _Fitted:
    graph = images.graph
    original = graph.add("Shape", images, start=1, end=3)
    images = images.transpose(0, 3, 1, 2)
    if preprocessing.is_dynamic:
        size = _dynamic_size(original, preprocessing)
        cells = graph.add("Div", size + np.int64(STRIDE - 1), np.int64(STRIDE))
        canvas = graph.add("Mul", cells, np.int64(STRIDE))
        fitted = _pad(_resize(images, size), size, canvas)
    else:
        fixed = np.array([preprocessing.height, preprocessing.width], np.int64)
        canvas = graph.add("Identity", fixed)
        if preprocessing.resize:
            size, fitted = canvas, _resize(images, canvas)
        else:
            size = graph.add("Min", original, canvas)
            axes = np.array([2, 3], np.int64)
            cut = graph.add("Slice", images, np.zeros(2, np.int64), size, axes)
            fitted = _pad(cut.cast(np.float32), size, canvas)
    return _Fitted(fitted, *(pair.cast(np.float32) for pair in (canvas, size, original)))


def _dynamic_size(original: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(2,) int64; as ``preprocessing.dynamic_size``, in whole numbers."""
    graph = original.graph
    short, long = (graph.add(op, original, keepdims=1) for op in ("ReduceMin", "ReduceMax"))
    sides = [
        graph.add("Div", original * np.int64(target), side)
        for target, side in ((preprocessing.min_side, short), (preprocessing.max_side, long))
    ]
    return graph.add("Max", graph.add("Min", *sides), np.int64(1))


def _resize(images: Tensor, size: Tensor) -> Tensor:
    """Bilinear, with half-pixel centres and no antialiasing."""
    graph = images.graph
    outer = graph.add("Shape", images, start=0, end=2)
    return graph.add(
        "Resize",
        images.cast(np.float32),
        None,
        None,
        graph.add("Concat", outer, size, axis=0),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _pad(images: Tensor, size: Tensor, canvas: Tensor) -> Tensor:
    """Black at right and bottom."""
    graph = images.graph
    amounts = graph.add("Concat", np.zeros(6, np.int64), canvas - size, axis=0)
    return graph.add("Pad", images, amounts, 0.0)


def _normalize(pixels: Tensor, preprocessing: Preprocessing) -> None:
    """The tensor ``input_image``; as ``Preprocessing.normalize``."""
    graph = pixels.graph
    means = np.array(preprocessing.means, np.float32)
    if preprocessing.channel_order == "bgr":
        pixels = graph.add("Gather", pixels, np.array([2, 1, 0], np.int64), axis=1)
        means = means[::-1]
    centred = pixels - means[:, None, None]
    graph.add("Mul", centred, np.float32(1.0 / preprocessing.scale), results=[IMAGES])


def _in_terms_of_images(
    network: onnx.GraphProto, fitted: _Fitted, preprocessing: Preprocessing
) -> None:
    """Boxes of ``network``'s output, which gets another name, in terms of the given images."""
    graph = fitted.original.graph
    name = next(output.name for output in network.output if output.name in _BOXES)
    stretched = preprocessing.resize and not preprocessing.is_dynamic
    scaled = preprocessing.resize or preprocessing.is_dynamic
    if name == "boxes" and scaled:
        factors = graph.add("Tile", fitted.original / fitted.size, np.array([2], np.int64))
    elif name == "NMS" and not stretched:
        factor = fitted.canvas / (fitted.size if scaled else fitted.original)
        factor = graph.add("Gather", factor, np.array([1, 0], np.int64), axis=0)  # x, y
        factors = graph.add("Concat", np.ones(3, np.float32), factor, factor, axis=0)
    else:
        return  # they are already
    inner = NETWORK + name
    for node in network.node:
        node.output[:] = [inner if output == name else output for output in node.output]
    graph.add("Mul", graph.tensor(inner), factors, results=[name])


def _input(images: onnx.ValueInfoProto, channels: int) -> onnx.ValueInfoProto:
    """``images``, of as many as the network's input has."""
    batch = images.type.tensor_type.shape.dim[0]
    dims = [batch.dim_value or batch.dim_param, "height", "width", channels]
    return helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, dims)


def _is_added(name: str) -> bool:
    return name.startswith(f"{_PREFIX}/")


def _say(proto: onnx.ModelProto, *, embedded: bool) -> None:
    said = metadata.of_proto(proto, "the ONNX model")
    metadata.write(proto, dataclasses.replace(said, embedded_preprocessing=embedded))
