"""The three Keras graphs of a detector as ONNX graphs, channels first.

tf2onnx converts them; what is done here is what it does not know: that a batch may have any size,
what the layers are called, and which of its outputs are which.

Tensors and nodes get the name of their layer, ``part/layer/operation``, so that ranges, costs and
errors can be told by layer.  Convolutions include their batch normalization (folding.py).
"""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from frcnn_core.detector import folding, graphs
from frcnn_core.detector.quantized_layers import FakeQuantize
from frcnn_core.errors import FrcnnError
from frcnn_onnx import wiring

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
    shape = list(part.inputs[0].shape)
    shape[0] = None
    if name == "features":
        shape[1:3] = size
    images = tf.TensorSpec(shape, tf.float32, name=IMAGES)
    weights = _Weights({id(layer): path for path, layer in graphs.leaves(part, name)})

    def run(images: tf.Tensor, *kernels: tf.Tensor) -> Any:
        given = weights.given(kernels) if kernels else weights.collect
        return folding.run(
            part, images, training=False, instead={FakeQuantize: mark}, weights=given
        )

    tf.function(run, input_signature=[images], autograph=False).get_concrete_function()
    signature = [images, *weights.signature]
    function = tf.function(run, input_signature=signature, autograph=False).get_concrete_function()
    outputs = [output.name for output in function.outputs]
    try:
        graph = _onnx(function, opset)
    except Exception as error:  # tf2onnx raises whatever it stumbles over
        raise FrcnnError(f"The part {name} cannot be converted to ONNX: {error}") from error
    if unknown := sorted({n.op_type for n in graph.node if n.domain not in ("", "ai.onnx")}):
        raise FrcnnError(
            f"The part {name} has operations that ONNX does not: {', '.join(unknown)}. They come "
            "from a layer of a kind that no backbone of frcnn uses."
        )
    del function
    gc.collect()  # functions refer to themselves, and to the kernels
    kernels = _put_back(graph, weights.values)
    names = {tensor: weights.names[kernel] for tensor, kernel in kernels.items()}
    found = _named(name, graph, outputs, names)
    wiring.name_by_layer(found.graph, {path for path, _ in graphs.leaves(part, name)})
    return found


class _Weights:
    """What convolutions and dense layers compute with, normalizations folded in.

    TensorFlow and tf2onnx copy constants in each of some forty passes, which for the head of a
    VGG-16 would be 14 GB.  So kernels are inputs while a graph is converted.
    """

    def __init__(self, paths: Mapping[int, str]) -> None:
        self._paths = paths
        self._found: dict[tuple[int, int], tuple[str, np.ndarray, np.ndarray | None]] = {}

    @property
    def names(self) -> dict[str, str]:
        """By the name of a kernel's input, ``part/layer/kernel``."""
        layers = [self._paths[layer] for layer, _ in self._found]
        return {
            f"{found[0]}:0": f"{path}/kernel"
            for path, found in zip(layers, self._found.values(), strict=True)
        }

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The kernels by the name of their input."""
        return {f"{name}:0": kernel for name, kernel, _ in self._found.values()}

    @property
    def signature(self) -> list[tf.TensorSpec]:
        """Of the kernels as inputs."""
        return [
            tf.TensorSpec(kernel.shape, tf.float32, name=name)
            for name, kernel, _ in self._found.values()
        ]

    def collect(
        self, layer: keras.Layer, norm: keras.Layer | None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """For ``folding.run``: what it would take itself, which is remembered."""
        with tf.init_scope():
            kernel, bias = folding.weights_of(layer, norm)
            name = f"kernel_{len(self._found)}"
            self._found[id(layer), id(norm)] = (
                name,
                kernel.numpy(),
                None if bias is None else bias.numpy(),
            )
        return kernel, bias

    def given(self, kernels: Sequence[tf.Tensor]) -> folding.Weights:
        """For ``folding.run``: the inputs ``kernels``, and biases as constants."""
        by_layer = dict(zip(self._found, kernels, strict=True))

        def weights(
            layer: keras.Layer, norm: keras.Layer | None
        ) -> tuple[tf.Tensor, tf.Tensor | None]:
            key = id(layer), id(norm)
            bias = self._found[key][2]
            return by_layer[key], None if bias is None else tf.constant(bias)

        return weights


def _onnx(function: Any, opset: int) -> onnx.GraphProto:
    """A concrete function in ONNX; its first input and its outputs are channels first.

    These are the steps of ``tf2onnx.convert.from_function``, which would freeze its other inputs.
    """
    from tf2onnx import optimizer, tf_loader, tfonnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    inputs = [tensor.name for tensor in function.inputs if tensor.dtype != tf.resource]
    outputs = [output.name for output in function.outputs]
    maps = [output.name for output in function.outputs if output.shape.rank == 4]
    frozen = tf_loader.from_function(function, inputs, outputs)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = tfonnx.process_tf_graph(
            graph,
            opset=opset,
            input_names=inputs,
            output_names=outputs,
            inputs_as_nchw=inputs[:1] if function.inputs[0].shape.rank == 4 else None,
            outputs_as_nchw=maps or None,
        )
    return optimizer.optimize_graph(converted, catch_errors=False).make_model("frcnn").graph


def _put_back(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Make the inputs that kernels were initializers, rearranged as the nodes that read them do.

    Returns:
        Of the initializers that come from a kernel, which one.
    """
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values |= weights
    kernels = {name: name for name in weights}
    remaining = []
    for node in graph.node:
        if not all(name in values for name in node.input):
            remaining.append(node)
            continue
        results = ReferenceEvaluator(node).run(None, {name: values[name] for name in node.input})
        values |= zip(node.output, cast("list[np.ndarray]", results), strict=True)
        if sources := [kernels[name] for name in node.input if name in kernels]:
            kernels |= dict.fromkeys(node.output, sources[0])
    del graph.node[:], graph.initializer[:]
    graph.node.extend(remaining)
    read = {name for node in remaining for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, order="C"), name)
        for name, value in values.items()
        if name in read
    )
    images = [tensor for tensor in graph.input if tensor.name not in weights]
    del graph.input[:]
    graph.input.extend(images)
    return {name: kernel for name, kernel in kernels.items() if name in read}


def _named(part: str, graph: onnx.GraphProto, outputs: list[str], names: Mapping[str, str]) -> Part:
    """The graph with all names under ``part/``; ``names`` are those that are settled."""
    fresh: dict[str, str] = {"": ""}
    taken: set[str] = set()

    def free(name: str) -> str:
        found, number = name, 1
        while found in taken:
            number += 1
            found = f"{name}_{number}"
        taken.add(found)
        return found

    def name(old: str) -> str:
        if old not in fresh:
            fresh[old] = free(names.get(old) or f"{part}/{_short(old)}")
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
