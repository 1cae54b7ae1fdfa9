"""An image that could not be read (size (0, 0), no objects) teaches a detector nothing."""

import numpy as np
import pytest
import tensorflow as tf
import toy

from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.structures import Batch

SETTINGS = TrainingSettings(
    rpn_mini_batch=16, roi_mini_batch=8, rpn_nms_max_boxes=16, rpn_max_overlap=0.5, gt_as_roi=True
)


@pytest.fixture(scope="module", params=[False, True], ids=["static", "dynamic"])
def detector(request):
    return toy_detector(dynamic_shape=request.param)


def toy_detector(*, dynamic_shape: bool, **config) -> FasterRCNN:
    drawn = toy.detector(**config)
    return FasterRCNN(*drawn.parts.values(), anchors=drawn.anchors, dynamic_shape=dynamic_shape)


def batch_of(*present: bool) -> Batch:
    """Images of noise with one object each, and black ones without a size."""
    there = np.array(present)
    box = np.float32([[8, 8, 40, 40]])
    noise = np.random.default_rng(0).normal(size=(len(there), 64, 64, 3))
    return Batch(
        images=tf.constant(np.where(there[:, None, None, None], noise, 0), tf.float32),
        sizes=tf.constant(np.where(there[:, None], 64.0, 0.0), tf.float32)
        * tf.ones((len(there), 2)),
        scales=tf.ones((len(there), 2)),
        boxes=tf.constant(np.where(there[:, None, None], box, 0), tf.float32),
        classes=tf.constant(np.where(there[:, None], 1, -1), tf.int32),
        difficult=tf.zeros((len(there), 1), tf.bool),
        names=tf.constant([str(i) for i in range(len(there))]),
    )


def losses(detector, batch, settings=SETTINGS):
    seeds = tf.constant([[1, 4 * image] for image in range(len(batch.images))])
    return [float(term) for term in detector.losses(batch, seeds, settings)][:4]


@pytest.mark.parametrize("gt_as_roi", [True, False])
def test_a_batch_of_nothing_but_absent_images_has_losses_of_zero(detector, gt_as_roi):
    settings = TrainingSettings(rpn_mini_batch=16, roi_mini_batch=8, gt_as_roi=gt_as_roi)
    assert losses(detector, batch_of(False, False), settings) == [0, 0, 0, 0]


@pytest.mark.parametrize("dynamic_shape", [False, True])
def test_beside_present_images_an_absent_one_adds_nothing(dynamic_shape):
    detector = toy_detector(dynamic_shape=dynamic_shape, freeze_bn=True)
    alone = losses(detector, batch_of(True))
    beside = losses(detector, batch_of(True, False))
    assert min(alone) > 0
    np.testing.assert_allclose(beside, np.array(alone) / 2, rtol=1e-4)


def test_gradients_stay_finite_beside_an_absent_image(detector):
    batch, seeds = batch_of(True, False), tf.constant([[1, 0], [1, 4]])
    with tf.GradientTape() as tape:
        total = detector.losses(batch, seeds, SETTINGS).total
    gradients = tape.gradient(total, [v.value for v in detector.trainable_variables])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any(np.abs(gradient).max() > 0 for gradient in gradients)


def test_nothing_is_proposed_or_detected_in_an_absent_image(detector):
    batch = batch_of(True, False)
    found = detector.detect(batch.images, batch.sizes, DetectionSettings())
    assert found.counts.numpy()[0] > 0
    assert found.counts.numpy()[1] == 0
    assert not found.proposals[1].numpy().any()
    for part in found:
        assert np.isfinite(part.numpy()).all()
