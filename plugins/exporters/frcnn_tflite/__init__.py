"""TensorFlow Lite: the whole detector in one file, for phones and small computers."""

from frcnn_core import Exporter, hookimpl
from frcnn_tflite.options import TfliteOptions


class Tflite(Exporter):
    name = "tflite"
    summary = "TensorFlow Lite file of built-in operators, float or int8, for phones and edge"
    suffix = ".tflite"
    # Ranges of int8 are measured as the onnx exporter does, and both describe models alike.
    requires = ("ai_edge_litert", "tf2onnx", "onnx", "onnxruntime")
    Options = TfliteOptions

    def export(self, model, output, *, settings, options, images=None):
        from frcnn_tflite import file

        return file.write(model, output, settings, options, images)

    def writes(self, output, options):
        ranges = options.cal_json_file if options.data_type == "int8" else None
        return (output, ranges) if ranges else (output,)

    def recognises(self, path):
        from frcnn_core.model_files import Format, recognise

        return path.exists() and recognise(path) is Format.TFLITE

    def load(self, path, *, key=""):
        from frcnn_tflite import interpreter

        return interpreter.load(path)


@hookimpl
def frcnn_register_exporters():
    return [Tflite()]
