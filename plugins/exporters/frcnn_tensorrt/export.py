"""From a trained detector to an engine."""

from __future__ import annotations

from pathlib import Path

from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.files import require_free
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages
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
    require_free(writes(output, options)[1:])
    built = build(model, settings, options.of_onnx(), images)
    written = files.write(built.proto, output, settings_of(options), where="the detector")
    if options.data_type == "int8":
        written += int8.write_ranges(output, options, built.ranges, always=False)
    return written


def writes(output: Path, options: TensorrtOptions) -> list[Path]:
    """Every file that ``write`` writes, the engine first."""
    written = [output, sidecar.beside(output)]
    if options.data_type == "int8":
        # The ranges are in the engine, so files of them are for those who ask.
        written += int8.files(output, options, always=False)
    return written


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
