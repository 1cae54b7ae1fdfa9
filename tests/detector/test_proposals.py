import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.boxes import MAX_LOG_SCALE
from frcnn_core.detector.proposals import MIN_SIDE, propose


def proposed(scores, deltas, anchors, size=(100, 100), pre_nms=100, post_nms=5, iou=0.7, own=None):
    found = propose(
        tf.constant([scores], tf.float32),
        tf.constant([deltas], tf.float32),
        tf.constant(anchors, tf.float32),
        tf.constant([size], tf.float32),
        pre_nms=pre_nms,
        post_nms=post_nms,
        iou=iou,
        own=None if own is None else tf.constant([own]),
    )
    return found.boxes.numpy()[0], found.scores.numpy()[0]


def still(count):
    """Deltas that leave anchors as they are."""
    return np.zeros((count, 4))


APART = [[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90]]


def test_the_best_come_first_and_rows_of_zeros_fill_up():
    boxes, scores = proposed([0.2, 0.9, 0.5], still(3), APART)
    np.testing.assert_allclose(boxes, [APART[1], APART[2], APART[0], [0] * 4, [0] * 4], atol=1e-4)
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.2, 0, 0])


def test_an_anchor_that_is_not_the_images_own_proposes_nothing_and_takes_no_place():
    boxes, scores = proposed([0.2, 0.9, 0.5], still(3), APART, pre_nms=1, own=[True, False, True])
    np.testing.assert_allclose(boxes, [APART[2], *[[0] * 4] * 4], atol=1e-4)
    np.testing.assert_allclose(scores, [0.5, 0, 0, 0, 0])


def test_a_box_that_overlaps_a_better_one_too_much_goes():
    # Overlaps with the first: 0.8 and 0.6.
    anchors = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]]
    boxes, _ = proposed([0.9, 0.8, 0.7], still(3), anchors, post_nms=3)
    np.testing.assert_allclose(boxes, [anchors[0], anchors[2], [0] * 4], atol=1e-5)


def test_a_box_that_was_suppressed_suppresses_none():
    # Each overlaps its neighbour by 9 / 11 and the one after by 8 / 12.
    anchors = [[0, 0, 10, 10], [0, 1, 10, 11], [0, 2, 10, 12]]
    boxes, _ = proposed([0.9, 0.8, 0.7], still(3), anchors, post_nms=3)
    np.testing.assert_allclose(boxes, [anchors[0], anchors[2], [0] * 4], atol=1e-5)


def test_only_the_best_enter_the_suppression():
    boxes, _ = proposed([0.2, 0.9, 0.5], still(3), APART, pre_nms=2)
    np.testing.assert_allclose(boxes[:3], [APART[1], APART[2], [0] * 4], atol=1e-4)


def test_boxes_are_cut_at_the_border_of_their_own_image():
    boxes, _ = proposed([0.9], still(1), [[-8, -8, 60, 70]], size=(50, 40))
    assert boxes[0].tolist() == [0, 0, 50, 40]


def test_what_is_no_more_than_a_pixel_wide_or_high_is_dropped():
    thin, flat, small = [0, 0, 20, MIN_SIDE], [30, 0, 30 + MIN_SIDE, 20], [60, 60, 61.5, 61.5]
    boxes, _ = proposed([0.9, 0.8, 0.1], still(3), [thin, flat, small])
    np.testing.assert_allclose(boxes[:2], [small, [0] * 4])


def test_an_anchor_outside_of_the_image_proposes_nothing():
    boxes, scores = proposed([0.9], still(1), [[120, 120, 140, 140]])
    assert not boxes.any() and not scores.any()


def test_scores_of_zero_are_proposed_too():
    boxes, _ = proposed([0.0, 0.0], still(2), APART[:2], post_nms=2)
    assert boxes.any(axis=1).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whole_batches_are_proposed_as_box_by_box(seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(-10, 80, (40, 2))
    anchors = np.concatenate([corners, corners + random.uniform(4, 50, (40, 2))], 1)
    deltas = random.normal(0, 0.3, (2, 40, 4))
    deltas[0, :2, 2:] = 9  # wilder than decode() follows
    scores = random.permuted(np.linspace(0, 1, 80)).reshape(2, 40)
    sizes = np.array([[100, 100], [60, 90]])
    found = propose(
        tf.constant(scores, tf.float32),
        tf.constant(deltas, tf.float32),
        tf.constant(anchors, tf.float32),
        tf.constant(sizes, tf.float32),
        pre_nms=25,
        post_nms=8,
        iou=0.4,
    )
    for i in range(2):
        boxes, kept = slow_propose(scores[i], deltas[i], anchors, sizes[i], 25, 8, 0.4)
        np.testing.assert_allclose(found.boxes[i], boxes, atol=1e-3)
        np.testing.assert_allclose(found.scores[i], kept, rtol=1e-6)


def slow_propose(scores, deltas, anchors, size, pre_nms, post_nms, iou):
    """One image, box by box."""
    candidates = []
    for score, (dx, dy, dw, dh), (y1, x1, y2, x2) in zip(scores, deltas, anchors, strict=True):
        height, width = y2 - y1, x2 - x1
        y, x = (y1 + y2) / 2 + dy * height, (x1 + x2) / 2 + dx * width
        height *= np.exp(min(dh, MAX_LOG_SCALE))
        width *= np.exp(min(dw, MAX_LOG_SCALE))
        top, bottom = (min(max(v, 0), size[0]) for v in (y - height / 2, y + height / 2))
        left, right = (min(max(v, 0), size[1]) for v in (x - width / 2, x + width / 2))
        if bottom - top > MIN_SIDE and right - left > MIN_SIDE:
            candidates.append((score, (top, left, bottom, right)))
    kept = []
    for score, box in sorted(candidates, reverse=True)[:pre_nms]:
        if len(kept) < post_nms and all(overlap(box, other) <= iou for _, other in kept):
            kept.append((score, box))
    missing = post_nms - len(kept)
    return (
        np.array([box for _, box in kept] + [(0, 0, 0, 0)] * missing),
        np.array([score for score, _ in kept] + [0] * missing),
    )


def overlap(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union
