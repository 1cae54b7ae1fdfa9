"""From a trained detector to an engine."""

from __future__ import annotations

from pathlib import Path

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.int8 import CalibrationImages
from frcnn_core.model import Model
from frcnn_onnx import int8
from frcnn_onnx.build import build
from frcnn_tensorrt import api, engine, files, sidecar
from frcnn_tensorrt.options import TensorrtOptions, bytes_of


def write(
    model: Model,
    output: Path,
    settings: DetectionSettings,
    options: TensorrtOptions,
    images: CalibrationImages | None,
) -> list[Path]:
    """Build the detector as ONNX, and an engine of it; the files written, the engine first.

    Raises:
        FrcnnError: TensorRT is not installed or fails, or a file to write beside the engine
            exists.
    """
    api.load()  # its absence is told before the work
    if model.preprocessing.is_dynamic:
        raise FrcnnError(
            "An engine needs a fixed input size, and the model's input_image_config has size_min. "
            "Export onnx or saved_model, or train with size_height_width."
        )
    as_onnx = options.onnx(output)
    for path in writes(output, options)[1:]:
        files.require_free(path)
    built = build(model, settings, as_onnx, images)
    written = files.write(built.proto, output, settings_of(options), where="the detector")
    if _writes_ranges(options):
        written += int8.write_ranges(output, as_onnx, built.ranges)
    return written


def writes(output: Path, options: TensorrtOptions) -> list[Path]:
    """Every file that ``write`` writes, the engine first."""
    ranges = int8.files(output, options.onnx(output)) if _writes_ranges(options) else []
    return [output, sidecar.beside(output), *ranges]


def _writes_ranges(options: TensorrtOptions) -> bool:
    """The ranges are in the engine, so files of them are for those who ask."""
    return options.data_type == "int8" and bool(options.cal_cache_file or options.cal_json_file)


def settings_of(options: TensorrtOptions) -> engine.Settings:
    """How the engine is built."""
    return engine.Settings(
        precision=options.data_type,
        least=options.min_batch_size,
        optimal=options.opt_batch_size,
        most=options.max_batch_size,
        workspace=bytes_of(options.max_workspace_size),
        strict=options.strict_type_constraints,
        dla_core=options.dla_core,
        compute_capabilities=options.compute_capability,
    )
