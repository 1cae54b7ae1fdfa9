import json

import numpy as np
import pytest
from written_detections import AWAY, BOX, CAR, DOG, LIMITS, NAMES, SETTINGS, compared, found

from frcnn_core.export.comparison import Limits
from frcnn_core.export.verification import VerificationReport, verify
from frcnn_core.plugin.components import Accumulator, MetricResult
from frcnn_core.structures import Batch, Detections


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


@pytest.mark.slow
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
