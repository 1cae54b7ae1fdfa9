"""Writes what an export consists of: the model, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.files import write_whole
from frcnn_core.int8 import CalibrationImages
from frcnn_core.model import Model
from frcnn_onnx import companions
from frcnn_onnx.build import Built, build
from frcnn_onnx.options import OnnxOptions


def write(
    model: Model,
    output: Path,
    settings: DetectionSettings,
    options: OnnxOptions,
    images: CalibrationImages | None,
    *,
    encode: Callable[[bytes], bytes] = bytes,
) -> list[Path]:
    """Build the detector, write it and its companions; the files written, ``output`` first.

    Args:
        encode: from the ONNX model to what is written as ``output``.

    Raises:
        FrcnnError: the model cannot be expressed, or a companion exists already.
    """
    if taken := [str(path) for path in companions.of(output, options) if path.exists()]:
        raise FrcnnError(
            f"{', '.join(taken)}: exists. Name other files, or move what is there away."
        )
    built: Built = build(model, settings, options, images)
    write_whole(output, encode(built.proto.SerializeToString()))
    written = [output]
    if options.data_type == "int8":
        from frcnn_onnx import int8

        written += int8.write_ranges(output, options, built.ranges)
    if options.gen_ds_config:
        from frcnn_onnx import deepstream

        written += deepstream.write(model, settings, output, options)
    if options.gen_triton:
        from frcnn_onnx import triton

        written += triton.write(output, built.proto)
    return written
