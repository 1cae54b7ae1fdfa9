"""Runs a Keras graph with fewer passes over memory than Keras itself takes.

The graph stays plain Keras: it is drawn, saved, pruned and listed layer by layer.  Only running
it differs, in two ways that change results by rounding alone:

* A batch normalization with fixed statistics (always in inference; with ``freeze_bn`` in training
  too) is a scale and an offset per channel.  Where it follows a convolution that trains, both go
  into that convolution's kernel and bias, gamma and beta included: their gradients are exact and
  cost a pass over the kernel instead of several over the feature map.
* Zero padding in front of a convolution becomes the convolution's own padding.

Any other layer is called as usual, so third-party backbones need to know nothing of this.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from frcnn_core.convolution import conv2d
from frcnn_core.layers import BatchNormalization


def run(graph: keras.Model, inputs: tf.Tensor, *, training: bool) -> Any:
    """``graph(inputs, training=training)``, computed with folded convolutions.

    Args:
        graph: a functional model with one input.
        inputs: its input tensor.
        training: as for a Keras call.

    Returns:
        The graph's output tensor, or a list of them if it has several.
    """
    values = {id(graph.inputs[0]): inputs}
    consumers = _consumers(graph)
    pending: dict[int, _Convolution] = {}  # convolutions waiting for what comes after them
    for node in _nodes(graph):
        layer, source, result = node.operation, node.input_tensors[0], node.outputs[0]
        follower = _only(consumers.get(id(result), []))
        if _is_padding(layer) and follower and _is_valid_conv(follower.operation):
            pending[id(result)] = _Convolution(values[id(source)], padding=layer.padding)
        elif _is_conv(layer):
            conv = pending.pop(id(source), None) or _Convolution(values[id(source)])
            conv.layer = layer
            if follower and _is_foldable(follower.operation, layer, training):
                pending[id(result)] = conv
            else:
                values[id(result)] = conv(None)
        elif id(source) in pending:
            values[id(result)] = pending.pop(id(source))(layer)
        else:
            args, kwargs = node.arguments.fill_in(values)
            if getattr(layer, "_call_has_training_arg", False):
                kwargs["training"] = training
            outputs = layer(*args, **kwargs)
            for tensor, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                values[id(tensor)] = value
    outputs = [values[id(tensor)] for tensor in graph.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


class _Convolution:
    """A convolution on its way: input, padding, layer, and at last the normalization."""

    def __init__(self, inputs: tf.Tensor, padding=((0, 0), (0, 0))):
        self.inputs = inputs
        self.padding = padding
        self.layer: keras.layers.Conv2D | None = None

    def __call__(self, norm: BatchNormalization | None) -> tf.Tensor:
        layer = self.layer
        kernel = layer.kernel.value
        bias = layer.bias.value if layer.use_bias else None
        if norm is not None:
            scale, offset = norm.affine()
            kernel = kernel * scale
            bias = offset if bias is None else bias * scale + offset
        dtype = layer.compute_dtype
        padding = layer.padding.upper()
        if padding == "VALID" and any(map(any, self.padding)):
            padding = [[0, 0], *map(list, self.padding), [0, 0]]
        outputs = conv2d(
            tf.cast(self.inputs, dtype),
            tf.cast(kernel, dtype),
            strides=layer.strides,
            padding=padding,
            dilations=layer.dilation_rate,
        )
        if bias is not None:
            outputs = tf.nn.bias_add(outputs, tf.cast(bias, dtype))
        return layer.activation(outputs) if layer.activation else outputs


def _nodes(graph: keras.Model):
    """The graph's nodes, each after those it depends on."""
    by_depth = graph._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if not node.is_input:
                yield node


def _consumers(graph: keras.Model) -> dict[int, list]:
    """Tensor id to the nodes that read it; an output of the graph is read by None as well."""
    readers: dict[int, list] = {}
    for node in _nodes(graph):
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    for tensor in graph.outputs:
        readers.setdefault(id(tensor), []).append(None)
    return readers


def _only(nodes: list):
    return nodes[0] if len(nodes) == 1 else None


def _is_padding(layer) -> bool:
    return type(layer) is keras.layers.ZeroPadding2D and layer.data_format == "channels_last"


def _is_conv(layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.groups == 1
    )


def _is_valid_conv(layer) -> bool:
    return _is_conv(layer) and layer.padding == "valid"


def _is_foldable(norm, conv: keras.layers.Conv2D, training: bool) -> bool:
    if not isinstance(norm, BatchNormalization) or norm.uses_batch_statistics(training):
        return False
    linear = conv.activation in (None, keras.activations.linear)
    # In training, folding into a frozen kernel would compute that kernel's gradient after all.
    return linear and (not training or conv.trainable or not norm.trainable)
