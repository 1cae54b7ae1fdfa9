"""OpenVINO's intermediate representation, for Intel's processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_core.errors import FrcnnError
from frcnn_openvino.options import OpenVinoOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, Runtime


class OpenVino(Exporter):
    name = "openvino"
    summary = "OpenVINO IR, float or int8, for Intel CPUs, GPUs and NPUs"
    suffix = ".xml"
    requires = ("tf2onnx", "onnx", "onnxruntime", "openvino")
    Options = OpenVinoOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: OpenVinoOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_openvino import files

        return files.write(
            model, self.writes(output, options), settings=settings, options=options, images=images
        )

    def writes(self, output: Path, options: OpenVinoOptions) -> Sequence[Path]:
        if output.suffix == ".bin":
            raise FrcnnError(
                f"{output}: the weights of a graph in OpenVINO are its neighbour in .bin. Give the "
                f"graph's name: -o {output.with_suffix('.xml')}"
            )
        written = [output, output.with_suffix(".bin")]
        if options.data_type == "int8":
            from frcnn_onnx import int8

            written += int8.files(output, options, always=False)
        return written

    def recognises(self, path: Path) -> bool:
        from frcnn_openvino.header import is_representation

        return is_representation(path)

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_openvino import runtime

        return runtime.load(path)


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [OpenVino()]
