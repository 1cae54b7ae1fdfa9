"""How large a network is without some of its channels, without building it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import keras

from frcnn_core.pruning.channels import ChannelGroup, Channels
from frcnn_core.pruning.scores import layer_at

Counts = Mapping[ChannelGroup, int]
"""How many channels of each group stay; a group that is missing stays whole."""


class Sizes:
    """Numbers of parameters and of operations, as functions of how many channels stay."""

    def __init__(self, parts: Mapping[str, keras.Model], channels: Channels):
        self._channels = channels
        self._shapes = {
            path: [tuple(weight.shape) for weight in layer_at(parts, path).weights]
            for path in channels.inputs
        }
        self.whole = sum(part.count_params() for part in parts.values())
        """Parameters of all parts as they are."""
        self._others = self.whole - self._num_parameters({})

    def num_parameters(self, counts: Counts) -> int:
        """Weights of all parts, statistics included."""
        return self._others + self._num_parameters(counts)

    def num_operations(self, operations: Mapping[str, int], counts: Counts) -> int:
        """What is left of the operations of layers.

        Args:
            operations: of each layer as it is, by ``part/layer``, in proportion to its kernel, as
                ``frcnn_core.detector.flops`` counts them.
        """
        left = 0
        for path, number in operations.items():
            for groups in (self._channels.inputs.get(path), self._channels.outputs.get(path)):
                if groups:
                    number = number * _size(groups, counts) // _size(groups, {})
            left += number
        return left

    def _num_parameters(self, counts: Counts) -> int:
        """Of the layers that depend on how many channels they read."""
        total = 0
        for path, shapes in self._shapes.items():
            read = _size(self._channels.inputs[path], counts)
            made = _size(self._channels.outputs.get(path, ()), counts)
            total += sum(_left(shape, read, made) for shape in shapes)
        return total


def _left(shape: tuple[int, ...], read: int, made: int) -> int:
    """Numbers in what is left of a variable; as ``rebuild`` cuts it.

    Args:
        made: 0 for a layer that makes no channels of its own.
    """
    if not shape:
        return 1
    if len(shape) == 1:
        return made or read
    return math.prod(shape[:-2]) * read * (made or shape[-1])


def _size(groups: Iterable[ChannelGroup], counts: Counts) -> int:
    return sum(counts.get(group, group.size) for group in groups)
