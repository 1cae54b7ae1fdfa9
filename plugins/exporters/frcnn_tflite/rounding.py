"""Int8 in TensorFlow Lite: which range each tensor gets, and which layers stay in floating point.

As in the onnx exporter, quantization after training is the graph of quantization-aware training
with measured ranges, and they are measured the same way (``frcnn_onnx.int8``).  The converter reads
the ranges off fake quantization: an operator becomes int8 where its inputs and outputs have one.
Kernels it rounds itself, with a scale for each output channel.

A measured range of what is never negative, such as a ReLU's output, is covered by all 256 codes.  A
trained one is used as it was trained, with zero in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import keras
import tensorflow as tf
from keras import layers
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses
from keras.src.ops.node import Node

from frcnn_core.detector import DetectionSettings, graphs
from frcnn_core.detector.quantized_layers import STEPS, FakeQuantize
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
from frcnn_core.quantization import ranges as trained_ranges
from frcnn_core.quantization.insertion import HANDING_ON, NORMS
from frcnn_tflite.options import TfliteOptions
from frcnn_tflite.tail import apart

KEEPING_SIGN = (
    *HANDING_ON,
    layers.Add,
    layers.AveragePooling2D,
    layers.Concatenate,
    layers.GlobalAveragePooling2D,
    layers.Multiply,
    layers.UpSampling2D,
)
"""What they make of numbers that are not negative is not either."""
CUTTING_OFF = (keras.activations.relu, keras.activations.relu6, keras.activations.sigmoid)


@dataclass(frozen=True)
class Rounded:
    """A tensor that int8 stores."""

    path: str
    """``part/layer`` of what makes it, as in ``frcnn_core.quantization.ranges``."""
    computes: frozenset[str]
    """``part/layer`` of all that an interpreter computes at once to make it."""
    is_nonnegative: bool


class Rounding:
    """What is done in place of each ``FakeQuantize`` of a detector.

    Args:
        parts: with such layers.
        ranges: by ``part/layer``; tensors with a range of 0 are not rounded.
        trained: whether they come from quantization-aware training.
        keep_float: layers that compute in floating point, as ``part/layer`` with ``*`` and ``?``.

    Raises:
        FrcnnError: no layer is of a name in ``keep_float``.
    """

    def __init__(
        self,
        parts: Mapping[str, keras.Model],
        ranges: Mapping[str, float],
        *,
        trained: bool,
        keep_float: Sequence[str] = (),
    ):
        _refuse_unknown(keep_float, parts)
        self.ranges = dict(ranges)
        self._tensors = rounded_tensors(parts)
        self._trained = trained
        self._keep_float = tuple(keep_float)

    def __call__(self, layer: FakeQuantize, tensor: tf.Tensor) -> tf.Tensor:
        rounded = self._tensors[id(layer)]
        if any(_matches(pattern, rounded.computes) for pattern in self._keep_float):
            tensor = apart(tensor)
        end = self.ranges[rounded.path]
        if end <= 0:
            return tensor
        scale = end / STEPS
        first, last = -(STEPS + 1) * scale, STEPS * scale
        if rounded.is_nonnegative and not self._trained:
            first, last = 0.0, end
        return tf.quantization.fake_quant_with_min_max_args(tensor, first, last, num_bits=8)


def choose(
    model: Model,
    settings: DetectionSettings,
    options: TfliteOptions,
    images: CalibrationImages | None,
) -> tuple[Mapping[str, keras.Model], Rounding]:
    """The detector's graphs with ``FakeQuantize`` layers, and what is done in place of these.

    Args:
        images: what ranges are measured on, where ``options.calibrates(model)``.

    Raises:
        FrcnnError: there are no images to measure on, or ``options.keep_float`` names no layer.
    """
    from frcnn_onnx.int8.building import marked_parts

    parts, _ = marked_parts(model.detector.parts)
    trained = not options.calibrates(model)
    _refuse_unknown(options.keep_float, parts)  # before minutes of measuring
    if trained:
        ranges = trained_ranges(parts).tensors
    elif images is None:
        raise FrcnnError(
            "int8 needs images to measure ranges on: give --cal_image_dir, --cal_data_file or a "
            "spec with training images."
        )
    else:
        ranges = _measured(model, parts, settings, options, images)
    return parts, Rounding(parts, ranges, trained=trained, keep_float=options.keep_float)


def _measured(
    model: Model,
    parts: Mapping[str, keras.Model],
    settings: DetectionSettings,
    options: TfliteOptions,
    images: CalibrationImages,
) -> dict[str, float]:
    """Ranges by ``part/layer``, by the means of the onnx exporter."""
    from frcnn_onnx.int8.calibration import calibrate
    from frcnn_onnx.int8.markers import Markers
    from frcnn_onnx.joined import join
    from frcnn_onnx.options import OnnxOptions

    markers = Markers(parts)
    marked = join(model, parts, settings, OnnxOptions(), markers.mark)
    return calibrate(marked, markers.paths, images, options)


def rounded_tensors(parts: Mapping[str, keras.Model]) -> dict[int, Rounded]:
    """What each ``FakeQuantize`` reads, by the layer's ``id``."""
    found: dict[int, Rounded] = {}
    features = parts["features"]
    signs = _follow(features, "features", [False] * len(features.inputs), found)
    for name in ("rpn", "head"):
        # Crops are averages of cells, or 0.
        _follow(parts[name], name, signs[:1], found)
    return found


