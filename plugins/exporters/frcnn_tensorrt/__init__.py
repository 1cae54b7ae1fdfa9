"""TensorRT engines: built from the same ONNX that every runtime takes, and run by pycuda."""

from frcnn_core import Exporter, hookimpl
from frcnn_tensorrt import api
from frcnn_tensorrt.options import TensorrtOptions

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

    def export(self, model, output, *, settings, options, images=None):
        from frcnn_tensorrt import export

        return export.write(model, output, settings, options, images)

    def writes(self, output, options):
        from frcnn_tensorrt import export

        return export.writes(output, options)

    def recognises(self, path):
        if path.suffix in (".engine", ".trt", ".plan"):
            return True
        try:
            with open(path, "rb") as file:
                return file.read(4) in _MAGIC
        except OSError:
            return False

    def load(self, path, *, key=""):
        from frcnn_tensorrt import session

        return session.load(path)

    def convert(self, path, given):
        """What ``frcnn convert`` does: the files written, of an .onnx or .etlt.

        Args:
            given: fields of ``convert.Conversion``, by name.
        """
        api.load()
        api.require_onnx()
        from frcnn_tensorrt import convert

        return convert.convert(path, convert.Conversion(**given))

    def check(self, path, given):
        """What ``frcnn convert --check`` tells: a ``check.Report``."""
        api.require_onnx()
        from frcnn_tensorrt import convert

        return convert.check(path, convert.Conversion(**given))


@hookimpl
def frcnn_register_exporters():
    return [TensorRT()]
