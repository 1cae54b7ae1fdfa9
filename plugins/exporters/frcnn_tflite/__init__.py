"""TensorFlow Lite: the whole detector in one file, for phones and small computers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_tflite.options import TfliteOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, Runtime


class Tflite(Exporter):
    name = "tflite"
    summary = "TensorFlow Lite file of built-in operators, float or int8, for phones and edge"
    suffix = ".tflite"
    # Ranges of int8 are measured as the onnx exporter does, and both describe models alike.
    requires = ("ai_edge_litert", "tf2onnx", "onnx", "onnxruntime")
    Options = TfliteOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: TfliteOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_tflite import file

        return file.write(model, output, settings, options, images)

    def writes(self, output: Path, options: TfliteOptions) -> Sequence[Path]:
        ranges = options.cal_json_file if options.data_type == "int8" else None
        return (output, ranges) if ranges else (output,)

    def recognises(self, path: Path) -> bool:
        from frcnn_core.model_files import Format, recognise

        return path.exists() and recognise(path) is Format.TFLITE

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_tflite import interpreter

        return interpreter.load(path)


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [Tflite()]
