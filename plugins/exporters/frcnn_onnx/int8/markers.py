"""Marks in TensorFlow's graph which tensors int8 will have, so that they can be found in ONNX.

tf2onnx makes QuantizeLinear and DequantizeLinear of TensorFlow's quantize_and_dequantize, then
moves, splits and renames them.  What it keeps is their scale.  So each ``FakeQuantize`` gets a
number of its own, and its scale is number / 127 until it becomes the real one
(``frcnn_onnx.int8.pairs``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import tensorflow as tf
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core.detector import graphs
from frcnn_core.detector.quantized_layers import FakeQuantize


class Markers:
    """The markers of a detector's graphs.

    Args:
        parts: with ``FakeQuantize`` layers, as ``frcnn_core.quantization.quantize`` draws them.
    """

    def __init__(self, parts: Mapping[str, keras.Model]):
        self._numbers: dict[int, int] = {}
        self.paths: dict[int, str] = {}
        """Number of a marker to ``part/layer`` of what makes the tensor, as in
        ``frcnn_core.quantization.ranges``.  Two markers may have one path: a layer that is called
        twice makes two tensors, with one range."""
        for name, part in parts.items():
            for path, layer in _makers(part, name):
                if id(layer) not in self._numbers:
                    number = len(self._numbers) + 1
                    self._numbers[id(layer)], self.paths[number] = number, path

    def mark(self, layer: FakeQuantize, tensor: tf.Tensor) -> tf.Tensor:
        """What stands for a ``FakeQuantize`` while the graph is converted."""
        number = float(self._numbers[id(layer)])
        return tf.raw_ops.QuantizeAndDequantizeV2(
            input=tensor,
            input_min=-number,
            input_max=number,
            signed_input=True,
            num_bits=8,
            range_given=True,
            round_mode="HALF_TO_EVEN",
            narrow_range=False,
        )


def _makers(graph: keras.Model, path: str) -> Iterator[tuple[str, FakeQuantize]]:
    """Every ``FakeQuantize`` with ``path/layer`` of what makes the tensor that it reads."""
    for node in graphs.nodes(graph):
        if isinstance(node.operation, FakeQuantize):
            maker = node.input_tensors[0]._keras_history.operation
            yield f"{path}/{maker.name}", node.operation
        elif type(node.operation) is Functional:
            yield from _makers(node.operation, f"{path}/{node.operation.name}")
