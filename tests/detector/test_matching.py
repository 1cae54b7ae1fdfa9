"""Targets and samples, on boxes whose overlaps are easy to see and against plain loops."""

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import matching
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.matching import IGNORE, NEGATIVE, POSITIVE

PADDING = [0, 0, 0, 0]


def match(anchors, truth, size=(100, 100), low=0.3, high=0.7):
    """Labels and truth of one image, as lists."""
    found = matching.match_anchors(
        tf.constant(anchors, tf.float32),
        tf.constant([truth], tf.float32),
        tf.constant([size], tf.float32),
        low=low,
        high=high,
    )
    return found.labels.numpy()[0].tolist(), found.truth.numpy()[0].tolist()


def iou(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union > 0 else 0.0


# Anchors --------------------------------------------------------------------------------------


def test_an_anchor_is_positive_at_the_upper_threshold_and_negative_at_the_lower_one():
    # One box of 10 x 10; the anchors cover 10, 5 and 0 of its 10 columns and nothing else.
    anchors = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 50, 10, 60]]
    labels, truth = match(anchors, [[0, 0, 10, 10]], low=0.5, high=1.0)
    assert labels == [POSITIVE, NEGATIVE, NEGATIVE]
    assert truth[0] == 0


def test_an_anchor_between_the_thresholds_is_ignored():
    labels, _ = match([[0, 0, 10, 10], [0, 0, 10, 5]], [[0, 0, 10, 10]])
    assert labels == [POSITIVE, IGNORE]


def test_an_anchor_that_crosses_the_border_is_ignored_however_well_it_fits():
    anchors = [[-1, 0, 10, 10], [0, 0, 10, 101], [80, 80, 100, 100]]
    labels, _ = match(anchors, [[0, 0, 10, 10]])
    assert labels == [IGNORE, IGNORE, NEGATIVE]


def test_the_border_is_that_of_the_image_not_of_the_padded_batch():
    labels, _ = match([[0, 0, 10, 10], [0, 0, 10, 60]], [PADDING], size=(100, 50))
    assert labels == [NEGATIVE, IGNORE]


def test_a_box_without_a_positive_anchor_is_rescued_by_its_best_one():
    # Overlaps of 0.1 and 0.2: both would be negative.
    labels, truth = match([[0, 0, 10, 10], [0, 0, 10, 20]], [[0, 0, 10, 100]])
    assert labels == [NEGATIVE, POSITIVE]
    assert truth[1] == 0


def test_a_box_that_has_a_positive_anchor_rescues_no_other():
    labels, _ = match([[0, 0, 10, 10], [0, 0, 10, 9]], [[0, 0, 10, 10]], high=0.8)
    assert labels == [POSITIVE, POSITIVE]
    labels, _ = match([[0, 0, 10, 10], [0, 0, 10, 7]], [[0, 0, 10, 10]], high=0.8)
    assert labels == [POSITIVE, IGNORE]


def test_the_last_of_two_boxes_wins_an_anchor_that_is_best_for_both():
    left, right = [0, 0, 10, 20], [0, 20, 10, 40]
    for boxes in ([left, right], [right, left]):
        labels, truth = match([[0, 10, 10, 30]], boxes)
        assert labels == [POSITIVE]
        assert truth == [1]


def test_a_rescue_takes_an_anchor_away_from_the_box_it_was_positive_for():
    # The anchor covers 90 % of the first box, and is the only one to touch the second.
    anchors = [[0, 0, 10, 10]]
    labels, truth = match(anchors, [[0, 0, 10, 9], [0, 9, 10, 60]])
    assert labels == [POSITIVE]
    assert truth == [1]


def test_a_box_that_no_anchor_touches_rescues_none():
    labels, _ = match([[0, 0, 10, 10]], [[50, 50, 60, 60]])
    assert labels == [NEGATIVE]


def test_padding_rows_of_the_ground_truth_match_and_rescue_nothing():
    anchors = [[0, 0, 10, 10], [20, 20, 30, 30]]
    with_padding = match(anchors, [[20, 20, 30, 30], PADDING, PADDING])
    assert with_padding == match(anchors, [[20, 20, 30, 30]])
    assert match(anchors, [PADDING])[0] == [NEGATIVE, NEGATIVE]


