"""OpenVINO's intermediate representation, for Intel's processors."""

from frcnn_core import Exporter, hookimpl
from frcnn_core.errors import FrcnnError
from frcnn_openvino.options import OpenVinoOptions


class OpenVino(Exporter):
    name = "openvino"
    summary = "OpenVINO IR, float or int8, for Intel CPUs, GPUs and NPUs"
    suffix = ".xml"
    requires = ("tf2onnx", "onnx", "onnxruntime", "openvino")
    Options = OpenVinoOptions

    def export(self, model, output, *, settings, options, images=None):
        from frcnn_openvino import files

        return files.write(
            model, self.writes(output, options), settings=settings, options=options, images=images
        )

    def writes(self, output, options):
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

    def recognises(self, path):
        from frcnn_openvino.header import is_representation

        return is_representation(path)

    def load(self, path, *, key=""):
        from frcnn_openvino import runtime

        return runtime.load(path)


@hookimpl
def frcnn_register_exporters():
    return [OpenVino()]
