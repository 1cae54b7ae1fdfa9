"""A detector's graphs, drawn again with fake quantization.

Convolutions and dense layers get kernels on a grid of int8 codes, and every tensor that int8
arithmetic would read or write gets a range of its own, by a ``FakeQuantize`` after the layer that
makes it.  Where layers run as one there, only what the last one makes is quantized:

* a convolution or dense layer, and a ReLU or batch normalization that alone reads it;
* a convolution, its batch normalization, and the ReLU that alone reads that.

Layers that hand on numbers they read, such as a max pool, have no range of their own: it is that of
what they read, all the way back to the next ``FakeQuantize``.  The images and the pooled RoIs have
one, the outputs of the RPN have, and those of the head, which nothing reads, have not.

All this is as in the original, but for three things.  ReLUs stay what they are; there each
becomes a ReLU6, in every export too.  Layers that hand numbers on have no range of their own; there
they have, which rounds twice.  The ReLU of a dense layer belongs to the layer, as a convolution's.

What a layer does is known for the types listed here and for no other, as in
``frcnn_core.pruning``.  Other layers are copied as they are, and what they make is quantized.

Source: the placement is that of NVIDIA's TAO toolkit 5.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses
from keras.src.ops.node import Node

from frcnn_core.detector import BatchNormalization, graphs
from frcnn_core.detector.quantized_layers import QUANTIZED, FakeQuantize

SUFFIX = "_qdq"
"""After the name of a layer, that of the ``FakeQuantize`` of what it makes; the original's."""

NORMS = (layers.BatchNormalization, BatchNormalization)
HANDING_ON = (
    layers.Cropping2D,
    layers.Dropout,
    layers.Flatten,
    layers.GlobalMaxPooling2D,
    layers.Identity,
    layers.MaxPooling2D,
    layers.Reshape,
    layers.SpatialDropout2D,
    layers.ZeroPadding2D,
)
"""Their outputs are numbers that they read, or 0.  In training dropout scales them; that is over
when int8 comes."""


def quantize(
    parts: Mapping[str, keras.Model], *, per_channel_weights: bool = False, kernels: bool = True
) -> dict[str, keras.Model]:
    """New graphs with fake quantization and the weights of the old ones.

    Layers keep their names, weights, dtype policies, regularizers and freezing.  New are only
    ``FakeQuantize`` layers, and the activation of a layer whose own output is quantized before it
    (``NAME_act``).  ``parts`` stay as they are.

    Args:
        parts: ``features``, ``rpn`` and ``head``, or some of them, as ``FasterRCNN.parts``.
        per_channel_weights: each output channel of a kernel has a range of its own; otherwise the
            kernel has one, as in the original.
        kernels: fake-quantize kernels too.  Without, only tensors have ranges; that is for exports
            that measure them after training.
    """
    drawn = {}
    for name, part in parts.items():
        copier = _Copier(per_channel_weights, kernels)
        # The RPN reads the feature map, which has its range where it is made.
        drawn[name] = copier.copy(part, ranged_inputs=name != "rpn", predicts=name == "head")
        copier.carry_weights()
    return drawn


class _Copier:
    """Draws a graph and those in it once more."""

    def __init__(self, per_channel: bool, kernels: bool):
        self._per_channel = per_channel
        self._kernels = kernels
        self._copies: dict[int, tuple[keras.Layer, keras.Layer]] = {}

    def copy(
        self, graph: keras.Model, *, ranged_inputs: bool = False, predicts: bool = False
    ) -> keras.Model:
        """The graph with fake quantization, weights still to come.

        Args:
            ranged_inputs: its inputs get a range.
            predicts: what nothing but its caller reads has no range.
        """
        drawing = _Drawing(graph)
        values: dict[int, keras.KerasTensor] = {}
        inputs = {}
        for tensor in graph.inputs:
            name = tensor._keras_history.operation.name
            fresh = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
            inputs[id(tensor)] = fresh
            values[id(tensor)] = drawing.ranged(fresh, name) if ranged_inputs else fresh
        for node in graphs.nodes(graph):
            layer = node.operation
            args, kwargs = node.arguments.fill_in(values)
            is_prediction = predicts and drawing.is_read_by_caller_only(node)
            splits = not is_prediction and _splits(layer)
            made = self._copied(layer, linear=splits)(*args, **kwargs)
            if splits:
                made = drawing.ranged(made, layer.name)
                name = drawing.free(f"{layer.name}_act")
                made = layers.Activation(layer.activation, dtype=layer.dtype_policy, name=name)(
                    made
                )
                made = drawing.ranged(made, name)
                values[id(node.outputs[0])] = made
                continue
            for tensor, result in zip(node.outputs, keras.tree.flatten(made), strict=True):
                quantizes = not is_prediction and drawing.needs_range(node)
                values[id(tensor)] = drawing.ranged(result, layer.name) if quantizes else result
        fresh = keras.Model(
            keras.tree.map_structure(lambda tensor: inputs[id(tensor)], graph._inputs_struct),
            keras.tree.map_structure(lambda tensor: values[id(tensor)], graph._outputs_struct),
            name=graph.name,
        )
        if not graph.trainable:
            fresh.trainable = False
        return fresh

    def carry_weights(self) -> None:
        """Give copies what their layers hold, random states included."""
        for layer, copy in self._copies.values():
            if type(layer) is not Functional:
                for source, target in zip(
                    getattr(layer, "variables", ()), getattr(copy, "variables", ()), strict=True
                ):
                    target.assign(source)

    def _copied(self, layer: Any, *, linear: bool) -> Any:
        """The copy of a layer, one however often it is called."""
        if id(layer) not in self._copies:
            self._copies[id(layer)] = layer, self._fresh(layer, linear=linear)
        return self._copies[id(layer)][1]

    def _fresh(self, layer: Any, *, linear: bool) -> Any:
        if type(layer) is Functional:
            return self.copy(layer)
        config = layer.get_config()
        if type(layer) in QUANTIZED:
            config |= {"activation": "linear"} if linear else {}
            if self._kernels:
                config |= {"per_channel": self._per_channel}
                return QUANTIZED[type(layer)].from_config(config)
        return type(layer).from_config(config)


