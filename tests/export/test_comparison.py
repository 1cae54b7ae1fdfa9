import json
from dataclasses import replace

import numpy as np
import pytest
from written_detections import AWAY, BOX, CAR, DOG, LIMITS, NAMES, SETTINGS, compared, found

from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.export.comparison import MOST_NAMED, Comparison, Difference, Unpaired, pair
from frcnn_core.structures import ImageDetections


def counts(differences):
    overall = differences.overall
    return overall.num_pairs, overall.num_lost, overall.num_gained, overall.num_borderline


def test_equal_detections_are_pairs_that_differ_by_nothing():
    both = found((BOX, 0.9, CAR), (AWAY, 0.5, DOG))
    differences = compared(both, both)
    assert counts(differences) == (2, 0, 0, 0)
    assert differences.overall.box == Difference(0.0, 0.0, "a.png", "car", pytest.approx(0.9))
    assert differences.overall.score.largest == 0.0


def test_a_shifted_box_differs_by_its_shift_and_a_quarter_of_it_on_average():
    moved = (0, 0, 20, 12)
    differences = compared(found((BOX, 0.9, CAR)), found((moved, 0.9, CAR)))
    (car, dog) = differences.classes
    assert car.box == Difference(
        largest=2.0, mean=0.5, image="a.png", class_name="car", at_score=pytest.approx(0.9)
    )
    assert (car.num_pairs, car.num_beyond, dog.num_pairs) == (1, 1, 0)
    assert dog.box == Difference()


def test_a_score_within_the_limit_is_not_beyond_it():
    differences = compared(found((BOX, 0.5, CAR)), found((BOX, 0.5005, CAR)))
    assert differences.overall.score.largest == pytest.approx(0.0005, rel=1e-3)
    assert differences.overall.num_beyond == 0


def test_detections_of_equal_scores_may_change_places():
    model = found((BOX, 0.5, CAR), (AWAY, 0.5, CAR))
    exported = found((AWAY, 0.5, CAR), (BOX, 0.5, CAR))
    assert pair(model, exported).tolist() == [[0, 1], [1, 0]]
    assert counts(compared(model, exported)) == (2, 0, 0, 0)


def test_a_changed_class_is_one_lost_and_one_gained():
    differences = compared(found((BOX, 0.9, CAR)), found((BOX, 0.8, DOG)))
    car, dog = differences.classes
    assert (car.num_pairs, car.num_lost, dog.num_gained) == (0, 1, 1)
    assert differences.lost == (Unpaired("a.png", "car", pytest.approx(0.9), BOX),)
    assert differences.gained == (Unpaired("a.png", "dog", pytest.approx(0.8), BOX),)


def test_a_box_that_overlaps_too_little_is_not_the_same_one():
    elsewhere = (0, 8, 20, 18)
    assert counts(compared(found((BOX, 0.9, CAR)), found((elsewhere, 0.9, CAR)))) == (0, 1, 1, 0)


def test_each_detection_is_in_one_pair_the_one_that_overlaps_it_most():
    near = (0, 0, 20, 11)
    differences = compared(found((BOX, 0.9, CAR)), found((near, 0.9, CAR), (BOX, 0.3, CAR)))
    assert counts(differences) == (1, 0, 1, 0)
    assert differences.overall.box.largest == 0.0
    assert differences.gained[0].score == pytest.approx(0.9)


def test_of_equal_boxes_those_with_the_nearest_scores_are_pairs():
    model = found((BOX, 0.9, CAR), (BOX, 0.5, CAR))
    exported = found((BOX, 0.5, CAR), (BOX, 0.9, CAR))
    assert compared(model, exported).overall.score.largest == 0.0


def test_boxes_without_area_are_pairs_too():
    at_the_border = found(((20, 0, 20, 10), 0.9, CAR))
    assert counts(compared(at_the_border, at_the_border)) == (1, 0, 0, 0)


def test_detections_are_found_again_in_any_order():
    random = np.random.default_rng(0)
    starts = 30.0 * np.array([(y, x) for y in range(4) for x in range(4)])
    boxes = np.hstack([starts, starts + 20])
    classes = random.integers(0, 2, 16)
    order = random.permutation(16)
    model = ImageDetections(boxes, random.random(16), classes, None)
    moved = boxes[order] + random.uniform(-1, 1, (16, 4))
    exported = ImageDetections(moved, random.random(16), classes[order], None)
    expected = {(int(row), column) for column, row in enumerate(order)}
    assert set(map(tuple, pair(model, exported).tolist())) == expected


# Lost and gained --------------------------------------------------------------------------------


def test_a_lost_detection_next_to_the_score_threshold_is_borderline():
    assert counts(compared(found((BOX, 0.1005, CAR)), found())) == (0, 0, 0, 1)
    assert counts(compared(found((BOX, 0.1015, CAR)), found())) == (0, 1, 0, 0)
    assert counts(compared(found(), found((BOX, 0.1005, CAR)))) == (0, 0, 0, 1)


def test_a_lost_detection_that_there_was_no_room_for_is_borderline():
    boxes = [(30 * i, 0, 30 * i + 20, 20) for i in range(4)]
    same = [(boxes[0], 0.9, CAR), (boxes[1], 0.8, CAR)]
    model = found(*same, (boxes[2], 0.5, CAR))
    full = found(*same, (boxes[3], 0.4995, CAR))
    assert counts(compared(model, full)) == (2, 0, 0, 2)

    better = found(*same, (boxes[3], 0.4, CAR))
    assert counts(compared(model, better)) == (2, 1, 0, 1)  # 0.5 would have had room

    room_for_four = replace(SETTINGS, classifier_nms_max_boxes=4)
    assert counts(compared(model, full, settings=room_for_four)) == (2, 1, 1, 0)


def test_the_best_of_the_lost_are_named_and_all_are_counted():
    comparison = Comparison(NAMES, DetectionSettings(), LIMITS)
    for number in range(15):
        comparison.update(f"{number}.png", found((BOX, 0.5 + number / 100, CAR)), found())
    differences = comparison.result()
    assert differences.overall.num_lost == 15
    assert [one.image for one in differences.lost] == [f"{14 - i}.png" for i in range(MOST_NAMED)]


def test_detections_that_are_no_numbers_pair_with_nothing_and_are_never_borderline():
    nan = float("nan")
    for broken in ((BOX, nan, CAR), ((0, 0, nan, 10), 0.9, CAR)):
        differences = compared(found((BOX, 0.9, CAR)), found(broken))
        assert counts(differences) == (0, 1, 1, 0)
        json.dumps(differences.as_dict(), allow_nan=False)


def test_image_class_and_score_of_the_largest_difference_are_told():
    comparison = Comparison(NAMES, SETTINGS, LIMITS)
    comparison.update("a.png", found((BOX, 0.9, CAR)), found(((0, 0, 20, 11), 0.9, CAR)))
    comparison.update("b.png", found((AWAY, 0.8, DOG)), found(((40, 40, 60, 63), 0.5, DOG)))
    comparison.update("c.png", found((BOX, 0.9, CAR)), found((BOX, 0.9, CAR)))
    overall = comparison.result().overall
    # Means are over all coordinates: (0.25 + 0 + 0.75) / 3 pairs.
    where = "b.png", "dog", pytest.approx(0.8)
    assert overall.box == Difference(3.0, pytest.approx(1 / 3), *where)
    assert overall.score == Difference(pytest.approx(0.3), pytest.approx(0.1), *where)
    assert overall.num_beyond == 2
