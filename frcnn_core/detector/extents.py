"""Which cells of a map are an image's own, where a batch pads images of different sizes.

With a dynamic shape each image comes on a *canvas*: its size, rounded up to whole cells of the
feature map (``frcnn_core.detector.canvas``).  A batch pads canvases further, to the largest, with
what belongs to no image.  For an image to get the same answer in every batch, no own cell may be
computed from what is beyond (``frcnn_core.detector.canvases``).

``follow`` finds for every tensor of a graph how many of its cells are own.  Canvases are multiples
of 16 and strides divide 16, so that is canvas / stride + offset, with two numbers that follow from
the graph alone.  Layers pad alike on every canvas, then, and on that of the batch.

What a layer does to cells is known for the types listed here and for no other; not even for their
subclasses, which may compute anything.  ``frcnn_core.detector.folding`` runs graphs by these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import keras
import tensorflow as tf
from keras import layers
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses
from keras.src.ops.node import Node

from frcnn_core.detector import graphs
from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.quantized_layers import (
    FakeQuantize,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)
from frcnn_core.detector.stride import STRIDE


class Obstacle(Exception):
    """What a layer does to cells is not known; the message names it and says why."""


@dataclass(frozen=True)
class Extent:
    """How many cells of a map are an image's own, (y, x): its canvas / stride + offset."""

    stride: tuple[int, int] = (1, 1)
    """Canvas pixels per cell; divides 16."""
    offset: tuple[int, int] = (0, 0)
    """Cells that padding added, or that were cut off."""

    def cells(self, canvases: tf.Tensor) -> tf.Tensor:
        """(B, 2) int32 cells of images on canvases (B, 2)."""
        return tf.maximum(canvases // self.stride + self.offset, 0)


IMAGES = Extent()
"""What is own of images: all of the canvas."""
FEATURE_MAP = Extent((STRIDE, STRIDE))
"""What is own of the map that a backbone makes of images."""


def follow(
    graph: keras.Model, extent: Extent = IMAGES, *, path: str = ""
) -> dict[int, Extent | None]:
    """The extent of every tensor of a graph, by id; None for those without any padding, such as
    averages over a whole map.

    Args:
        graph: a functional model of one input (B, h, w, C).
        extent: of its input.
        path: put before the names of its layers in messages.

    Raises:
        Obstacle: a layer is not known, or looks at cells in a way that is not.
    """
    if len(graph.inputs) != 1:
        raise Obstacle(f"{path or graph.name} has several inputs")
    found: dict[int, Extent | None] = {id(graph.inputs[0]): extent}
    for node in graphs.nodes(graph):
        sources = [found[id(tensor)] for tensor in node.input_tensors]
        name = f"{path}{node.operation.name}"
        for tensor, result in zip(node.outputs, _through(node, name, sources), strict=True):
            found[id(tensor)] = result
    return found


class Window(NamedTuple):
    """What a layer looks at along one axis for one cell of its output."""

    size: int
    """Cells from the first to the last."""
    stride: int
    same: bool
    """Whether it pads, so that it has ceil(cells / stride) outputs."""

    def offset(self, offset: int) -> int:
        """Of the output, given that of an input whose other part is a multiple of the stride."""
        if self.same:
            return -(-offset // self.stride)
        return (offset - self.size) // self.stride + 1

    def reach(self, offset: int) -> int:
        """Cells after the last own one that own outputs look at."""
        if not self.same:
            return 0
        padding = max(self.size - (offset % self.stride or self.stride), 0)
        return padding - padding // 2  # TensorFlow puts the odd one last


def windows(layer: keras.Layer) -> list[Window]:
    """Along y and x."""
    size = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return [
        Window((k - 1) * d + 1, s, layer.padding == "same")
        for k, d, s in zip(size, dilation, layer.strides, strict=True)
    ]


def _through(node: Node, name: str, sources: Sequence[Extent | None]) -> list[Extent | None]:
    """Extents of a node's outputs, given those of its inputs."""
    layer = node.operation
    if not any(sources):
        return [None] * len(node.outputs)  # whatever it does, there is no padding
    kind = f"{name} ({type(layer).__name__})"
    if len(sources) != len(keras.tree.flatten(node.arguments.args)):
        raise Obstacle(f"{kind} is called with more than tensors")
    if type(layer) is Functional:
        (source,) = cast("Sequence[Extent]", sources)  # some has an extent, and there is one
        inner = follow(layer, source, path=f"{name}/")
        return [inner[id(tensor)] for tensor in layer.outputs]
    if type(layer) not in _RULES:
        raise Obstacle(f"{kind} is a layer of a kind that frcnn does not know")
    if getattr(layer, "data_format", None) == "channels_first":
        raise Obstacle(f"{kind} has its channels first")
    if not _acts_per_cell(getattr(layer, "activation", None)):
        raise Obstacle(f"{kind} has an activation that frcnn does not know")
    try:
        return [_RULES[type(layer)](node, sources)]
    except Obstacle as obstacle:
        raise Obstacle(f"{kind} {obstacle}") from None


def _acts_per_cell(activation: Callable | None) -> bool:
    """Whether it is one of Keras's, which look at the channels of one cell at most."""
    module = getattr(activation, "__module__", "")
    return activation is None or module.startswith("keras.src.activations")


def _windowed(node: Node, sources: Sequence[Extent]) -> Extent:
    (source,), axes = sources, windows(node.operation)
    y, x = (s * w.stride for s, w in zip(source.stride, axes, strict=True))
    stride = y, x
    if any(STRIDE % s for s in stride):
        raise Obstacle(f"makes a cell of {stride[0]} x {stride[1]} pixels, which do not divide 16")
    y, x = (w.offset(o) for w, o in zip(axes, source.offset, strict=True))
    return Extent(stride, (y, x))


def _padded(node: Node, sources: Sequence[Extent]) -> Extent:
    (source,) = sources
    added = [before + after for before, after in node.operation.padding]
    return Extent(source.stride, _sum(source.offset, added))


def _cropped(node: Node, sources: Sequence[Extent]) -> Extent:
    (source,) = sources
    lost = [-before - after for before, after in node.operation.cropping]
    return Extent(source.stride, _sum(source.offset, lost))


def _enlarged(node: Node, sources: Sequence[Extent]) -> Extent:
    (source,), layer = sources, node.operation
    if layer.interpolation != "nearest":
        raise Obstacle("interpolates between cells")
    if any(s % f for s, f in zip(source.stride, layer.size, strict=True)):
        raise Obstacle("makes more cells than there are pixels")
    return Extent(
        tuple(s // f for s, f in zip(source.stride, layer.size, strict=True)),
        tuple(o * f for o, f in zip(source.offset, layer.size, strict=True)),
    )


def _kept(node: Node, sources: Sequence[Extent]) -> Extent:
    (source,) = sources
    return source


def _normalized(node: Node, sources: Sequence[Extent]) -> Extent:
    if node.operation.axis not in (-1, 3):
        raise Obstacle("does not normalize by channel")
    return _kept(node, sources)


def _pooled(node: Node, sources: Sequence[Extent]) -> None:
    return None


def _joined(node: Node, sources: Sequence[Extent | None]) -> Extent:
    """Cell by cell; what has no padding belongs to every cell alike."""
    maps = [source for source in sources if source]
    if any(source != maps[0] for source in maps):
        raise Obstacle("joins maps whose cells do not correspond")
    for tensor, source in zip(node.input_tensors, sources, strict=True):
        if source is None and any(side != 1 for side in tensor.shape[1:-1]):
            raise Obstacle("joins a map with one of a fixed size")
    return maps[0]


def _side_by_side(node: Node, sources: Sequence[Extent]) -> Extent:
    if node.operation.axis not in (-1, 3):
        raise Obstacle("puts maps beside each other, not their channels")
    if not all(sources):
        raise Obstacle("joins a map with one of a fixed size")
    return _joined(node, sources)


def _sum(some: Sequence[int], others: Sequence[int]) -> tuple[int, int]:
    y, x = (one + other for one, other in zip(some, others, strict=True))
    return y, x


_RULES: dict[type, Callable[..., Extent | None]] = {
    **dict.fromkeys(
        (
            QuantizedConv2D,
            QuantizedDepthwiseConv2D,
            layers.AveragePooling2D,
            layers.Conv2D,
            layers.DepthwiseConv2D,
            layers.MaxPooling2D,
            layers.SeparableConv2D,
        ),
        _windowed,
    ),
    **dict.fromkeys((layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D), _pooled),
    **dict.fromkeys(
        (
            FakeQuantize,
            QuantizedDense,
            layers.Activation,
            layers.Dense,
            layers.Dropout,
            layers.ELU,
            layers.Identity,
            layers.LeakyReLU,
            layers.ReLU,
            layers.Rescaling,
            layers.SpatialDropout2D,
        ),
        _kept,
    ),
    **dict.fromkeys((layers.BatchNormalization, BatchNormalization), _normalized),
    **dict.fromkeys(
        (
            layers.Add,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            layers.Multiply,
            layers.Subtract,
        ),
        _joined,
    ),
    layers.Concatenate: _side_by_side,
    layers.Cropping2D: _cropped,
    layers.UpSampling2D: _enlarged,
    layers.ZeroPadding2D: _padded,
}
"""What layers of these types do to cells, and of no other type."""
