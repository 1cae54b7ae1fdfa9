"""What a pruned network has to compute, found without any grouping of channels.

Every tensor carries a mask, computed beside it: 1 where its channel stays, 0 where it goes.  A
convolution or dense layer sees its input times the mask.  On the way this holds what has to be
true of any right choice of channels: what is added corresponds, and layers of other kinds get all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from frcnn_core.pruning import ChannelGroup

PER_CHANNEL = (
    layers.Activation | layers.AveragePooling2D | layers.BatchNormalization | layers.DepthwiseConv2D
    | layers.Dropout | layers.GlobalAveragePooling2D | layers.MaxPooling2D | layers.ReLU
    | layers.ZeroPadding2D
)  # fmt: skip
ELEMENTWISE = layers.Add | layers.Maximum | layers.Multiply


class Masked(NamedTuple):
    values: np.ndarray
    mask: np.ndarray
    """Of the shape of ``values``, for one image."""


def run_parts(
    parts: Mapping[str, keras.Model],
    images: np.ndarray,
    keep: Mapping[ChannelGroup, np.ndarray],
    crop=lambda cells: cells,
) -> dict[str, list[np.ndarray]]:
    """The outputs of each part, and of ``features`` those channels that stay.

    Args:
        crop: makes the other parts' input of the feature map; ``head`` may see less of it.
    """
    kept = {
        layer: np.isin(np.arange(group.size), indices)
        for group, indices in keep.items()
        for layer in group.layers
    }
    start = Masked(images, np.ones((1, *images.shape[1:])))
    (cells,) = run(parts["features"], "features", [start], kept)
    left = cells.mask[0, 0, 0] == 1
    found = {"features": [cells.values[..., left]]}
    for name in parts.keys() - {"features"}:
        cropped = Masked(*map(crop, cells)) if name == "head" else cells
        outputs = run(parts[name], name, [cropped], kept)
        assert all(output.mask.all() for output in outputs)
        found[name] = [output.values for output in outputs]
    return found


def run(
    graph: keras.Model, path: str, inputs: list[Masked], kept: Mapping[str, np.ndarray]
) -> list[Masked]:
    """The graph's outputs.

    Args:
        kept: by ``part/layer``, (C,) whether each channel stays; a layer that is missing is whole.
    """
    tensors = dict(zip(map(id, graph.inputs), inputs, strict=True))
    nodes = [
        node for _, some in sorted(graph._nodes_by_depth.items(), reverse=True) for node in some
    ]
    for node in nodes:
        if not node.is_input:
            sources = [tensors[id(tensor)] for tensor in node.input_tensors]
            layer = node.operation
            if isinstance(layer, keras.Model):
                results = run(layer, f"{path}/{layer.name}", sources, kept)
            else:
                results = [_call(layer, f"{path}/{layer.name}", sources, kept)]
            tensors |= zip(map(id, node.outputs), results, strict=True)
    return [tensors[id(tensor)] for tensor in graph.outputs]


def _call(layer: keras.Layer, name: str, sources: list[Masked], kept) -> Masked:
    if isinstance(layer, layers.Concatenate):
        return Masked(*(np.asarray(layer(list(column))) for column in zip(*sources, strict=True)))
    if isinstance(layer, ELEMENTWISE):
        return _join(layer, name, sources)
    (source,) = sources
    if isinstance(layer, layers.Flatten | layers.Reshape):
        return Masked(*(np.asarray(layer(array)) for array in source))
    if isinstance(layer, PER_CHANNEL):
        values = np.asarray(layer(source.values))
        if values.shape[1:] == source.mask.shape[1:]:
            return Masked(values, source.mask)
        cells = source.mask.reshape(-1, source.mask.shape[-1])
        assert (cells == cells[0]).all(), f"{name} would lose part of a channel"
        return _with_mask(values, cells[0])
    if type(layer) in (layers.Conv2D, layers.Dense) and getattr(layer, "groups", 1) == 1:
        values = np.asarray(layer(source.values * source.mask))
        return _with_mask(values, kept.get(name, np.ones(values.shape[-1])))
    assert source.mask.all(), f"{name} would lose channels"
    values = np.asarray(layer(source.values))
    return _with_mask(values, np.ones(values.shape[-1]))


def _join(layer: keras.Layer, name: str, sources: list[Masked]) -> Masked:
    values = np.asarray(layer([source.values for source in sources]))
    wide = [mask for _, mask in sources if mask.shape[-1] == values.shape[-1]]
    assert all(mask.all() for _, mask in sources if mask.shape[-1] < values.shape[-1])
    masks = [np.broadcast_to(mask, (1, *values.shape[1:])) for mask in wide]
    assert all((mask == masks[0]).all() for mask in masks), f"{name} joins different channels"
    return Masked(values, masks[0])


def _with_mask(values: np.ndarray, channels: np.ndarray) -> Masked:
    return Masked(values, np.broadcast_to(channels * 1.0, (1, *values.shape[1:])))
