import pytest

from exporters.tensorrt import fakes
from frcnn_core.testing.exporter import small_model


@pytest.fixture(scope="session")
def small_onnx():
    """The detector of ``small_model`` in ONNX, for any number of images of 64x96."""
    from frcnn_core.detector.settings import DetectionSettings
    from frcnn_onnx.build import build
    from frcnn_onnx.options import OnnxOptions

    settings = DetectionSettings(
        rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
    )
    return build(small_model(), settings, OnnxOptions()).proto


@pytest.fixture
def tensorrt(monkeypatch):
    """A stand-in for TensorRT 11, and one for pycuda."""
    with fakes.installed(monkeypatch) as package:
        yield package


@pytest.fixture
def tensorrt_10(monkeypatch):
    with fakes.installed(monkeypatch, "10.13.0") as package:
        yield package
