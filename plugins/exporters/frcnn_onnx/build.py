"""A detector in ONNX as the options want it: float or int8, with its preprocessing or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from frcnn_core.detector import DetectionSettings
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
from frcnn_onnx.joined import join
from frcnn_onnx.options import OnnxOptions


@dataclass(frozen=True)
class Built:
    """A detector in ONNX."""

    proto: onnx.ModelProto
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Of int8: the range of each tensor by its name in the float graph."""


def build(
    model: Model,
    settings: DetectionSettings,
    options: OnnxOptions,
    images: CalibrationImages | None = None,
) -> Built:
    """The detector's graph, checked by ONNX, with its metadata.

    Args:
        settings: fixed in the graph.
        images: what ranges of int8 are measured on, where ``options.calibrates(model)``.

    Raises:
        FrcnnError: the model cannot be expressed in ONNX.
    """
    if options.data_type == "int8":
        from frcnn_onnx.int8 import build_int8

        proto, ranges = build_int8(model, settings, options, images)
    else:
        proto, ranges = join(model, model.detector.parts, settings, options), {}
    if options.embed_preprocessing:
        from frcnn_onnx.pixels import embed

        proto = embed(proto, model.preprocessing)
    return Built(proto, ranges)
