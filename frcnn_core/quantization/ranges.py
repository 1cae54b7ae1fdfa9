"""Which numbers of a detector are quantized, and over which range: what an exporter needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core.detector import graphs
from frcnn_core.detector.quantized_layers import SMALLEST_RANGE, FakeQuantize, QuantizedKernel


@dataclass(frozen=True)
class Quantization:
    """How a detector is quantized."""

    per_channel_weights: bool
    """Whether each output channel of a kernel has a range of its own."""


@dataclass(frozen=True)
class Ranges:
    """The ranges of a detector, by ``part/layer``; scales are ranges / 127."""

    tensors: Mapping[str, float]
    """What a layer makes, or an input layer's input.  0 where no training step has seen it yet.
    Layers that are not in here make what they read, or are one with the layer that reads them
    (``frcnn_core.quantization.insertion``)."""
    kernels: Mapping[str, np.ndarray]
    """() or (output channels,) float32: largest absolute values.  Codes are
    round(kernel / scale), ties to even; an all-zero channel has a range of SMALLEST_RANGE."""


def quantization(parts: Mapping[str, keras.Model]) -> Quantization | None:
    """How the parts were quantized; None if they were not."""
    if not quantizers(parts):
        return None
    kernels = [layer for _, layer in _leaves(parts) if isinstance(layer, QuantizedKernel)]
    return Quantization(per_channel_weights=any(layer.per_channel for layer in kernels))


def quantizers(parts: Mapping[str, keras.Model]) -> list[FakeQuantize]:
    """All of the layers that have a range."""
    return [layer for _, layer in _leaves(parts) if isinstance(layer, FakeQuantize)]


def ranges(parts: Mapping[str, keras.Model]) -> Ranges:
    """The ranges of all parts; empty if they were not quantized."""
    tensors: dict[str, float] = {}
    for name, part in parts.items():
        for tensor, layer in _quantized_tensors(part, name):
            # A layer that is called several times makes as many tensors; one range covers them.
            tensors[tensor] = max(tensors.get(tensor, 0.0), _range(layer))
    return Ranges(
        tensors,
        {
            path: np.maximum(layer.kernel_range(), np.float32(SMALLEST_RANGE))
            for path, layer in _leaves(parts)
            if isinstance(layer, QuantizedKernel)
        },
    )


def _leaves(parts: Mapping[str, keras.Model]) -> Iterator[tuple[str, keras.Layer]]:
    for name, part in parts.items():
        yield from graphs.leaves(part, name)


def _quantized_tensors(graph: keras.Model, path: str) -> Iterator[tuple[str, FakeQuantize]]:
    """What each ``FakeQuantize`` reads, as ``path/layer`` of what makes it."""
    for node in graphs.nodes(graph):
        if isinstance(node.operation, FakeQuantize):
            maker = node.input_tensors[0]._keras_history.operation
            yield f"{path}/{maker.name}", node.operation
        elif type(node.operation) is Functional:
            yield from _quantized_tensors(node.operation, f"{path}/{node.operation.name}")


def _range(layer: FakeQuantize) -> float:
    return max(float(layer.range.value), SMALLEST_RANGE) if layer.counter.value > 0 else 0.0
