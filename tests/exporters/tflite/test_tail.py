"""The tail against the detector's own functions, which use operations that it may not."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import proposals, roi_pooling
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.settings import DetectionSettings
from frcnn_tflite import tail

SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=100,
    rpn_nms_max_boxes=12,
    classifier_nms_max_boxes=8,
    object_confidence_thres=0.2,
)
ANCHORS = Anchors(scales=(16.0, 40.0), ratios=(1.0, 2.0)).over(4, 6)
SIZE = np.float32([60, 90])
"""Of the valid part of an image of 64 x 96."""


def rpn_output(seed, spread=1.0):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, len(ANCHORS)).astype(np.float32)
    return logits, random.normal(0, spread, (len(ANCHORS), 4)).astype(np.float32)


def proposed(logits, deltas, settings=SETTINGS):
    return tail.propose(logits, deltas, ANCHORS, SIZE, settings).numpy()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pre_nms", [20, 1000])
def test_proposals_are_the_detectors(seed, pre_nms):
    logits, deltas = rpn_output(seed)
    expected = proposals.propose(
        tf.sigmoid(logits)[None],
        deltas[None],
        ANCHORS,
        SIZE[None],
        pre_nms=pre_nms,
        post_nms=12,
        iou=0.7,
    )
    found = proposed(logits, deltas, replace(SETTINGS, rpn_pre_nms_top_n=pre_nms))
    assert (found[:, 2] > found[:, 0]).sum() > 5
    np.testing.assert_allclose(found, expected.boxes[0], atol=1e-4)


def test_boxes_that_are_too_small_are_not_proposed_and_rows_of_zeros_take_their_place():
    logits, _ = rpn_output(0)
    deltas = np.zeros((len(ANCHORS), 4), np.float32)
    deltas[:, 2:] = -9  # sides of a few thousandths of a pixel
    np.testing.assert_array_equal(proposed(logits, deltas), np.zeros((12, 4)))


@pytest.mark.parametrize("side", [1, 2, 7])
def test_crops_are_the_detectors_also_beyond_the_last_cell(side):
    random = np.random.default_rng(0)
    features = random.normal(size=(1, 4, 6, 5)).astype(np.float32)
    corners = np.sort(random.uniform(0, 1, (40, 2, 2)), axis=1).reshape(-1, 4) * [64, 96, 64, 96]
    corners[:4] = [[0, 0, 64, 96], [63, 95, 64, 96], [0, 0, 0, 0], [10, 20, 10, 20]]
    rois = corners.astype(np.float32)
    expected = roi_pooling.crop_and_resize(
        tf.constant(features), tf.constant(rois[None]), tf.constant([64, 96]), side=side
    )
    found = tail.crop_and_resize(tf.constant(features[0]), rois, (64, 96), side=side)
    assert (np.abs(found[1]) < 1e-6).any(), "the second RoI reaches beyond the last cell"
    np.testing.assert_allclose(found, expected, atol=2e-5)


def slow_detections(logits, deltas, rois, settings):
    """Rows (class, score, box), by the definition: loops over classes and boxes, in float64."""
    logits = logits.astype(np.float64)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores = scores[:, :-1] / scores.sum(1, keepdims=True)
    rows = []
    for k in range(scores.shape[1]):
        dx, dy, dw, dh = (deltas[:, 4 * k : 4 * k + 4] / [10, 10, 5, 5]).T
        y1, x1, y2, x2 = rois.astype(np.float64).T
        height, width = y2 - y1, x2 - x1
        y, x = (y1 + y2) / 2 + dy * height, (x1 + x2) / 2 + dx * width
        half_height, half_width = height * np.exp(dh) / 2, width * np.exp(dw) / 2
        boxes = [y - half_height, x - half_width, y + half_height, x + half_width]
        boxes = np.clip(np.stack(boxes, 1), 0, np.tile(SIZE, 2))
        kept = []
        for i in np.argsort(-scores[:, k]):
            if scores[i, k] <= settings.object_confidence_thres or height[i] * width[i] <= 0:
                continue
            if all(overlap(boxes[i], boxes[j]) <= 0.3 for j in kept):
                kept.append(i)
        rows += [(k, scores[i, k], *boxes[i]) for i in kept]
    return sorted(rows, key=lambda row: -row[1])[: settings.classifier_nms_max_boxes]


def overlap(one, other):
    shared = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("most", [5, 8, 50])
def test_detections_are_those_of_a_slow_suppression(seed, most):
    random = np.random.default_rng(seed)
    rois = proposed(*rpn_output(seed, spread=0.2))
    rois[-2:] = 0  # padding, which detects nothing
    logits = random.normal(0, 2, (12, 4)).astype(np.float32)
    deltas = random.normal(0, 1, (12, 12)).astype(np.float32)
    settings = replace(SETTINGS, classifier_nms_max_boxes=most)
    expected = slow_detections(logits, deltas, rois, settings)
    found = tail.detect(
        *(tf.constant(array) for array in (logits, deltas, rois, SIZE)),
        settings,
        regression_scale=(10.0, 10.0, 5.0, 5.0),
    )
    count = found.count.numpy()
    assert count == len(expected) > 4
    np.testing.assert_array_equal(found.classes[:count], [row[0] for row in expected])
    np.testing.assert_allclose(found.scores[:count], [row[1] for row in expected], atol=1e-5)
    np.testing.assert_allclose(found.boxes[:count], [row[2:] for row in expected], atol=1e-3)
    assert found.boxes.shape == (most, 4)
    np.testing.assert_array_equal(found.classes[count:], -1)
    assert not np.any(found.boxes[count:]) and not np.any(found.scores[count:])
