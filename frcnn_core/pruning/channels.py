"""Which channels of a detector's graphs can only go together.

A convolution or dense layer makes channels, and every other layer does something to them: a pool
hands them on, an addition wants those of both its inputs to be the same ones, a concatenation puts
them side by side.  Following the tensors from layer to layer gives *groups* of layers whose
channels correspond one to one, and for each layer with weights, the groups it reads.

What a layer does to channels is known for the types listed here and for no other; not even for
their subclasses, which may compute anything.  Whatever reaches another layer keeps all of its
channels.  So a graph that is not understood is pruned less, never wrongly.

Two things are left to the caller: layers with ``trainable=False`` are like any other here, as in
the original, and layers that have to stay whole for a reason that no graph shows are named.

This reads the nodes of Keras graphs, as ``frcnn_core.detector.folding`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses
from keras.src.ops.node import Node

from frcnn_core.detector import BatchNormalization, graphs
from frcnn_core.detector.quantized_layers import (
    FakeQuantize,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)


@dataclass(frozen=True)
class ChannelGroup:
    """Layers whose output channels correspond: the i-th of one goes when that of another goes."""

    layers: tuple[str, ...]
    """Convolutions and dense layers, as ``part/layer``, in the order that data flows."""
    size: int
    """Channels of each."""
    prunable: bool
    """Whether channels may go."""
    reason: str = ""
    """Why they may not."""


@dataclass(frozen=True)
class Channels:
    """The channels of a detector: groups, and where they are.

    A tensor's channels are given as groups side by side.  A flattened map (h, w, C) is its groups
    h * w times over, the channels of one cell after those of another.
    """

    groups: tuple[ChannelGroup, ...]
    """Every group that some layer makes, in the order that data flows."""
    inputs: Mapping[str, tuple[ChannelGroup, ...]]
    """What a layer reads, by ``part/layer``, for those that depend on its number: all that make
    channels, depthwise convolutions, normalizations, reshapes and input layers.  Groups that no
    convolution or dense layer makes, e.g. the images', are in here and not in ``groups``."""
    outputs: Mapping[str, tuple[ChannelGroup, ...]]
    """What a layer makes that does not hand on what it reads: convolutions, dense layers and
    reshapes."""


def find_channels(parts: Mapping[str, keras.Model], *, fixed: Collection[str] = ()) -> Channels:
    """The channel groups of a detector's graphs.

    The images' channels and the outputs of all parts stay, but for the output of ``features``: it
    is cropped and read by the other parts.

    Args:
        parts: functional models of one input; ``features``, and those that read its output, as
            ``FasterRCNN.parts``.
        fixed: names of layers whose output channels have to stay, with or without their part.
            Names that no layer has are ignored: a backbone lists those of all its variants.
    """
    tracer = _Tracer(fixed)
    features = parts["features"]
    images = tracer.groups.add(features.inputs[0].shape[-1], reason="the images' channels stay")
    outputs = {"features": tracer.follow(features, "features", [(images,)])}
    for name, part in parts.items():
        if name != "features":
            outputs[name] = tracer.follow(part, name, outputs["features"])
    for name, segments in outputs.items():
        if name != "features" or len(parts) == 1:
            for output in segments:
                tracer.groups.fix(output, f"its channels are an output of {name}")
    return tracer.result()


Segments = tuple[int, ...]
"""A tensor's channels: numbers of groups, side by side."""


class _Obstacle(Exception):
    """What a layer does to channels is not known; the message says why, after the layer's name."""


