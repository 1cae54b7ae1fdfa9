"""Writes what an export consists of: the model, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.files import require_free, write_whole
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
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
    require_free(companions.of(output, options))
    if options.gen_ds_config and model.preprocessing.is_dynamic:
        raise FrcnnError(
            "--gen_ds_config: DeepStream needs a fixed input size, and the model's "
            "input_image_config has size_min. Leave it out, or train with size_height_width."
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
