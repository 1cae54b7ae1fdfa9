import numpy as np
import pytest

from frcnn_core import boxes as geometry
from frcnn_core.detector import matching
from frcnn_core.detector.anchors import Anchors
from frcnn_core.survey.anchor_cover import Boxes, best_iou, cover, cover_by_class, never_inside
from frcnn_core.survey.anchor_cover import overlaps as best_overlaps

ANCHORS = Anchors(scales=(16.0, 32.0, 64.0), ratios=(1.0, 0.5, 2.0))


def boxes_in(height, width, boxes, classes=None) -> Boxes:
    boxes = np.array(boxes, float).reshape(-1, 4)
    sizes = np.tile([height, width], (len(boxes), 1)).astype(float)
    return Boxes(boxes, sizes, np.zeros(len(boxes), int) if classes is None else np.array(classes))


def random_boxes(height, width, count, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres, sides = (
        rng.uniform(0, 1, (count, 2)) * [height, width],
        rng.uniform(2, 120, (count, 2)),
    )
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    return np.clip(corners, 0, [height, width, height, width]).astype(np.float32)


@pytest.mark.parametrize("size", [(96, 160), (123, 203), (40, 300), (17, 17)])
def test_the_overlap_is_that_of_the_best_of_all_anchors_inside(size):
    height, width = size
    boxes = random_boxes(height, width, 200, seed=height)
    grid = ANCHORS.over(-(-height // 16), -(-width // 16)).numpy()
    inside = (grid[:, :2] >= 0).all(1) & (grid[:, 2] <= height) & (grid[:, 3] <= width)
    best = geometry.iou(grid[inside], boxes).numpy().max(axis=0, initial=0)
    np.testing.assert_allclose(
        best_overlaps(boxes_in(height, width, boxes), ANCHORS), best, atol=1e-5
    )


@pytest.mark.slow
def test_who_is_covered_and_who_is_rescued_is_what_training_says():
    height, width = 123, 203
    boxes = random_boxes(height, width, 60, seed=7)
    found = cover(boxes_in(height, width, boxes), ANCHORS, 0.6)
    grid = ANCHORS.over(8, 13)
    covered = rescued = 0
    for box in boxes:  # alone in its image, so that no other box takes its anchors
        matches = matching.match_anchors(
            grid, box[None, None], np.float32([[height, width]]), low=0.3, high=0.6
        )
        positive = matches.labels.numpy()[0] == matching.POSITIVE
        overlaps = geometry.iou(grid, box[None]).numpy()[:, 0]
        fits = bool((positive & (overlaps >= 0.6)).any())
        covered += fits
        rescued += positive.any() and not fits
    assert (found.covered * 60, found.rescued * 60) == pytest.approx((covered, rescued))
    assert 0 < covered < 60 and rescued  # or the test would say little


def test_an_anchor_that_is_the_box_overlaps_it_wholly():
    # A cell's centre is at 8 + 16 * k.
    assert best_iou(boxes_in(64, 64, [16, 16, 32, 32]), np.array([16.0, 16.0])) == [1.0]


def test_a_box_between_two_cells_overlaps_the_nearest_half():
    # From 8 to 24, and anchors of 16 from 0 to 16 and from 16 to 32: 8 of 16 + 16 - 8 pixels.
    (found,) = best_iou(boxes_in(64, 64, [16, 8, 32, 24]), np.array([16.0, 16.0]))
    assert found == pytest.approx(8 / 24)


def test_anchors_over_the_border_do_not_count():
    # The anchor of 32 around (8, 8) begins at -8; the next one is from 8 to 40.
    (found,) = best_iou(boxes_in(64, 64, [0, 0, 24, 24]), np.array([32.0, 32.0]))
    assert found == pytest.approx(16 * 16 / (24 * 24 + 32 * 32 - 16 * 16))


def test_a_box_that_no_anchor_inside_touches_is_never_learnt():
    found = cover(boxes_in(64, 64, [0, 0, 6, 6]), Anchors((32.0,), (1.0,)), 0.5)
    assert (found.covered, found.rescued, found.unreachable, found.smaller) == (0, 0, 1, 1)


def test_shares_of_each_class_and_of_all():
    boxes = boxes_in(64, 64, [[16, 16, 32, 32], [16, 16, 20, 20], [0, 0, 16, 16]], [0, 0, 1])
    everything, (cars, buses, none) = cover_by_class(boxes, Anchors((16.0,), (1.0,)), 0.5, 3)
    assert (cars.num_boxes, cars.covered) == (2, 0.5)
    assert (buses.num_boxes, buses.covered) == (1, 1.0)
    assert everything.covered == pytest.approx(2 / 3)
    assert cars.mean_iou == pytest.approx((1 + 16 / 256) / 2)
    assert none.num_boxes == 0 and np.isnan(none.covered)


def test_each_box_is_seen_in_its_own_image():
    boxes = Boxes(
        np.array([[0, 0, 16, 16], [0, 0, 16, 16]], float),
        np.array([[64, 64], [15, 64]], float),  # an anchor of 16 is inside of the first alone
        np.zeros(2, int),
    )
    assert best_overlaps(boxes, Anchors((16.0,), (1.0,))).tolist() == [1.0, 0.0]


@pytest.mark.slow
def test_anchors_that_fit_into_no_image():
    anchors = Anchors((16.0, 64.0, 256.0), (1.0,))
    # 64 does not fit into 64: the centres that are nearest to the middle are at 24 and 40.
    assert never_inside(anchors, np.array([[64, 64]])).tolist() == [False, True, True]
    assert never_inside(anchors, np.array([[64, 64], [80, 80]])).tolist() == [False, False, True]
