"""ONNX of standard operators, for ONNX Runtime, OpenVINO, TensorRT and DeepStream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_onnx.options import OnnxOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, LayerCost, Runtime


class Onnx(Exporter):
    name = "onnx"
    summary = "ONNX of standard operators, float or int8, for ONNX Runtime, TensorRT, DeepStream"
    suffix = ".onnx"
    requires = ("tf2onnx", "onnx", "onnxruntime")
    Options = OnnxOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: OnnxOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_onnx import files

        return files.write(model, output, settings, options, images)

    def writes(self, output: Path, options: OnnxOptions) -> Sequence[Path]:
        from frcnn_onnx import companions

        return [output, *companions.of(output, options)]

    def recognises(self, path: Path) -> bool:
        from frcnn_core.model_files import Format, recognise

        return path.exists() and recognise(path) is Format.ONNX

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_onnx import session

        return session.load(path)

    def layer_costs(self, path: Path, images: CalibrationImages) -> Sequence[LayerCost]:
        from frcnn_onnx.int8 import layer_costs

        return layer_costs(path, images)


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [Onnx()]
