"""ONNX of standard operators, for ONNX Runtime, OpenVINO, TensorRT and DeepStream."""

from frcnn_core import Exporter, hookimpl
from frcnn_onnx.options import OnnxOptions


class Onnx(Exporter):
    name = "onnx"
    summary = "ONNX of standard operators, float or int8, for ONNX Runtime, TensorRT, DeepStream"
    suffix = ".onnx"
    requires = ("tf2onnx", "onnx", "onnxruntime")
    Options = OnnxOptions

    def export(self, model, output, *, settings, options, images=None):
        from frcnn_onnx import files

        return files.write(model, output, settings, options, images)

    def writes(self, output, options):
        from frcnn_onnx import companions

        return [output, *companions.of(output, options)]

    def recognises(self, path):
        from frcnn_core.model_files import Format, recognise

        return path.exists() and recognise(path) is Format.ONNX

    def load(self, path, *, key=""):
        from frcnn_onnx import session

        return session.load(path)

    def layer_costs(self, path, images):
        from frcnn_onnx.int8 import layer_costs

        return layer_costs(path, images)


@hookimpl
def frcnn_register_exporters():
    return [Onnx()]
