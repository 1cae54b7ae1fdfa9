"""A detector's int8 graph, from the model to ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import keras
import onnx

from frcnn_core.detector import DetectionSettings, graphs
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
from frcnn_core.quantization import quantization, quantize
from frcnn_core.quantization import ranges as trained_ranges
from frcnn_onnx import metadata
from frcnn_onnx.int8.calibration import calibrate
from frcnn_onnx.int8.insertion import quantized
from frcnn_onnx.int8.kernels import largest_codes
from frcnn_onnx.int8.markers import Markers
from frcnn_onnx.int8.pairs import tensor_ranges
from frcnn_onnx.joined import join
from frcnn_onnx.options import OnnxOptions


def build_int8(
    model: Model,
    settings: DetectionSettings,
    options: OnnxOptions,
    images: CalibrationImages | None,
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """The explicitly quantized detector, and the ranges of tensors by their names in the float one.

    Args:
        images: what ranges are measured on; needed where ``options.calibrates(model)``.

    Raises:
        FrcnnError: the model cannot be expressed in ONNX, there is nothing to measure ranges on,
            or ``options.keep_float`` names no layer.
    """
    parts, trained = marked_parts(model.detector.parts)
    markers = Markers(parts)
    marked = join(model, parts, settings, options, markers.mark)
    if options.calibrates(model):
        if images is None:
            raise FrcnnError(
                "int8 needs images to measure ranges on: give --cal_image_dir, --cal_data_file or "
                "a spec with training images."
            )
        ranges = calibrate(marked, markers.paths, images, options)
    else:
        ranges = dict(trained_ranges(parts).tensors)
    proto = quantized(
        marked,
        markers.paths,
        ranges,
        layers=layer_paths(parts),
        largest_codes=largest_codes(parts) if trained else {},
        keep_float=options.keep_float,
        fuse=not trained,
    )
    described = metadata.of_proto(proto, "the graph")
    metadata.write(proto, dataclasses.replace(described, precision="int8"))
    return proto, tensor_ranges(marked, markers.paths, ranges)


def layer_paths(parts: Mapping[str, keras.Model]) -> set[str]:
    """Every layer as ``part/layer``."""
    return {path for name, part in parts.items() for path, _ in graphs.leaves(part, name)}


def marked_parts(parts: Mapping[str, keras.Model]) -> tuple[Mapping[str, keras.Model], bool]:
    """The parts with ``FakeQuantize`` where int8 has tensors, and whether they were trained so.

    Kernels that were not trained in int8 stay as they are, for layers that ``keep_float`` names.
    """
    if quantization(parts) is not None:
        return parts, True
    return quantize(parts, kernels=False), False
