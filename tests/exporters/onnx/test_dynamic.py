"""A detector of a dynamic shape in ONNX Runtime."""

from dataclasses import replace

import numpy as np
import pytest

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.testing.exporter import small_model
from frcnn_onnx import files
from frcnn_onnx.build import build
from frcnn_onnx.options import OnnxOptions
from frcnn_onnx.session import load

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=40, rpn_nms_max_boxes=20, classifier_nms_max_boxes=10
)


@pytest.fixture(scope="module")
def model():
    fixed = small_model()
    return replace(
        fixed,
        detector=FasterRCNN(
            **fixed.detector.parts, anchors=fixed.detector.anchors, dynamic_shape=True
        ),
        preprocessing=Preprocessing(0, 0, min_side=40, max_side=70),
    )


@pytest.mark.slow
@pytest.mark.parametrize("outputs", ["nms", "named"])
def test_images_of_several_sizes_are_detected_as_by_the_model(model, outputs):
    built = build(model, SETTINGS, OnnxOptions(outputs=outputs))
    runtime = load(built.proto.SerializeToString())
    # The second is smaller than the batch, the third has fewer anchors than there are proposals.
    sizes = np.float32([[70, 41], [40, 60], [16, 30]])
    images = np.random.default_rng(0).standard_normal((3, 80, 64, 3), "float32")
    for image, (height, width) in zip(images, sizes.astype(int), strict=True):
        image[height:] = image[:, width:] = 0
    expected = model.detector.detect(images, sizes, SETTINGS)
    assert expected.counts.numpy().min() > 0
    found = runtime.detect(images, sizes)
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-3, err_msg=name
        )


@pytest.mark.slow
def test_deepstream_gets_no_configuration_of_it(model, tmp_path):
    with pytest.raises(FrcnnError, match=r"--gen_ds_config: .*train with size_height_width"):
        files.write(
            model, tmp_path / "a.onnx", SETTINGS, OnnxOptions(gen_ds_config=True), images=None
        )
    assert not any(tmp_path.iterdir())
