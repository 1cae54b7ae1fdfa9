"""Geometry of boxes, against paper-and-pencil numbers and a version with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from frcnn_core import boxes

# What published examples write as inclusive pixels is one pixel larger in continuous coordinates.
BOX, TRUTH = [10, 20, 109, 219], [15, 30, 124, 209]
BOX_INCLUSIVE, TRUTH_INCLUSIVE = [10, 20, 110, 220], [15, 30, 125, 210]


def floats(*rows):
    return np.array(rows, "float32")


def slow_iou(a, b):
    """Overlap of two boxes."""
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    shared = height * width
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def random_boxes(random, *shape):
    corners = random.uniform(0, 100, (*shape, 2))
    sides = random.uniform(1, 80, (*shape, 2))
    return np.concatenate([corners, corners + sides], -1).astype("float32")


def test_a_box_from_0_to_10_is_10_wide():
    assert boxes.area(floats([0, 0, 10, 10])).numpy().tolist() == [100]


def test_half_covered_boxes_share_a_third_of_their_union():
    assert boxes.iou(floats([0, 0, 2, 2]), floats([0, 1, 2, 3])).numpy() == pytest.approx(1 / 3)


def test_boxes_that_touch_do_not_overlap():
    assert boxes.iou(floats([0, 0, 2, 2]), floats([0, 2, 2, 4])).numpy() == 0


def test_a_padding_row_overlaps_nothing_not_even_itself():
    rows = floats([0, 0, 0, 0], [0, 0, 4, 4])
    assert boxes.iou(rows, rows).numpy().tolist() == [[0, 0], [0, 1]]


def test_iou_of_whole_batches_equals_that_of_pairs():
    random = np.random.default_rng(1)
    some, others = random_boxes(random, 2, 5), random_boxes(random, 2, 3)
    expected = [[[slow_iou(a, b) for b in others[i]] for a in some[i]] for i in range(2)]
    np.testing.assert_allclose(boxes.iou(some, others), expected, rtol=1e-5)


def test_published_overlap_of_continuous_boxes():
    assert boxes.iou(floats(BOX), floats(TRUTH)).numpy() == pytest.approx(0.7516304833, rel=1e-6)


def test_published_overlap_of_inclusive_boxes_when_their_far_corners_move_by_one():
    overlap = boxes.iou(floats(BOX_INCLUSIVE), floats(TRUTH_INCLUSIVE)).numpy()
    assert overlap == pytest.approx(0.7533039648, rel=1e-6)


def test_published_offsets_of_inclusive_boxes_when_their_far_corners_move_by_one():
    offsets = boxes.encode(floats(TRUTH_INCLUSIVE), floats(BOX_INCLUSIVE)).numpy()[0]
    np.testing.assert_allclose(offsets, [0.0, 0.1, -0.1053605157, 0.0953101798], atol=1e-6)


def test_offsets_of_continuous_boxes_are_shifts_over_sides_and_logarithms_of_ratios():
    # Centres 10 apart in y, sides 99 x 199 against 109 x 179.
    offsets = boxes.encode(floats(TRUTH), floats(BOX)).numpy()[0]
    expected = [0.0, 10 / 99, math.log(179 / 199), math.log(109 / 99)]
    np.testing.assert_allclose(offsets, expected, atol=1e-6)


def test_published_decoding_without_plus_one():
    offsets = floats([0.0, 0.1, -0.1053605157, 0.0953101798])
    decoded = boxes.decode(offsets, floats(BOX)).numpy()[0]
    np.testing.assert_allclose(decoded, [14.95, 29.95, 123.85, 209.05], atol=1e-4)


def test_offsets_come_in_the_order_x_y_width_height():
    decoded = boxes.decode(floats([1, 0, math.log(2), 0]), floats([0, 0, 10, 20])).numpy()[0]
    np.testing.assert_allclose(decoded, [0, 10, 10, 50], atol=1e-4)


side = st.floats(1, 200, width=32)
corner = st.floats(-50, 400, width=32)


@given(st.tuples(corner, corner, side, side), st.tuples(corner, corner, side, side))
@settings(max_examples=50, deadline=None)
def test_decoding_undoes_encoding(box, anchor):
    # decode() follows no further.
    assume(max(box[2] / anchor[2], box[3] / anchor[3]) < 1000 / 16)
    (y, x, h, w), (v, u, g, t) = box, anchor
    box, anchor = floats([y, x, y + h, x + w]), floats([v, u, v + g, u + t])
    decoded = boxes.decode(boxes.encode(box, anchor), anchor)
    np.testing.assert_allclose(decoded, box, atol=2e-3)


def test_a_wild_offset_makes_at_most_1000_pixels_of_16():
    decoded = boxes.decode(floats([0, 0, 99, 99]), floats([0, 0, 16, 16])).numpy()[0]
    np.testing.assert_allclose(decoded, [-492, -492, 508, 508], rtol=1e-5)


def test_the_offsets_of_a_padding_row_are_finite():
    assert np.isfinite(boxes.encode(floats([0, 0, 0, 0]), floats([0, 0, 8, 8]))).all()


def test_each_image_clips_its_boxes_at_its_own_border():
    outside = np.tile(floats([-5, -5, 50, 50]), (2, 1, 1))
    clipped = boxes.clip(outside, floats([20, 30], [40, 10])).numpy()
    assert clipped.tolist() == [[[0, 0, 20, 30]], [[0, 0, 40, 10]]]
