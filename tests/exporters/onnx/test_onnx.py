from typing import ClassVar

from frcnn_core.testing import ExporterContract
from frcnn_onnx import Onnx


class TestOnnx(ExporterContract):
    exporter = Onnx()


class TestOnnxWithNamedOutputsAndSizes(ExporterContract):
    exporter = Onnx()
    given: ClassVar = {"outputs": "named", "image_sizes": True}


class TestOnnxOfAFixedBatch(ExporterContract):
    """Two images run in one batch of three."""

    exporter = Onnx()
    given: ClassVar = {"static_batch_size": 3}


class TestOnnxWithPreprocessing(ExporterContract):
    exporter = Onnx()
    given: ClassVar = {"embed_preprocessing": True}
