"""ONNX that a key protects, in the container that TLT's documentation describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_etlt.options import EtltOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, Runtime


class Etlt(Exporter):
    name = "etlt"
    summary = "encrypted ONNX for frcnn's own runtimes and frcnn convert; NVIDIA's cannot read it"
    suffix = ".etlt"
    requires = ("tf2onnx", "onnx", "onnxruntime")
    Options = EtltOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: EtltOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from functools import partial

        from frcnn_etlt import container
        from frcnn_onnx import files

        encode = partial(container.pack, key=options.key)
        return files.write(model, output, settings, options, images, encode=encode)

    def writes(self, output: Path, options: EtltOptions) -> Sequence[Path]:
        from frcnn_onnx import Onnx

        return Onnx().writes(output, options)

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_etlt import container
        from frcnn_onnx import session

        return session.load(container.read(path, key), origin=str(path))


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [Etlt()]