class _Groups:
    """Disjoint groups of channels that grow together; a group is known by its number."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._layers: list[list[str]] = []
        self._reasons: list[str] = []

    def add(self, size: int | None, *, layers: Sequence[str] = (), reason: str = "") -> int:
        """A new group; with a reason, none of its channels may go.

        Args:
            size: None where Keras does not know it; nothing depends on it then, since no layer with
                weights can be drawn on such a tensor.
        """
        self._parents.append(len(self._parents))
        self._sizes.append(size or 0)
        self._layers.append(list(layers))
        self._reasons.append(reason)
        return self._parents[-1]

    def fix(self, segments: Segments, reason: str) -> None:
        """None of these channels may go.  The first reason counts."""
        for number in set(segments):
            root = self._root(number)
            self._reasons[root] = self._reasons[root] or reason

    def tie(self, first: Segments, second: Segments, reason: str) -> None:
        """The channels of two tensors correspond.  Where their groups begin at different places,
        all stay, for this reason."""
        if [self._sizes[g] for g in first] != [self._sizes[g] for g in second]:
            self.fix(first + second, reason)
            return
        for pair in dict.fromkeys(zip(first, second, strict=True)):
            low, high = sorted(map(self._root, pair))
            if low != high:
                self._parents[high] = low
                self._layers[low] += self._layers[high]
                self._reasons[low] = self._reasons[low] or self._reasons[high]

    def size(self, segments: Segments) -> int:
        return sum(self._sizes[number] for number in segments)

    def finished(self, order: Mapping[str, int]) -> list[ChannelGroup]:
        """By number; equal for those that were tied."""
        groups: dict[int, ChannelGroup] = {}
        for number in range(len(self._parents)):
            root = self._root(number)
            if root not in groups:
                members = tuple(sorted(self._layers[root], key=order.__getitem__))
                reason = self._reasons[root]
                groups[root] = ChannelGroup(members, self._sizes[root], not reason, reason)
        return [groups[self._root(number)] for number in range(len(self._parents))]

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            # Halving the path keeps later walks short.
            self._parents[number] = number = self._parents[self._parents[number]]
        return number


class _Tracer:
    """Follows channels through graphs, node by node."""

    def __init__(self, fixed: Collection[str]):
        self.groups = _Groups()
        self._fixed = frozenset(fixed)
        self._inputs: dict[str, Segments] = {}
        self._outputs: dict[str, Segments] = {}
        self._made: dict[str, int] = {}  # by layer, in the order that data flows

    def follow(self, graph: keras.Model, path: str, inputs: Sequence[Segments]) -> list[Segments]:
        """The channels of the graph's outputs.

        Args:
            path: of the graph, before the names of its layers.
            inputs: the channels of its inputs.
        """
        values = {}
        for tensor, segments in zip(graph.inputs, inputs, strict=True):
            self._read(f"{path}/{tensor._keras_history.operation.name}", segments)
            values[id(tensor)] = segments
        for node in graphs.nodes(graph):
            layer = node.operation
            name = f"{path}/{layer.name}"
            sources = [values[id(tensor)] for tensor in node.input_tensors]
            try:
                results = self._through(node, name, sources)
            except _Obstacle as obstacle:
                results = self._unknown(node, name, sources, str(obstacle))
            if layer.name in self._fixed or name in self._fixed:
                for segments in results:
                    self.groups.fix(segments, f"{name} was named to keep its channels")
            for tensor, segments in zip(node.outputs, results, strict=True):
                values[id(tensor)] = segments
        return [values[id(tensor)] for tensor in graph.outputs]

    def result(self) -> Channels:
        order = {name: place for place, name in enumerate(self._made)}
        finished = self.groups.finished(order)

        def named(segments: Mapping[str, Segments]) -> dict[str, tuple[ChannelGroup, ...]]:
            return {name: tuple(finished[g] for g in some) for name, some in segments.items()}

        groups = dict.fromkeys(finished[number] for number in self._made.values())
        return Channels(tuple(groups), named(self._inputs), named(self._outputs))

    def _through(self, node: Node, name: str, sources: list[Segments]) -> list[Segments]:
        """The channels of a node's outputs.

        Raises:
            _Obstacle: they do not follow from those of its inputs.
        """
        layer = node.operation
        if len(sources) != len(keras.tree.flatten(node.arguments.args)):
            raise _Obstacle("is called with more than tensors")
        if type(layer) is Functional:
            if not isinstance(layer._inputs_struct, list | tuple | keras.KerasTensor):
                raise _Obstacle("is a model with inputs by name")
            return self.follow(layer, name, sources)
        if type(layer) not in _KINDS:
            raise _Obstacle("is no layer that pruning knows")
        if obstacle := _obstacle(layer, node):
            raise _Obstacle(obstacle)
        result = _KINDS[type(layer)](self, name, node, sources)
        if self.groups.size(result) != node.outputs[0].shape[-1]:
            raise _Obstacle("makes another number of channels than it should")
        return [result]

    def _unknown(self, node: Node, name: str, sources: list[Segments], why: str) -> list[Segments]:
        """All channels that go in or come out stay."""
        layer = node.operation
        reason = f"{name} ({type(layer).__name__}) {why}"
        for segments in sources:
            self.groups.fix(segments, reason)
        if isinstance(layer, layers.Conv2D | layers.Dense):
            made = self._make(name, node.outputs[0].shape[-1])
            self.groups.fix(made, reason)
            return [made]
        return [
            (self.groups.add(tensor.shape[-1] if tensor.shape else None, reason=reason),)
            for tensor in node.outputs
        ]

    def _read(self, name: str, segments: Segments) -> None:
        """Note what a layer reads that has weights for each channel or names their number.  One
        that is called several times has to read corresponding channels."""
        first = self._inputs.setdefault(name, segments)
        reason = f"{name} is called several times, on channels that do not line up"
        self.groups.tie(first, segments, reason)

    def _make(self, name: str, size: int) -> Segments:
        """The group that a layer makes: one, however often it is called."""
        if name not in self._made:
            self._made[name] = self.groups.add(size, layers=[name])
        return (self._made[name],)

    # What each kind of layer does ---------------------------------------------------------------

    def _producer(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        (source,) = sources
        self._read(name, source)
        made = self._outputs[name] = self._make(name, node.outputs[0].shape[-1])
        if not _acts_on_single_channels(node.operation):
            self.groups.fix(made, f"{name} {_ACTIVATION}")
        return made

    def _per_channel(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        (source,) = sources
        self._read(name, source)
        return source

    def _passing(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        (source,) = sources
        return source

    def _elementwise(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        widest = max(sources, key=self.groups.size)  # the first of them
        reason = f"{name} joins channels that do not line up"
        for source in sources:
            if self.groups.size(source) == 1 < self.groups.size(widest):
                self.groups.fix(source, f"{name} spreads this one channel over several")
            else:
                self.groups.tie(widest, source, reason)
        return widest

    def _concatenation(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        if node.operation.axis % len(node.outputs[0].shape) == len(node.outputs[0].shape) - 1:
            return sum(sources, ())
        return self._elementwise(name, node, sources)

    def _folding(self, name: str, node: Node, sources: list[Segments]) -> Segments:
        """Of a layer that joins neighbouring cells: each gives all of its channels in turn."""
        (source,) = sources
        before, after = node.input_tensors[0].shape[-1], node.outputs[0].shape[-1]
        if not before or not after:
            raise _Obstacle("makes one vector of a map whose size is not fixed")
        if after % before:
            raise _Obstacle("takes channels apart")
        self._read(name, source)
        folded = self._outputs[name] = source * (after // before)
        return folded


_KINDS: dict[type, Callable[[_Tracer, str, Node, list[Segments]], Segments]] = {
    **dict.fromkeys(
        (QuantizedConv2D, QuantizedDense, layers.Conv2D, layers.Dense), _Tracer._producer
    ),
    **dict.fromkeys(
        (
            BatchNormalization,
            QuantizedDepthwiseConv2D,
            layers.BatchNormalization,
            layers.DepthwiseConv2D,
        ),
        _Tracer._per_channel,
    ),
    **dict.fromkeys(
        (
            FakeQuantize,
            layers.Activation,
            layers.AveragePooling2D,
            layers.Cropping2D,
            layers.Dropout,
            layers.ELU,
            layers.GlobalAveragePooling2D,
            layers.GlobalMaxPooling2D,
            layers.Identity,
            layers.LeakyReLU,
            layers.MaxPooling2D,
            layers.ReLU,
            layers.Rescaling,
            layers.SpatialDropout2D,
            layers.UpSampling2D,
            layers.ZeroPadding2D,
        ),
        _Tracer._passing,
    ),
    **dict.fromkeys(
        (
            layers.Add,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            layers.Multiply,
            layers.Subtract,
        ),
        _Tracer._elementwise,
    ),
    layers.Concatenate: _Tracer._concatenation,
    layers.Flatten: _Tracer._folding,
    layers.Reshape: _Tracer._folding,
}
"""What layers of these types do, and of no other type."""

_SINGLE_CHANNEL_ACTIVATIONS = frozenset(
    getattr(keras.activations, name)
    for name in (
        "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear "
        "log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
        "sparse_sigmoid squareplus tanh tanh_shrink threshold"
    ).split()
)
"""Those whose output at a channel depends on that channel alone, as softmax's does not."""

