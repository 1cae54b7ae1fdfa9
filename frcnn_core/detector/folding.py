"""Runs a Keras graph with fewer passes over memory than Keras itself takes.

The graph stays plain Keras: it is drawn, saved, pruned and listed layer by layer.  Only running
it differs, and that changes results by rounding alone:

* A batch normalization with fixed statistics (always in inference; with ``freeze_bn`` in training
  too) is a scale and an offset per channel.  Where it follows a convolution that trains, depthwise
  or not, both go into its kernel and bias, gamma and beta included: their gradients are exact and
  cost a pass over the kernel instead of several over the feature map.
  A kernel that is fake-quantized is so first, and the scale goes on top: what int8 has are the
  codes of the kernel as it is stored, with a scale for each channel.
* Plain convolutions have the faster filter gradient of ``convolution.py``, and biases a gradient
  that is right in bfloat16.

Zero padding stays a layer of its own: as a convolution's explicit padding it would be free in the
forward pass, but TensorFlow has no fast gradient for that on a CPU.

Any other layer is called as usual, so third-party backbones need to know nothing of this.

Where a batch pads images of different sizes, an image's result is what it would be without the
others (``frcnn_core.detector.canvases``); for that the layers have to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses
from keras.src.ops.node import Node

from frcnn_core.detector import extents, graphs
from frcnn_core.detector.canvases import Canvases, call, seen
from frcnn_core.detector.convolution import add_bias, conv2d, depthwise_conv2d
from frcnn_core.detector.extents import Extent
from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.quantized_layers import (
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    QuantizedKernel,
)

Convolution = keras.layers.Conv2D | keras.layers.DepthwiseConv2D

Weights = Callable[[keras.Layer, keras.Layer | None], tuple[tf.Tensor, tf.Tensor | None]]
"""As ``weights_of``."""


def run(
    graph: keras.Model,
    inputs: tf.Tensor | np.ndarray | Sequence[tf.Tensor],
    *,
    training: bool,
    canvases: Canvases | None = None,
    extent: Extent = extents.IMAGES,
    devices: Mapping[keras.Operation, str] | None = None,
    instead: Mapping[type, Callable[[keras.Layer, tf.Tensor], tf.Tensor]] | None = None,
    weights: Weights | None = None,
) -> Any:
    """``graph(inputs, training=training)``, computed with folded convolutions.

    Args:
        graph: a functional model; with canvases, of one input.
        inputs: its input tensor, or a list of them if it has several.
        training: as for a Keras call.
        canvases: of a batch that pads images of different sizes.  Each image's own cells of the
            result are then what they would be if it were alone in its batch, but for what batch
            statistics and dropout share among images.
        extent: of ``inputs``, with canvases.
        devices: where layers run; those that are not in it run where the caller does.
        instead: what is done with the input of a layer of a type instead of calling it; this and
            the next are for exporters.
        weights: what convolutions and dense layers compute with, in place of ``weights_of``.

    What a layer does is in TensorFlow's name scope of its name.

    Returns:
        The graph's output tensor, or a list of them if it has several.

    Raises:
        Obstacle: with canvases, a layer is not known (``frcnn_core.detector.extents``).
    """
    own = {} if canvases is None else extents.follow(graph, extent)
    given = zip(graph.inputs, keras.tree.flatten(inputs), strict=True)
    values = {id(tensor): value for tensor, value in given}
    consumers = _consumers(graph)
    pending: dict[int, Convolution] = {}  # those that wait for their normalization
    for node in graphs.nodes(graph):
        layer, source, result = node.operation, node.input_tensors[0], node.outputs[0]
        follower = _only(consumers.get(id(result), []))
        here = own.get(id(source))
        # A convolution that waited for its normalization still runs on its own device.
        with on_device(devices, pending.get(id(source), layer)):
            if instead and type(layer) in instead:
                values[id(result)] = instead[type(layer)](layer, values[id(source)])
            elif _is_conv(layer):
                maps = values[id(source)]
                if here and canvases:
                    maps = seen(layer, maps, here, canvases)
                if follower and _is_foldable(follower.operation, layer, training):
                    pending[id(result)], values[id(result)] = layer, maps
                else:
                    values[id(result)] = _convolve(layer, maps, weights)
            elif conv := pending.pop(id(source), None):
                values[id(result)] = _convolve(conv, values[id(source)], weights, norm=layer)
            elif _is_dense_in_bfloat16(layer) or (weights and _is_dense(layer)):
                values[id(result)] = _multiply(layer, values[id(source)], weights)
            else:
                args, kwargs = node.arguments.fill_in(values)
                if getattr(layer, "_call_has_training_arg", False):
                    kwargs["training"] = training
                with tf.name_scope(layer.name):
                    if type(layer) is Functional:
                        shared: dict[str, Any] = {}
                        if here:
                            shared |= {"canvases": canvases, "extent": here}
                        shared |= {"devices": devices, "instead": instead, "weights": weights}
                        outputs = run(layer, *args, training=training, **shared)
                    elif here and canvases:
                        (maps,) = args
                        outputs = call(layer, maps, here, canvases, **kwargs)
                    else:
                        outputs = layer(*args, **kwargs)
                for tensor, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                    values[id(tensor)] = value
    outputs = [values[id(tensor)] for tensor in graph.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def on_device(
    devices: Mapping[keras.Operation, str] | None, layer: keras.Operation
) -> AbstractContextManager:
    """The scope of a layer's device; of the caller's where it has none."""
    return tf.device(devices[layer]) if devices and layer in devices else nullcontext()


def weights_of(
    layer: Convolution | keras.layers.Dense, norm: BatchNormalization | None = None
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Kernel and bias, float32, that a layer computes with; fake-quantized kernels are rounded.

    Args:
        layer: a convolution, depthwise or not, or a dense layer.
        norm: of fixed statistics, that alone reads the layer: it is folded in.
    """
    kernel = layer.rounded_kernel() if isinstance(layer, QuantizedKernel) else layer.kernel.value
    bias = layer.bias.value if layer.use_bias else None
    if norm is not None:
        scale, offset = norm.affine()
        # A depthwise kernel (k, k, C, m) has m filters for each channel, and C*m outputs.
        kernel = kernel * (tf.reshape(scale, kernel.shape[2:]) if _is_depthwise(layer) else scale)
        bias = offset if bias is None else bias * scale + offset
    return kernel, bias