def _follow(
    graph: keras.Model, path: str, signs: Sequence[bool], found: dict[int, Rounded]
) -> list[bool]:
    """Whether each output is never negative, given that of the inputs; fills ``found``."""
    nonnegative = {id(tensor): sign for tensor, sign in zip(graph.inputs, signs, strict=True)}
    makers = {id(tensor): node for node in graphs.nodes(graph) for tensor in node.outputs}
    for node in graphs.nodes(graph):
        layer = node.operation
        own = [nonnegative[id(tensor)] for tensor in node.input_tensors]
        if type(layer) is Functional:
            results = _follow(layer, f"{path}/{layer.name}", own, found)
        else:
            results = [_is_nonnegative(layer, own)] * len(node.outputs)
        nonnegative |= {
            id(tensor): sign for tensor, sign in zip(node.outputs, results, strict=True)
        }
        if isinstance(layer, FakeQuantize):
            source = node.input_tensors[0]
            group = frozenset(f"{path}/{name}" for name in _group(source, makers))
            maker = f"{path}/{source._keras_history.operation.name}"
            before = found.get(id(layer))  # of a layer that is called twice
            found[id(layer)] = Rounded(
                maker,
                group | (before.computes if before else frozenset()),
                own[0] and (before is None or before.is_nonnegative),
            )
    return [nonnegative[id(tensor)] for tensor in graph.outputs]


def _is_nonnegative(layer: keras.Operation, inputs: Sequence[bool]) -> bool:
    if isinstance(layer, layers.ReLU):
        return not layer.negative_slope and layer.threshold >= 0
    if type(layer) in KEEPING_SIGN or isinstance(layer, FakeQuantize):
        return all(inputs)
    return getattr(layer, "activation", None) in CUTTING_OFF


def _group(tensor: keras.KerasTensor, makers: Mapping[int, Node]) -> Iterator[str]:
    """Names of the layers from the one that makes a tensor back to a convolution or dense layer
    that runs as one with it."""
    node = makers.get(id(tensor))
    while node is not None and not isinstance(node.operation, FakeQuantize):
        yield node.operation.name
        if not isinstance(node.operation, (*NORMS, layers.ReLU, layers.Activation)):
            return
        node = makers.get(id(node.input_tensors[0]))


def _refuse_unknown(patterns: Sequence[str], parts: Mapping[str, keras.Model]) -> None:
    names = [
        path
        for name, part in parts.items()
        for path, layer in graphs.leaves(part, name)
        if not isinstance(layer, (FakeQuantize, layers.InputLayer))
    ]
    lines = []
    for pattern in patterns:
        if not _matches(pattern, names):
            close = get_close_matches(pattern, names, n=3, cutoff=0.4)
            lines.append(
                f"keep_float: no layer is called {pattern}"
                + (f"; did you mean {', '.join(close)}?" if close else ".")
            )
    if lines:
        raise FrcnnError("\n".join(lines))


def _matches(pattern: str, names: Sequence[str] | frozenset[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
