"""TensorFlow SavedModels: preprocessing, network and postprocessing in one folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, NoOptions, Runtime


class SavedModel(Exporter):
    name = "saved_model"
    summary = "TensorFlow SavedModel, for TensorFlow Serving and tf.saved_model.load"
    suffix = ".saved_model"

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: NoOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_saved_model import folder

        return folder.write(model, output, settings)

    def recognises(self, path: Path) -> bool:
        from frcnn_core.model_files import Format, recognise

        return recognise(path) is Format.SAVED_MODEL

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_saved_model import folder

        return folder.load(path)


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [SavedModel()]
