"""What layers compute where a batch pads images of different sizes: for each as if it were alone.

Whatever looks at the neighbours of a cell has to see beyond the image's own cells what it would see
if the image were alone: zeros or nothing, as the layer's padding says.  What the cells beyond hold
elsewhere does not matter, so they are left to themselves.

Which cells are own is in ``frcnn_core.detector.extents``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from frcnn_core.detector.extents import Extent, windows
from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.quantized_layers import (
    FakeQuantize,
    QuantizedConv2D,
    QuantizedDepthwiseConv2D,
)


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
        return tf.where(self.own(maps, extent)[:, :, :, None], maps, tf.cast(fill, maps.dtype))


def call(layer: keras.Layer, maps: Any, extent: Extent, canvases: Canvases, **kwargs: Any) -> Any:
    """``layer(maps, **kwargs)``, with own results as if each image were alone.

    Args:
        layer: of a type that ``extents.follow`` knows.
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


def _reaches_beyond(layer: keras.Layer, extent: Extent) -> bool:
    pairs = zip(windows(layer), extent.offset, strict=True)
    return any(window.reach(offset) for window, offset in pairs)


def _convolved(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    return layer(seen(layer, maps, extent, canvases), **kwargs)


def _surrounded(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    (_, bottom), (_, right) = layer.padding
    # Zeros that it puts after the batch's last cell are due after an image's own last cell.
    return layer(canvases.zeroed(maps, extent) if bottom or right else maps, **kwargs)


def _highest(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    if not _reaches_beyond(layer, extent):
        return layer(maps, **kwargs)
    pooled = layer(canvases.lowered(maps, extent), **kwargs)
    y, x = (w.offset(o) for w, o in zip(windows(layer), extent.offset, strict=True))
    height, width = (s * t for s, t in zip(extent.stride, layer.strides, strict=True))
    # The lowest number does not go on: layers after it would make infinity of it.
    return canvases.zeroed(pooled, Extent((height, width), (y, x)))


def _averaged(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    """Keras's average is over the cells that there are, as TensorFlow's."""
    if not _reaches_beyond(layer, extent):
        return layer(maps, **kwargs)
    own = tf.cast(canvases.own(maps, extent)[:, :, :, None], maps.dtype)
    share = keras.ops.average_pool(own, layer.pool_size, layer.strides, layer.padding)
    return tf.math.divide_no_nan(layer(canvases.zeroed(maps, extent), **kwargs), share)


def _averaged_whole(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    own = tf.cast(canvases.own(maps, extent), tf.float32)
    share = tf.maximum(tf.reduce_mean(own, axis=(1, 2)), 1e-9)  # an absent image has no cell
    share = tf.reshape(share, [-1, 1, 1, 1] if layer.keepdims else [-1, 1])
    pooled = layer(canvases.zeroed(maps, extent), **kwargs)
    return pooled / tf.cast(share, pooled.dtype)


def _highest_whole(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    pooled = layer(canvases.lowered(maps, extent), **kwargs)
    return tf.where(pooled > pooled.dtype.min, pooled, tf.zeros_like(pooled))


def _over_own_cells(
    layer: keras.Layer, maps: tf.Tensor, extent: Extent, canvases: Canvases, **kwargs: Any
) -> tf.Tensor:
    """Its statistics, or its range, where it takes them from the batch, are those of own cells."""
    if not kwargs.get("training"):
        return layer(maps, **kwargs)
    # Keras would hand the mask on to the layers that follow; a copy of the tensor has none.
    return tf.identity(layer(maps, **(kwargs | {"mask": canvases.own(maps, extent)})))


_TREATMENTS: dict[type, Callable[..., tf.Tensor]] = {
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