def _convolve(
    layer: Convolution,
    inputs: tf.Tensor,
    weights: Weights | None,
    norm: BatchNormalization | None = None,
) -> tf.Tensor:
    """The layer's output for (B, h, w, C), with a normalization of fixed statistics folded in."""
    dtype = layer.compute_dtype
    with tf.name_scope(layer.name):
        kernel, bias = (weights or weights_of)(layer, norm)
        inputs, kernel = tf.cast(inputs, dtype), tf.cast(kernel, dtype)
        convolve = depthwise_conv2d if _is_depthwise(layer) else conv2d
        outputs = convolve(
            inputs,
            kernel,
            strides=layer.strides,
            padding=layer.padding.upper(),
            dilations=layer.dilation_rate,
        )
        return _finished(layer, outputs, bias)


def _multiply(layer: keras.layers.Dense, inputs: tf.Tensor, weights: Weights | None) -> tf.Tensor:
    """The layer's output for (..., C)."""
    dtype = layer.compute_dtype
    with tf.name_scope(layer.name):
        kernel, bias = (weights or weights_of)(layer, None)
        outputs = keras.ops.matmul(tf.cast(inputs, dtype), tf.cast(kernel, dtype))
        return _finished(layer, outputs, bias)


def _finished(
    layer: Convolution | keras.layers.Dense, outputs: tf.Tensor, bias: tf.Tensor | None
) -> tf.Tensor:
    """With the layer's bias and activation."""
    if bias is not None:
        outputs = add_bias(outputs, tf.cast(bias, outputs.dtype))
    return layer.activation(outputs) if layer.activation else outputs


def _consumers(graph: keras.Model) -> dict[int, list]:
    """Tensor id to the nodes that read it; an output of the graph is read by None as well."""
    readers: dict[int, list] = {}
    for node in graphs.nodes(graph):
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    for tensor in graph.outputs:
        readers.setdefault(id(tensor), []).append(None)
    return readers


def _only(nodes: list[Node]) -> Node | None:
    return nodes[0] if len(nodes) == 1 else None


def _is_conv(layer: Any) -> bool:
    plain = type(layer) in (keras.layers.Conv2D, QuantizedConv2D) and layer.groups == 1
    return (plain or _is_depthwise(layer)) and layer.data_format == "channels_last"


def _is_depthwise(layer: keras.Operation) -> bool:
    return type(layer) in (keras.layers.DepthwiseConv2D, QuantizedDepthwiseConv2D)


def _is_dense(layer: keras.Operation) -> bool:
    return type(layer) in (keras.layers.Dense, QuantizedDense)


def _is_dense_in_bfloat16(layer: keras.Operation) -> bool:
    return type(layer) is keras.layers.Dense and layer.compute_dtype == "bfloat16"


def _is_foldable(norm: keras.Operation, conv: Convolution, training: bool) -> bool:
    if not isinstance(norm, BatchNormalization) or norm.uses_batch_statistics(training):
        return False
    linear = conv.activation in (None, keras.activations.linear)
    # In training, folding into a frozen kernel would compute that kernel's gradient after all.
    return linear and (not training or conv.trainable or not norm.trainable)