def slow_match(anchors, truth, size, low, high):
    """The rules of the original, anchor by anchor."""
    inside = [y1 >= 0 and x1 >= 0 and y2 <= size[0] and x2 <= size[1] for y1, x1, y2, x2 in anchors]
    overlaps = [
        [iou(anchor, box) if within else 0.0 for box in truth]
        for anchor, within in zip(anchors, inside, strict=True)
    ]
    labels, assigned = [], []
    for row, within in zip(overlaps, inside, strict=True):
        assigned.append(row.index(max(row)))
        if max(row) >= high:
            labels.append(POSITIVE)
        else:
            labels.append(NEGATIVE if within and max(row) <= low else IGNORE)
    represented = {t for label, t in zip(labels, assigned, strict=True) if label == POSITIVE}
    for t in range(len(truth)):
        column = [row[t] for row in overlaps]
        if t not in represented and max(column) > 0:
            labels[column.index(max(column))] = POSITIVE
            assigned[column.index(max(column))] = t
    return labels, assigned


@pytest.mark.parametrize("seed", range(5))
def test_whole_batches_are_matched_as_anchor_by_anchor(seed):
    random = np.random.default_rng(seed)
    # Quarters of pixels: overlaps are exact enough for both to agree on the best.
    corners = random.integers(-40, 400, (60, 2)) / 4
    anchors = np.concatenate([corners, corners + random.integers(20, 200, (60, 2)) / 4], 1)
    corners = random.integers(0, 240, (2, 6, 2)) / 4
    truth = np.concatenate([corners, corners + random.integers(20, 160, (2, 6, 2)) / 4], 2)
    truth[1, 4:] = 0
    sizes = np.array([[100, 100], [90, 80]])
    found = matching.match_anchors(
        tf.constant(anchors, tf.float32),
        tf.constant(truth, tf.float32),
        tf.constant(sizes, tf.float32),
        low=0.2,
        high=0.4,
    )
    for i in range(2):
        labels, assigned = slow_match(anchors.tolist(), truth[i].tolist(), sizes[i], 0.2, 0.4)
        assert {POSITIVE, NEGATIVE, IGNORE} == set(labels)
        assert found.labels[i].numpy().tolist() == labels
        for label, fast, slow in zip(labels, found.truth[i].numpy(), assigned, strict=True):
            assert label != POSITIVE or fast == slow


# RoIs -----------------------------------------------------------------------------------------


def test_rois_are_positive_from_the_upper_and_negative_from_the_lower_threshold_on():
    rois = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 2], [0, 0, 10, 1], PADDING]
    found = matching.match_rois(
        tf.constant([rois], tf.float32), tf.constant([[[0.0, 0, 10, 10]]]), low=0.2, high=0.5
    )
    assert found.labels.numpy().tolist() == [[POSITIVE, POSITIVE, NEGATIVE, IGNORE, IGNORE]]


def test_a_roi_learns_the_box_it_overlaps_most():
    truth = [[[0.0, 0, 10, 6], [0, 6, 10, 20], PADDING]]
    found = matching.match_rois(tf.constant([[[0.0, 0, 10, 10]]]), truth, low=0.0, high=0.5)
    assert found.truth.numpy().tolist() == [[0]]


def test_without_ground_truth_every_real_roi_is_negative_when_the_lower_threshold_is_0():
    found = matching.match_rois(
        tf.constant([[[0.0, 0, 10, 10], PADDING]]), [[[0.0, 0, 0, 0]]], low=0.0, high=0.5
    )
    assert found.labels.numpy().tolist() == [[NEGATIVE, IGNORE]]


# Samples --------------------------------------------------------------------------------------


def sampled(sample, labels, num, seed=0):
    """Samples of one image: indices, positive and valid as arrays."""
    found = sample(tf.constant([labels]), tf.constant([[7, seed]]), num=num)
    return [column.numpy()[0] for column in found]


def counts(sample, positives, negatives, num, seed=0):
    """How many valid positives and negatives come from so many, after checking that each sample
    is what it says."""
    labels = np.array([POSITIVE] * positives + [NEGATIVE] * negatives + [IGNORE] * 3)
    labels = np.random.default_rng(seed).permutation(labels)
    indices, positive, valid = sampled(sample, labels.tolist(), num, seed)
    assert len(indices) == len(positive) == len(valid) == num
    assert (labels[indices[valid & positive]] == POSITIVE).all()
    assert (labels[indices[valid & ~positive]] == NEGATIVE).all()
    assert not (positive & ~valid).any()
    # Positives, then negatives, then padding.
    order = np.where(valid, np.where(positive, 0, 1), 2)
    assert (np.diff(order) >= 0).all()
    return int((valid & positive).sum()), int((valid & ~positive).sum())


