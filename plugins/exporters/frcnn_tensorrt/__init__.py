"""TensorRT engines: built from the same ONNX that every runtime takes, and run by pycuda."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Exporter, hookimpl
from frcnn_tensorrt import api
from frcnn_tensorrt.options import TensorrtOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from frcnn_core.detector import DetectionSettings
    from frcnn_core.model_files import Model
    from frcnn_core.plugin import CalibrationImages, Runtime
    from frcnn_tensorrt import check

_MAGIC = (b"ftrt", b"ptrt", b"vtrt")
"""First bytes of engines, by how and with which version they were built; TensorRT for RTX writes
the last."""


class TensorRT(Exporter):
    name = "tensorrt"
    summary = "TensorRT engine of this machine's GPU, fp32, fp16 or int8"
    suffix = ".engine"
    # Either TensorRT does.  An engine can be built without pycuda: frcnn convert does.
    requires = ("tf2onnx", "onnx", api.installed() or api.PACKAGES[0], "pycuda")
    Options = TensorrtOptions

    def export(
        self,
        model: Model,
        output: Path,
        *,
        settings: DetectionSettings,
        options: TensorrtOptions,
        images: CalibrationImages | None = None,
    ) -> list[Path]:
        from frcnn_tensorrt import export

        return export.write(model, output, settings, options, images)

    def writes(self, output: Path, options: TensorrtOptions) -> Sequence[Path]:
        from frcnn_tensorrt import export

        return export.writes(output, options)

    def recognises(self, path: Path) -> bool:
        if path.suffix in (".engine", ".trt", ".plan"):
            return True
        try:
            with open(path, "rb") as file:
                return file.read(4) in _MAGIC
        except OSError:
            return False

    def load(self, path: Path, *, key: str = "") -> Runtime:
        from frcnn_tensorrt import session

        return session.load(path)

    def convert(self, path: Path, given: Mapping[str, Any]) -> list[Path]:
        """What ``frcnn convert`` does: the files written, of an .onnx or .etlt.

        Args:
            given: fields of ``convert.Conversion``, by name.
        """
        api.load()
        api.require_onnx()
        from frcnn_tensorrt import convert

        return convert.convert(path, convert.Conversion(**given))

    def check(self, path: Path, given: Mapping[str, Any]) -> check.Report:
        """What ``frcnn convert --check`` tells: a ``check.Report``."""
        api.require_onnx()
        from frcnn_tensorrt import convert

        return convert.check(path, convert.Conversion(**given))


@hookimpl
def frcnn_register_exporters() -> list[Exporter]:
    return [TensorRT()]