_ACTIVATION = "has an activation that may depend on all channels at once"


def _acts_on_single_channels(layer: keras.Layer) -> bool:
    activation = getattr(layer, "activation", None) or keras.activations.linear
    return activation in _SINGLE_CHANNEL_ACTIVATIONS


def _obstacle(layer: keras.Layer, node: Node) -> str:
    """What about a layer of a known type is not known, as the rest of a sentence."""
    if getattr(layer, "data_format", None) == "channels_first":
        return "has its channels first"
    if not isinstance(layer, layers.Conv2D | layers.Dense) and not _acts_on_single_channels(layer):
        return _ACTIVATION
    if getattr(layer, "groups", 1) != 1:
        return "is a grouped convolution"
    if isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier != 1:
        return "makes several channels of each"
    if isinstance(layer, layers.BatchNormalization):
        if layer.axis not in (-1, len(node.input_tensors[0].shape) - 1):
            return "does not normalize by channel"
    elif isinstance(layer, FakeQuantize):
        pass  # its weights are of the tensor as a whole
    elif not {variable.name for variable in layer.weights} <= {"kernel", "bias"}:
        return "has weights that pruning does not know"
    if isinstance(layer, layers.Dropout) and (layer.noise_shape or [None])[-1] not in (None, 1):
        return "has a noise of a fixed number of channels"
    if isinstance(layer, layers.Rescaling) and (np.ndim(layer.scale) or np.ndim(layer.offset)):
        return "has a number for each channel"
    return ""