class _Drawing:
    """What is asked about a graph while it is drawn again."""

    def __init__(self, graph: keras.Model):
        self._names = {operation.name for operation in graph.operations}
        self._makers: dict[int, Any] = {}
        self._readers: dict[int, list] = {}
        for node in graphs.nodes(graph):
            self._makers |= {id(tensor): node for tensor in node.outputs}
            for tensor in node.input_tensors:
                self._readers.setdefault(id(tensor), []).append(node)
        for tensor in graph.outputs:
            self._readers.setdefault(id(tensor), []).append(None)

    def free(self, name: str) -> str:
        """The name, or with a number if a layer has it already; now it is taken."""
        found, number = name, 0
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found

    def ranged(self, tensor: keras.KerasTensor, made_by: str) -> keras.KerasTensor:
        """The tensor on a grid, if it is one of floating point numbers."""
        if not keras.backend.is_float_dtype(tensor.dtype):
            return tensor
        return FakeQuantize(name=self.free(f"{made_by}{SUFFIX}"))(tensor)

    def is_read_by_caller_only(self, node: Node) -> bool:
        return all(self._readers.get(id(tensor)) == [None] for tensor in node.outputs)

    def needs_range(self, node: Node) -> bool:
        """Whether what a node makes gets a range."""
        layer, reader = node.operation, self._only_reader(node)
        if type(layer) is Functional or _hands_on(layer):
            return False
        if type(layer) in QUANTIZED and _is_linear(layer):
            return not (type(reader) in NORMS or _is_relu(reader))
        if type(layer) in NORMS:
            return not (self._normalizes_alone(node) and _is_relu(reader))
        return True

    def _normalizes_alone(self, norm: Node) -> bool:
        """Whether it reads a linear convolution or dense layer that nothing else reads."""
        maker = self._makers.get(id(norm.input_tensors[0]))
        return (
            maker is not None
            and type(maker.operation) in QUANTIZED
            and _is_linear(maker.operation)
            and self._only_reader(maker) is norm.operation
        )

    def _only_reader(self, node: Node) -> Any:
        """The layer that alone reads a node's only output; None if there is no such layer."""
        if len(node.outputs) != 1:
            return None
        readers = self._readers.get(id(node.outputs[0]), [])
        return readers[0].operation if len(readers) == 1 and readers[0] else None


def _hands_on(layer: Any) -> bool:
    nearest = type(layer) is layers.UpSampling2D and layer.interpolation == "nearest"
    return type(layer) in HANDING_ON or nearest


def _is_relu(layer: Any) -> bool:
    """Whether it is a layer that cuts off what is negative, and perhaps what is large."""
    if type(layer) is layers.ReLU:
        return not layer.negative_slope and not layer.threshold
    return type(layer) is layers.Activation and _cuts_off(layer.activation)


def _is_linear(layer: keras.Layer) -> bool:
    return layer.activation in (None, keras.activations.linear)


def _splits(layer: Any) -> bool:
    """Whether a layer's own activation becomes a layer, so that what it reads has a range too."""
    return type(layer) in QUANTIZED and not _is_linear(layer) and not _cuts_off(layer.activation)


def _cuts_off(activation: Any) -> bool:
    return activation in (keras.activations.relu, keras.activations.relu6)
