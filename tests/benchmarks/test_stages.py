"""The stages are those of the detector itself."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import stages
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.structures import Batch


@pytest.fixture(scope="module")
def batch() -> Batch:
    """One picture of noise, with one object."""
    return Batch(
        images=tf.random.stateless_normal((1, 32, 48, 3), (0, 0)),
        sizes=tf.constant([[32.0, 48.0]]),
        scales=tf.ones((1, 2)),
        boxes=tf.constant([[[4.0, 6.0, 26.0, 30.0]]]),
        classes=tf.constant([[1]]),
        difficult=tf.constant([[False]]),
        names=tf.constant(["noise.png"]),
    )


@pytest.mark.slow
def test_the_stages_of_a_training_step_end_in_its_losses_and_gradients(tiny_model, batch):
    detector, settings = tiny_model.detector, TrainingSettings(roi_mini_batch=8)
    found = {n: run(batch) for n, run in stages.of_training(detector, settings).items()}
    assert list(found) == ["features", "RPN", "proposals", "RoI head", "backward"]
    _, rpn_losses, rois = found["proposals"]
    np.testing.assert_allclose(rpn_losses, found["RoI head"][:2], rtol=1e-6)
    assert rois.boxes.shape == (1, 8, 4)
    for gradient, variable in zip(found["backward"], detector.trainable_variables, strict=True):
        assert gradient.shape == variable.shape


@pytest.mark.slow
def test_the_stages_of_a_detection_end_in_its_proposals(tiny_model, batch):
    detector, settings = tiny_model.detector, DetectionSettings(rpn_nms_max_boxes=6)
    found = {n: run(batch) for n, run in stages.of_detection(detector, settings).items()}
    assert list(found) == ["features", "RPN", "proposals"]
    whole = detector.detect(batch.images, batch.sizes, settings)
    np.testing.assert_allclose(found["proposals"][1].boxes, whole.proposals, rtol=1e-6)
