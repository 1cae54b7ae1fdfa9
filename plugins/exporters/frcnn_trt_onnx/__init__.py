"""ONNX with the operators of TensorRT's plugins, as TAO exports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_trt_onnx.options import TrtOnnxOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages


class TrtOnnx(Exporter):
    name = "trt_onnx"
    summary = "the original's ONNX graph, for TensorRT with its plugin library and nothing else"
    # Path.suffix has one dot: an ending in .onnx would be the onnx exporter's.
    suffix = ".trt_onnx"
    requires = ("tf2onnx", "onnx")
    runs_elsewhere = (
        "ProposalDynamic, CropAndResizeDynamic and NMSDynamic_TRT are operators of TensorRT's "
        "plugin library alone: build an engine, trtexec --onnx=FILE. For a file that runs "
        "everywhere: frcnn export onnx -m MODEL"
    )
    Options = TrtOnnxOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: TrtOnnxOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_trt_onnx import files

        return files.write(model, output, settings, options, images)

    def writes(self, output: Path, options: TrtOnnxOptions) -> Sequence[Path]:
        from frcnn_onnx import companions

        return (output, *companions.of(output, options))


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [TrtOnnx()]
