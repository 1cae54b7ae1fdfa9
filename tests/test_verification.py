"""Detections written by hand, so that every difference can be read off."""

import json
from dataclasses import replace

import numpy as np
import pytest

from frcnn_core.components import Accumulator, MetricResult
from frcnn_core.detector import DetectionSettings
from frcnn_core.structures import Batch, Detections, ImageDetections
from frcnn_core.verification import (
    MOST_NAMED,
    Comparison,
    Difference,
    Limits,
    Unpaired,
    VerificationReport,
    pair,
    verify,
)

NAMES = ("car", "dog")
CAR, DOG = 0, 1
SETTINGS = DetectionSettings(object_confidence_thres=0.1, classifier_nms_max_boxes=3)
LIMITS = Limits(box=0.05, score=1e-3, map_loss=1e-3)
BOX, AWAY = (0, 0, 20, 10), (40, 40, 60, 60)


def found(*detections):
    """Detections of one image; each is (box, score, class)."""
    boxes, scores, classes = zip(*detections, strict=True) if detections else ((), (), ())
    return ImageDetections(
        np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(classes, int), None
    )


def compared(model, exported, *, settings=SETTINGS, limits=LIMITS):
    comparison = Comparison(NAMES, settings, limits)
    comparison.update("a.png", model, exported)
    return comparison.result()


def counts(differences):
    overall = differences.overall
    return overall.num_pairs, overall.num_lost, overall.num_gained, overall.num_borderline


# Pairs ------------------------------------------------------------------------------------------


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


# Limits -----------------------------------------------------------------------------------------


class Fixed(Accumulator):
    """A metric that gives what it is told to."""

    def __init__(self, primary):
        self.primary = primary
        self.images = []

    def update(self, truth, detections):
        self.images.append(truth.name)

    def result(self):
        return MetricResult(self.primary, {"mAP": self.primary}, "")


def report(model, exported, *, limits=LIMITS, metrics=(None, None)):
    results = [{} if primary is None else {"voc12": Fixed(primary).result()} for primary in metrics]
    return VerificationReport(
        compared(model, exported, limits=limits), limits, *results, 1, num_skipped=0, seconds=1.0
    )


ONE = found((BOX, 0.9, CAR))


def test_the_same_detector_has_no_problems():
    assert report(ONE, ONE, metrics=(0.8, 0.8)).problems() == []


def test_every_limit_that_is_exceeded_is_told_with_the_number():
    other = found(((0, 0, 20, 12), 0.7, CAR), (AWAY, 0.5, DOG))
    assert report(ONE, other, metrics=(0.8, 0.75)).problems() == [
        "Boxes differ by up to 2 px, more than 0.05 px.",
        "Scores differ by up to 0.2, more than 0.001.",
        "1 detection is gained.",
        "voc12 falls by 0.0500, more than 0.001.",
    ]


def test_a_better_accuracy_is_no_problem():
    assert report(ONE, ONE, metrics=(0.75, 0.8)).problems() == []


def test_a_lower_precision_is_held_up_to_its_accuracy_alone():
    limits = Limits.of("int8")
    assert limits == Limits.of("fp16") != Limits.of("fp32") == Limits.of("")
    nothing = found()
    assert report(ONE, nothing, limits=limits, metrics=(0.8, 0.785)).problems() == []
    assert report(ONE, nothing, limits=limits, metrics=(0.8, 0.775)).problems() == [
        "voc12 falls by 0.0250, more than 0.02."
    ]


def test_comparing_nothing_is_not_passed_over():
    (problem,) = report(found(), found()).problems()
    assert "Neither of the two detects anything" in problem
    undefined = (float("nan"), float("nan"))
    (problem,) = report(ONE, ONE, limits=Limits.of("int8"), metrics=undefined).problems()
    assert "Nothing is labelled in these images" in problem
    assert report(ONE, ONE, metrics=undefined).problems() == []


def test_a_report_is_ready_for_json():
    other = found((AWAY, 0.5, DOG))
    written = json.loads(
        json.dumps(report(ONE, other, metrics=(0.8, 0.75)).as_dict(), allow_nan=False)
    )
    assert written["same"] is False
    assert written["map_loss"] == pytest.approx(0.05)
    assert written["metrics"] == {"voc12": {"model": {"mAP": 0.8}, "exported": {"mAP": 0.75}}}
    assert [one["num_lost"] for one in written["differences"]["classes"]] == [1, 0]
    assert written["differences"]["gained"][0]["class_name"] == "dog"


# Over batches -----------------------------------------------------------------------------------


def batch(count, *, absent=()):
    sizes = np.full((count, 2), 100, np.float32)
    sizes[list(absent)] = 0
    return Batch(
        images=np.zeros((count, 100, 100, 3), np.float32),
        sizes=sizes,
        scales=np.tile(np.float32([2.0, 0.5]), (count, 1)),
        boxes=np.zeros((count, 0, 4), np.float32),
        classes=np.zeros((count, 0), np.int32),
        difficult=np.zeros((count, 0), bool),
        names=np.array([f"{i}.png".encode() for i in range(count)], object),
    )


def detector(dx=0.0, *, proposals=True, log=None):
    """Sees a car in every image, in network pixels, with a padding row after it."""

    def detect(images, sizes):
        if log is not None:
            log.append(len(images))
        count = len(images)
        boxes = np.tile(np.float32([[0, 0, 20, 10 + dx], [0, 0, 0, 0]]), (count, 1, 1))
        return Detections(
            boxes,
            np.tile(np.float32([0.9, 0]), (count, 1)),
            np.tile([CAR, -1], (count, 1)),
            np.ones(count, int),
            boxes if proposals else None,
        )

    return detect


def run(model, exported, batches, **more):
    return verify(
        model, exported, batches, class_names=NAMES, settings=SETTINGS, limits=LIMITS, **more
    )


def test_padding_is_not_compared_and_boxes_are_in_pixels_of_the_original_image():
    found = run(detector(), detector(dx=1.0, proposals=False), [batch(2), batch(1)])
    # Half a network pixel is one of the original's columns: the scale is 0.5.
    assert found.differences.overall.box.largest == 2.0
    assert found.differences.overall.num_pairs == found.num_images == 3


def test_both_see_every_batch_once_and_metrics_of_both_see_every_image():
    seen = [], []
    metrics = tuple({"fixed": Fixed(primary)} for primary in (0.5, 0.25))
    done = []
    found = run(
        detector(log=seen[0]),
        detector(log=seen[1]),
        iter([batch(2), batch(3, absent=[1])]),
        accumulators=metrics,
        progress=done.append,
    )
    assert seen == ([2, 3], [2, 3])
    assert done == [2, 3]
    assert (found.num_images, found.num_skipped) == (4, 1)
    for metric in metrics:
        assert metric["fixed"].images == ["0.png", "1.png", "0.png", "2.png"]
    assert found.map_loss == 0.25
