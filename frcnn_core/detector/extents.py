"""Which cells of a map are an image's own, where a batch pads images of different sizes.

With a dynamic shape each image comes on a *canvas*: its size, rounded up to whole cells of the
feature map (``preprocessing.canvas``).  A batch pads canvases further, to the largest, with what
belongs to no image.  For an image to get the same answer in every batch, whatever looks at the
neighbours of a cell has to see beyond the image's own cells what it would see if the image were
alone: zeros or nothing, as the layer's padding says.  What the cells beyond hold elsewhere does not
matter, so they are left to themselves.

``follow`` finds for every tensor of a graph how many of its cells are own.  Canvases are multiples
of 16 and strides divide 16, so that is canvas / stride + offset, with two numbers that follow from
the graph alone.  Layers pad alike on every canvas, then, and on that of the batch.

What a layer does to cells is known for the types listed here and for no other; not even for their
subclasses, which may compute anything.  ``frcnn_core.detector.folding`` runs graphs by these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

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


class Canvases:
    """The canvases of a batch, and what is own of the maps made of it.

    Args:
        sizes: (B, 2) int32 height and width of each image's canvas, multiples of 16.  The images
            of the batch are as large as the largest of them, or larger by a multiple of 16.
    """

    def __init__(self, sizes: tf.Tensor):
        self.sizes = sizes
        self._own: dict[Extent, tf.Tensor] = {}

    def own(self, maps: tf.Tensor, extent: Extent) -> tf.Tensor:
        """(B, h, w) bool: which cells of maps (B, h, w, C) are their image's own."""
        if extent not in self._own:
            cells, shape = extent.cells(self.sizes), tf.shape(maps)
            rows = tf.range(shape[1]) < cells[:, :1]  # (B, h)
            columns = tf.range(shape[2]) < cells[:, 1:]  # (B, w)
            self._own[extent] = rows[:, :, None] & columns[:, None, :]
        return self._own[extent]

    def zeroed(self, maps: tf.Tensor, extent: Extent) -> tf.Tensor:
        """The maps with zeros in place of what is not own."""
        return self._filled(maps, extent, 0)

    def lowered(self, maps: tf.Tensor, extent: Extent) -> tf.Tensor:
        """The maps with the lowest number there is in place of what is not own."""
        return self._filled(maps, extent, maps.dtype.min)

    def _filled(self, maps: tf.Tensor, extent: Extent, fill: float) -> tf.Tensor:
        # Not a product with a mask: what is beyond may be infinite, and 0 times infinity is no
        # number.
        return tf.where(self.own(maps, extent)[..., None], maps, tf.cast(fill, maps.dtype))


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


def call(layer: keras.Layer, maps: Any, extent: Extent, canvases: Canvases, **kwargs: Any) -> Any:
    """``layer(maps, **kwargs)``, with own results as if each image were alone.

    Args:
        layer: of a type that ``follow`` knows.
        maps: (B, h, w, C), or a list of tensors for layers that join several.
        extent: of the maps.
        kwargs: for the layer's call.
    """
    treat = _TREATMENTS.get(type(layer))
    if treat is None:
        return layer(maps, **kwargs)
    return treat(layer, maps, extent, canvases, **kwargs)


def seen(layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases) -> tf.Tensor:
    """What a convolution has to read in place of its input."""
    return canvases.zeroed(maps, extent) if _reaches_beyond(layer, extent) else maps


# How many cells are own ---------------------------------------------------------------------


def _through(node, name: str, sources: Sequence[Extent | None]) -> list[Extent | None]:
    """Extents of a node's outputs, given those of its inputs."""
    layer = node.operation
    if not any(sources):
        return [None] * len(node.outputs)  # whatever it does, there is no padding
    kind = f"{name} ({type(layer).__name__})"
    if len(sources) != len(keras.tree.flatten(node.arguments.args)):
        raise Obstacle(f"{kind} is called with more than tensors")
    if type(layer) is Functional:
        inner = follow(layer, sources[0], path=f"{name}/")
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


class _Window(NamedTuple):
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


def _windows(layer: keras.Layer) -> list[_Window]:
    """Along y and x."""
    size = getattr(layer, "kernel_size", None) or layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return [
        _Window((k - 1) * d + 1, s, layer.padding == "same")
        for k, d, s in zip(size, dilation, layer.strides, strict=True)
    ]


def _reaches_beyond(layer: keras.Layer, extent: Extent) -> bool:
    pairs = zip(_windows(layer), extent.offset, strict=True)
    return any(window.reach(offset) for window, offset in pairs)


def _windowed(node, sources) -> Extent:
    (source,), windows = sources, _windows(node.operation)
    stride = tuple(s * w.stride for s, w in zip(source.stride, windows, strict=True))
    if any(STRIDE % s for s in stride):
        raise Obstacle(f"makes a cell of {stride[0]} x {stride[1]} pixels, which do not divide 16")
    offset = tuple(w.offset(o) for w, o in zip(windows, source.offset, strict=True))
    return Extent(stride, offset)


def _padded(node, sources) -> Extent:
    (source,) = sources
    added = [before + after for before, after in node.operation.padding]
    return Extent(source.stride, _sum(source.offset, added))


