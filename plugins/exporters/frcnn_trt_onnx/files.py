"""Writes an exported graph, and what stands beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from frcnn_core.detector import DetectionSettings
from frcnn_core.files import require_free, write_whole
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages, Int8Options
from frcnn_onnx import companions
from frcnn_trt_onnx.build import CROP, OUTPUTS, Built, build
from frcnn_trt_onnx.options import TrtOnnxOptions


def write(
    model: Model,
    output: Path,
    settings: DetectionSettings,
    options: TrtOnnxOptions,
    images: CalibrationImages | None,
) -> list[Path]:
    """The files written, ``output`` first.

    Raises:
        FrcnnError: the plugins cannot run such a model, or a file exists already.
    """
    require_free(companions.of(output, options))
    built = build(model, settings, options)
    ranges = {}
    if options.data_type == "int8":
        ranges = in_graph(built, _ranges(model, settings, options, images))
    write_whole(output, built.proto.SerializeToString())
    written = [output]
    if options.data_type == "int8":
        from frcnn_onnx import int8

        written += int8.write_ranges(output, options, ranges)
    if options.gen_ds_config:
        from frcnn_onnx import deepstream

        written += deepstream.write(model, settings, output, options, outputs=OUTPUTS)
    return written


def in_graph(built: Built, ranges: Mapping[str, float]) -> dict[str, float]:
    """Ranges by the names of tensors in a graph, from those in ``frcnn_onnx``'s of the same model.

    The three networks are the same there but for numbers that tf2onnx counts up.  What is between
    them is not, and has one tensor of int8: the crops.  What has no counterpart is left out.
    """
    graph = built.proto.graph
    here = {_plain(name): name for node in graph.node for name in node.output}
    here |= {given.name: given.name for given in graph.input} | dict(built.renamed)
    found: dict[str, float] = {}
    for name, value in ranges.items():
        tensor = CROP if name.startswith("detection/") else here.get(_plain(name))
        if tensor is not None:
            found[tensor] = max(value, found.get(tensor, 0.0))
    return found


def _plain(name: str) -> str:
    return re.sub(r"__\d+$", "", name)


def _ranges(
    model: Model,
    settings: DetectionSettings,
    options: TrtOnnxOptions,
    images: CalibrationImages | None,
) -> Mapping[str, float]:
    from frcnn_onnx.build import build as build_onnx
    from frcnn_onnx.options import OnnxOptions

    given = {field.name: getattr(options, field.name) for field in fields(Int8Options)}
    return build_onnx(model, settings, OnnxOptions(**given), images).ranges
