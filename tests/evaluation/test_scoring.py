"""Overlaps and matching, with boxes small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_core.evaluation.scoring import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    area,
    best_overlap,
    by_score,
    iou,
    match_best,
    match_free,
    threshold_range,
)

PLAIN = np.array([False])


def test_a_box_half_covered_by_an_equal_one_has_iou_of_a_third():
    assert iou([[0, 0, 10, 10]], [[0, 5, 10, 15]]).tolist() == [[50 / 150]]


def test_iou_has_no_plus_one():
    ours = iou([[10, 20, 109, 219]], [[15, 30, 124, 209]])
    assert ours[0, 0] == pytest.approx(0.7516304833, abs=1e-10)


def test_boxes_without_area_overlap_nothing_not_even_themselves():
    empty = [[5, 5, 5, 9], [0, 0, 0, 0], [9, 9, 5, 5]]
    assert iou(empty, empty).max() == 0
    assert area(empty).tolist() == [0, 0, 0]


def test_best_overlap_is_zero_where_there_is_nothing_to_overlap():
    assert best_overlap([[0, 0, 4, 4]], np.zeros((0, 4))).tolist() == [0]


def test_equal_scores_keep_their_order():
    assert by_score([0.5, 0.9, 0.5, 0.9]).tolist() == [1, 3, 0, 2]


def test_an_overlap_equal_to_the_threshold_is_enough():
    assert match_best(np.array([[0.5]]), PLAIN, [0.5]).tolist() == [[TRUE_POSITIVE]]


def test_a_second_detection_of_one_object_is_false():
    outcome = match_best(np.array([[0.6], [0.9]]), PLAIN, [0.5])
    assert outcome.tolist() == [[TRUE_POSITIVE, FALSE_POSITIVE]]


def test_voc_does_not_fall_back_to_the_second_best_object_but_coco_does():
    overlaps = np.array([[0.9, 0.0], [0.8, 0.7]])
    assert match_best(overlaps, np.zeros(2, bool), [0.5]).tolist() == [[1, 0]]
    assert match_free(overlaps, np.zeros((1, 2), bool), [0.5]).tolist() == [[[0, 1]]]


def test_a_detection_of_a_difficult_object_is_ignored_however_often():
    outcome = match_best(np.array([[0.6], [0.7]]), np.array([True]), [0.5])
    assert outcome.tolist() == [[IGNORED, IGNORED]]


def test_every_threshold_is_matched_by_itself():
    overlaps = np.array([[0.6], [0.9]])
    assert match_best(overlaps, PLAIN, [0.5, 0.75]).tolist() == [[1, 0], [0, 1]]
    assert match_free(overlaps, np.zeros((1, 1), bool), [0.5, 0.75]).tolist() == [
        [[0, -1], [-1, 0]]
    ]


def test_coco_prefers_an_object_that_counts_to_an_ignored_one_that_fits_better():
    overlaps = np.array([[0.9, 0.6]])
    assert match_free(overlaps, np.array([[True, False]]), [0.5]).tolist() == [[[1]]]
    assert match_free(overlaps, np.array([[True, False]]), [0.7]).tolist() == [[[0]]]


def test_coco_gives_equal_overlaps_to_the_last_object():
    assert match_free(np.array([[0.6, 0.6]]), np.zeros((1, 2), bool), [0.5]).tolist() == [[[1]]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_matches_nothing(shape):
    overlaps = np.zeros(shape)
    assert match_best(overlaps, np.zeros(shape[1], bool), [0.5]).tolist() == [[0] * shape[0]]
    assert match_free(overlaps, np.zeros((1, shape[1]), bool), [0.5]).tolist() == [
        [[-1] * shape[0]]
    ]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 5))
def test_coco_matching_equals_plain_loops(seed, num_detections, num_truths):
    random = np.random.default_rng(seed)
    overlaps = random.integers(0, 5, (num_detections, num_truths)) / 4  # quarters: many ties
    ignored = random.random((2, num_truths)) < 0.3
    thresholds = [0.25, 0.5, 1.0]
    expected = [[_coco_loops(overlaps, view, t) for t in thresholds] for view in ignored]
    assert match_free(overlaps, ignored, thresholds).tolist() == expected


def _coco_loops(overlaps, ignored, threshold):
    taken, matches = set(), []
    for row in overlaps:
        choice = -1
        for ignore in (False, True):
            best = min(threshold, 1 - 1e-10)
            for truth, overlap in enumerate(row):
                if truth not in taken and ignored[truth] == ignore and overlap >= best:
                    best, choice = overlap, truth
            if choice >= 0:
                break
        matches.append(choice)
        taken.add(choice) if choice >= 0 else None
    return matches


def test_the_coco_range_has_ten_thresholds_though_a_spec_holds_floats():
    start, end, step = (float(np.float32(number)) for number in (0.5, 1.0, 0.05))
    golden = [0.5, 0.5500000007, 0.6000000015, 0.6500000022, 0.7000000030]
    golden += [0.7500000037, 0.8000000045, 0.8500000052, 0.9000000060, 0.9500000067]
    ours = threshold_range(start, end, step)
    assert ours == pytest.approx(golden, abs=1e-8)
    assert ours[1] == 0.55


@pytest.mark.parametrize("end, last", [(0.95, 0.9), (0.951, 0.95)])
def test_the_end_of_a_range_is_left_out(end, last):
    assert threshold_range(0.5, end, 0.05)[-1] == last


@pytest.mark.slow
def test_a_range_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"no thresholds from 0\.9 to 0\.5"):
        threshold_range(0.9, 0.5, 0.05)
