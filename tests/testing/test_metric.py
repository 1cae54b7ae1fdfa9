import numpy as np
import pytest

from frcnn_core import Accumulator, Metric, MetricResult
from frcnn_core.testing import MetricContract


class Counts(Accumulator):
    """How many objects of each class have a detection right on them."""

    def __init__(self, num_classes):
        self.found = np.zeros(num_classes)
        self.all = np.zeros(num_classes)

    def update(self, truth, detections):
        for box, kind, difficult in zip(*truth[1:], strict=True):
            if not difficult:
                hit = (np.abs(detections.boxes - box) < 1).all(axis=1)
                self.all[kind] += 1
                self.found[kind] += (hit & (detections.classes == kind)).any()

    def result(self):
        there = self.all > 0
        mean = float(np.mean(self.found[there] / self.all[there])) if there.any() else 0.0
        return MetricResult(mean, {"found": mean}, f"found {mean:.3f}")


class Found(Metric):
    name = "found"
    summary = "part of the objects of a class that were found, mean over the classes"
    accumulator = Counts

    def start(self, class_names, *, iou_thresholds, score_threshold):
        return self.accumulator(len(class_names))


class WithoutAMean(Counts):
    def result(self):
        with np.errstate(invalid="ignore"):
            mean = float(np.mean(self.found / self.all))
        return MetricResult(mean, {"found": mean}, "found")


class OfNumpy(Counts):
    def result(self):
        return MetricResult(1.0, {"found": self.found}, "found")


class OfAllObjects(Counts):
    def update(self, truth, detections):
        super().update(truth._replace(difficult=np.zeros(len(truth.boxes), bool)), detections)


class OfProposals(Counts):
    def update(self, truth, detections):
        assert len(detections.proposals) >= 0
        super().update(truth, detections)


class InThatOrder(Counts):
    images = 0

    def update(self, truth, detections):
        self.images += 1
        super().update(truth, detections)
        self.weighted = getattr(self, "weighted", 0.0) + self.images * self.found.sum()

    def result(self):
        return MetricResult(super().result().primary, {"weighted": float(self.weighted)}, "found")


class Rounding(Counts):
    def update(self, truth, detections):
        np.round(detections.boxes / 10, out=detections.boxes)


class AnyClass(Counts):
    def update(self, truth, detections):
        super().update(truth, detections._replace(classes=truth.classes[: len(detections.boxes)]))


SHARED = Counts(3)


class OneForAll(Found):
    def start(self, class_names, *, iou_thresholds, score_threshold):
        return SHARED


def contract_of(component):
    return type("Contract", (MetricContract,), {"metric": component})


def with_accumulator(kind):
    return type("Broken", (Found,), {"accumulator": kind})()


@pytest.mark.slow
def test_a_good_metric_passes(failures):
    assert failures(contract_of(Found())) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, check",
    [
        (with_accumulator(WithoutAMean), "test_a_class_that_no_image_has_does_not_lower_the_score"),
        (with_accumulator(WithoutAMean), "test_no_images_give_a_result_without_a_score"),
        (
            with_accumulator(OfNumpy),
            "test_the_values_are_ready_for_json_and_the_table_for_the_terminal",
        ),
        (
            with_accumulator(OfAllObjects),
            "test_a_missed_object_marked_as_difficult_does_not_lower_the_score",
        ),
        (with_accumulator(OfProposals), "test_proposals_may_be_unknown"),
        (with_accumulator(InThatOrder), "test_the_order_of_the_images_does_not_matter"),
        (with_accumulator(Rounding), "test_what_it_is_given_is_left_as_it_was"),
        (with_accumulator(AnyClass), "test_detections_of_the_wrong_class_score_0"),
        (OneForAll(), "test_two_at_a_time_do_not_mix"),
    ],
)
def test_a_broken_one_fails(failures, broken, check):
    assert failures(contract_of(broken), check)
