import time

import numpy as np
import pytest

from frcnn_core.detector.anchors import Anchors
from frcnn_core.survey.anchor_cover import Boxes, cover
from frcnn_core.survey.anchor_search import score, suggest


def boxes_of(shapes, each, *, noise=0.0, size=(512, 512), seed=0, classes=None) -> Boxes:
    """``each`` boxes of every (height, width), centred on cells so that anchors can fit exactly."""
    rng = np.random.default_rng(seed)
    sides = np.repeat(np.array(shapes, float), each, axis=0)
    sides = sides * np.exp(noise * rng.normal(size=sides.shape))
    centres = 8 + 16 * rng.integers(8, 24, size=sides.shape)
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    sizes = np.tile(size, (len(sides), 1)).astype(float)
    ids = np.zeros(len(sides), int) if classes is None else np.repeat(classes, each)
    return Boxes(corners, sizes, ids)


def test_the_anchors_that_boxes_were_made_of_are_found():
    made_of = Anchors((30.0, 90.0), (0.5, 1.5))
    boxes = boxes_of(made_of.sizes, 50)
    found = suggest(boxes, Anchors((64.0, 128.0), (1.0, 2.0)), 0.7)
    np.testing.assert_allclose(found.scales, made_of.scales, rtol=0.03)
    np.testing.assert_allclose(found.ratios, made_of.ratios, rtol=0.03)
    assert cover(boxes, found, 0.7).covered == 1


@pytest.mark.slow
def test_numbers_of_scales_and_ratios_stay():
    boxes = boxes_of([(20, 50), (70, 30), (100, 100)], 30, noise=0.3)
    found = suggest(boxes, Anchors((64.0, 128.0, 256.0), (1.0, 2.0)), 0.7)
    assert (len(found.scales), len(found.ratios)) == (3, 2)
    assert list(found.scales) == sorted(found.scales)


def test_what_is_suggested_scores_higher_and_covers_no_fewer():
    boxes = boxes_of([(20, 50), (70, 30), (100, 100)], 30, noise=0.3)
    given = Anchors((64.0, 128.0), (1.0, 2.0))
    found = suggest(boxes, given, 0.6)
    assert score(boxes, found, 0.6) > score(boxes, given, 0.6)
    assert cover(boxes, found, 0.6).covered >= cover(boxes, given, 0.6).covered


def test_anchors_that_fit_are_left_as_they_are():
    given = Anchors((30.0, 90.0), (0.5, 1.5))
    assert suggest(boxes_of(given.sizes, 20), given, 0.7) is given


def test_a_class_counts_by_the_root_of_its_number():
    # Boxes of 20 weigh 500 / sqrt(900) = 16.7, those of 60 13.3, those of 150 sqrt(300) = 17.3; by
    # number, the two scales would be those of the first class.
    sizes = [(20, 20)] * 5 + [(60, 60)] * 4 + [(150, 150)] * 3
    boxes = boxes_of(sizes, 100, classes=[0] * 9 + [1] * 3)
    found = suggest(boxes, Anchors((300.0, 400.0), (1.0,)), 0.7)
    assert cover(boxes.take(boxes.classes == 1), found, 0.7).covered == 1
    assert cover(boxes.take(boxes.classes == 0), found, 0.7).covered == 5 / 9


def test_boxes_in_several_sizes_are_fitted_in_all_of_them():
    boxes = boxes_of([(64, 64)], 50)
    given = Anchors((64.0, 65.0), (1.0,))
    assert suggest(boxes, given, 0.7) is given
    small, large = suggest(boxes, given, 0.7, factors=(0.5, 1.0)).scales
    assert large == 64
    # Half as large, they are between two cells: an anchor somewhat larger than 32 fits as well.
    assert 32 <= small <= 32 / 0.7


@pytest.mark.slow
def test_the_same_boxes_give_the_same_anchors():
    boxes, given = boxes_of([(20, 50), (70, 30)], 40, noise=0.5), Anchors((64.0,), (1.0, 2.0))
    assert suggest(boxes, given, 0.7) == suggest(boxes, given, 0.7)


@pytest.mark.slow
def test_a_hundred_thousand_boxes_take_seconds():
    boxes = boxes_of([(20, 50), (70, 30), (100, 100), (200, 90)], 25_000, noise=0.4)
    start = time.process_time()
    suggest(boxes, Anchors((64.0, 128.0, 256.0), (1.0, 0.5, 2.0)), 0.7)
    assert time.process_time() - start < 30
