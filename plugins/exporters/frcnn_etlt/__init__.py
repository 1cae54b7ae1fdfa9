"""ONNX that a key protects, in the container that TLT's documentation describes."""

from frcnn_core import Exporter, hookimpl
from frcnn_etlt.options import EtltOptions


class Etlt(Exporter):
    name = "etlt"
    summary = "encrypted ONNX for frcnn's own runtimes and frcnn convert; NVIDIA's cannot read it"
    suffix = ".etlt"
    requires = ("tf2onnx", "onnx", "onnxruntime")
    Options = EtltOptions

    def export(self, model, output, *, settings, options, images=None):
        from functools import partial

        from frcnn_etlt import container
        from frcnn_onnx import files

        encode = partial(container.pack, key=options.key)
        return files.write(model, output, settings, options, images, encode=encode)

    def writes(self, output, options):
        from frcnn_onnx import Onnx

        return Onnx().writes(output, options)

    def load(self, path, *, key=""):
        from frcnn_etlt import container
        from frcnn_onnx import session

        return session.load(container.read(path, key), origin=str(path))


@hookimpl
def frcnn_register_exporters():
    return [Etlt()]