def _cropped(node, sources) -> Extent:
    (source,) = sources
    lost = [-before - after for before, after in node.operation.cropping]
    return Extent(source.stride, _sum(source.offset, lost))


def _enlarged(node, sources) -> Extent:
    (source,), layer = sources, node.operation
    if layer.interpolation != "nearest":
        raise Obstacle("interpolates between cells")
    if any(s % f for s, f in zip(source.stride, layer.size, strict=True)):
        raise Obstacle("makes more cells than there are pixels")
    return Extent(
        tuple(s // f for s, f in zip(source.stride, layer.size, strict=True)),
        tuple(o * f for o, f in zip(source.offset, layer.size, strict=True)),
    )


def _kept(node, sources) -> Extent:
    (source,) = sources
    return source


def _normalized(node, sources) -> Extent:
    if node.operation.axis not in (-1, 3):
        raise Obstacle("does not normalize by channel")
    return _kept(node, sources)


def _pooled(node, sources) -> None:
    return None


def _joined(node, sources) -> Extent:
    """Cell by cell; what has no padding belongs to every cell alike."""
    maps = [source for source in sources if source]
    if any(source != maps[0] for source in maps):
        raise Obstacle("joins maps whose cells do not correspond")
    for tensor, source in zip(node.input_tensors, sources, strict=True):
        if source is None and any(side != 1 for side in tensor.shape[1:-1]):
            raise Obstacle("joins a map with one of a fixed size")
    return maps[0]


def _side_by_side(node, sources) -> Extent:
    if node.operation.axis not in (-1, 3):
        raise Obstacle("puts maps beside each other, not their channels")
    if not all(sources):
        raise Obstacle("joins a map with one of a fixed size")
    return _joined(node, sources)


def _sum(some: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(some, others, strict=True))


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


# What they compute --------------------------------------------------------------------------


def _convolved(layer, maps, extent, canvases, **kwargs):
    return layer(seen(layer, maps, extent, canvases), **kwargs)


def _surrounded(layer, maps, extent, canvases, **kwargs):
    (_, bottom), (_, right) = layer.padding
    # Zeros that it puts after the batch's last cell are due after an image's own last cell.
    return layer(canvases.zeroed(maps, extent) if bottom or right else maps, **kwargs)


def _highest(layer, maps, extent, canvases, **kwargs):
    if not _reaches_beyond(layer, extent):
        return layer(maps, **kwargs)
    pooled = layer(canvases.lowered(maps, extent), **kwargs)
    offset = [w.offset(o) for w, o in zip(_windows(layer), extent.offset, strict=True)]
    stride = [s * t for s, t in zip(extent.stride, layer.strides, strict=True)]
    # The lowest number does not go on: layers after it would make infinity of it.
    return canvases.zeroed(pooled, Extent(tuple(stride), tuple(offset)))


def _averaged(layer, maps, extent, canvases, **kwargs):
    """Keras's average is over the cells that there are, as TensorFlow's."""
    if not _reaches_beyond(layer, extent):
        return layer(maps, **kwargs)
    own = tf.cast(canvases.own(maps, extent)[..., None], maps.dtype)
    share = keras.ops.average_pool(own, layer.pool_size, layer.strides, layer.padding)
    return tf.math.divide_no_nan(layer(canvases.zeroed(maps, extent), **kwargs), share)


def _averaged_whole(layer, maps, extent, canvases, **kwargs):
    own = tf.cast(canvases.own(maps, extent), tf.float32)
    share = tf.maximum(tf.reduce_mean(own, axis=(1, 2)), 1e-9)  # an absent image has no cell
    share = tf.reshape(share, [-1, 1, 1, 1] if layer.keepdims else [-1, 1])
    pooled = layer(canvases.zeroed(maps, extent), **kwargs)
    return pooled / tf.cast(share, pooled.dtype)


def _highest_whole(layer, maps, extent, canvases, **kwargs):
    pooled = layer(canvases.lowered(maps, extent), **kwargs)
    return tf.where(pooled > pooled.dtype.min, pooled, tf.zeros_like(pooled))


def _over_own_cells(layer, maps, extent, canvases, **kwargs):
    """Its statistics, or its range, where it takes them from the batch, are those of own cells."""
    if not kwargs.get("training"):
        return layer(maps, **kwargs)
    # Keras would hand the mask on to the layers that follow; a copy of the tensor has none.
    return tf.identity(layer(maps, **(kwargs | {"mask": canvases.own(maps, extent)})))


_TREATMENTS: dict[type, Callable] = {
    **dict.fromkeys(
        (
            QuantizedConv2D,
            QuantizedDepthwiseConv2D,
            layers.Conv2D,
            layers.DepthwiseConv2D,
            layers.SeparableConv2D,
        ),
        _convolved,
    ),
    **dict.fromkeys((BatchNormalization, FakeQuantize, layers.BatchNormalization), _over_own_cells),
    layers.AveragePooling2D: _averaged,
    layers.GlobalAveragePooling2D: _averaged_whole,
    layers.GlobalMaxPooling2D: _highest_whole,
    layers.MaxPooling2D: _highest,
    layers.ZeroPadding2D: _surrounded,
}
"""Layers whose own results depend on what is beyond; all others take each cell for itself."""