@pytest.mark.parametrize(
    "positives, negatives, expected",
    [
        (3, 50, (3, 13)),  # negatives fill what positives leave
        (20, 50, (8, 8)),  # at most half are positive
        (20, 5, (8, 5)),  # surplus positives do not stand in for missing negatives
        (2, 3, (2, 3)),
        (0, 50, (0, 16)),
        (0, 0, (0, 0)),
    ],
)
def test_anchors_are_at_most_half_positive_and_none_comes_twice(positives, negatives, expected):
    assert counts(matching.sample_anchors, positives, negatives, num=16) == expected
    labels = [POSITIVE] * positives + [NEGATIVE] * negatives + [IGNORE]
    indices, _, valid = sampled(matching.sample_anchors, labels, 16)
    assert len(set(indices[valid])) == valid.sum()


@pytest.mark.parametrize(
    "positives, negatives, expected",
    [
        (10, 50, (4, 12)),  # a quarter of 16
        (2, 50, (2, 14)),
        (10, 5, (4, 12)),  # 5 negatives come again and again
        (2, 1, (2, 14)),
        (10, 0, (16, 0)),
        (30, 0, (16, 0)),
        (0, 5, (0, 16)),
        (0, 50, (0, 16)),
        (0, 0, (0, 0)),  # no proposal at all
    ],
)
def test_rois_fill_their_quota_wherever_there_is_any(positives, negatives, expected):
    assert counts(matching.sample_rois, positives, negatives, num=16) == expected


def test_too_few_rois_take_turns():
    labels = [NEGATIVE] * 5 + [POSITIVE] * 2
    indices, positive, _ = sampled(matching.sample_rois, labels, 16)
    assert sorted(indices[positive]) == [5, 6]
    # 14 negatives of 5: four come three times, one twice.
    assert sorted(np.bincount(indices[~positive])) == [2, 3, 3, 3, 3]


def test_enough_rois_come_once_each():
    indices, _, _ = sampled(matching.sample_rois, [NEGATIVE] * 20 + [POSITIVE] * 20, 16)
    assert len(set(indices)) == 16


@pytest.mark.parametrize("sample", [matching.sample_anchors, matching.sample_rois])
def test_a_sample_depends_on_its_own_seed_and_not_on_the_other_images(sample):
    labels = tf.constant([[POSITIVE] * 30 + [NEGATIVE] * 30] * 3)
    seeds = tf.constant([[1, 0], [1, 4], [1, 0]])
    together = sample(labels, seeds, num=8).indices.numpy()
    alone = sample(labels[1:2], seeds[1:2], num=8).indices.numpy()
    assert (together[0] == together[2]).all()
    assert (together[0] != together[1]).any()
    assert (together[1] == alone[0]).all()


@pytest.mark.parametrize("sample", [matching.sample_anchors, matching.sample_rois])
def test_every_candidate_is_drawn_sooner_or_later(sample):
    labels = tf.constant([[POSITIVE] * 8 + [NEGATIVE] * 8] * 60)
    seeds = tf.stack([tf.zeros(60, tf.int32), 4 * tf.range(60)], axis=1)
    found = sample(labels, seeds, num=8).indices.numpy()
    drawn = np.bincount(found.ravel(), minlength=16)
    # Of 60 x 8 draws each positive (or negative) has its share, about 15 to 45.
    assert drawn.min() > 5


def test_fewer_candidates_than_samples_are_no_problem():
    indices, positive, valid = sampled(matching.sample_anchors, [POSITIVE, NEGATIVE], 16)
    assert valid.sum() == 2
    assert positive.sum() == 1
    assert indices[0] == 0 and indices[1] == 1


@pytest.mark.slow
def test_anchors_that_padding_adds_do_not_change_which_are_sampled():
    """A map of 6 x 5 cells, alone and in the corner of one of 8 x 9."""
    random = np.random.default_rng(0)
    labels = random.choice([POSITIVE, NEGATIVE, IGNORE], (6, 5)).astype("int32")
    padded = np.full((8, 9), IGNORE, "int32")
    padded[:6, :5] = labels
    anchors = Anchors(scales=(16.0,), ratios=(1.0,))
    _, places = anchors.places(8, 9, np.array([[6, 5]], "int32"))
    seed = tf.constant([[3, 4]])
    alone = matching.sample_anchors(labels.reshape(1, -1), seed, num=8)
    beside = matching.sample_anchors(padded.reshape(1, -1), seed, num=8, places=places)
    assert alone.valid.numpy().all()
    np.testing.assert_array_equal(places.numpy()[0][beside.indices[0]], alone.indices[0])
    np.testing.assert_array_equal(beside.positive, alone.positive)
    without = matching.sample_anchors(padded.reshape(1, -1), seed, num=8)
    assert (places.numpy()[0][without.indices[0]] != alone.indices[0].numpy()).any()
