"""What every metric must do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frcnn_core.plugin import Accumulator, Metric, MetricResult
from frcnn_core.structures import GroundTruth, ImageDetections
from frcnn_core.testing.component import ComponentContract

CLASS_NAMES = ("car", "person")


class MetricContract(ComponentContract):
    """Subclass as ``class TestVoc07(MetricContract): metric = Voc07()``."""

    metric: Metric

    @property
    def component(self) -> Metric:
        return self.metric

    def score(
        self,
        images: list[tuple[GroundTruth, ImageDetections]],
        class_names: tuple[str, ...] = CLASS_NAMES,
    ) -> MetricResult:
        accumulator = self.start(class_names)
        for truth, detections in images:
            accumulator.update(truth, detections)
        return accumulator.result()

    def start(self, class_names: tuple[str, ...] = CLASS_NAMES) -> Accumulator:
        return self.metric.start(class_names, iou_thresholds=(0.5,), score_threshold=0.5)

    def test_perfect_detections_score_1(self) -> None:
        images = [(truth, _found(truth)) for truth in _scenes()]
        assert self.score(images).primary == pytest.approx(1.0)

    def test_no_detections_score_0(self) -> None:
        assert self.score([(truth, _nothing()) for truth in _scenes()]).primary == 0

    def test_detections_of_the_wrong_class_score_0(self) -> None:
        images = [
            (truth, found._replace(classes=1 - found.classes))
            for truth in _scenes()
            for found in [_found(truth)]
        ]
        assert self.score(images).primary == 0

    def test_missing_half_of_the_objects_scores_between_0_and_1(self) -> None:
        found, missed = _scenes()[:2], _scenes()[2:]
        images = [(truth, _found(truth)) for truth in found]
        images += [(truth, _nothing()) for truth in missed]
        assert 0 < self.score(images).primary < 1

    def test_a_class_that_no_image_has_does_not_lower_the_score(self) -> None:
        images = [(truth, _found(truth)) for truth in _scenes()]
        assert self.score(images, (*CLASS_NAMES, "tram")).primary == pytest.approx(1.0)

    def test_a_missed_object_marked_as_difficult_does_not_lower_the_score(self) -> None:
        images = [
            (truth._replace(difficult=np.array([False, index == 0])), _found(truth, count))
            for index, (truth, count) in enumerate(zip(_scenes(), (1, 2, 2, 2), strict=True))
        ]
        assert self.score(images).primary == pytest.approx(1.0)

    def test_proposals_may_be_unknown(self) -> None:
        images = [(truth, _found(truth)._replace(proposals=None)) for truth in _scenes()]
        assert self.score(images).primary == pytest.approx(1.0)

    def test_two_at_a_time_do_not_mix(self) -> None:
        one, other = self.start(), self.start()
        for truth in _scenes():
            one.update(truth, _found(truth))
            other.update(truth, _nothing())
        assert one.result().primary == pytest.approx(1.0)
        assert other.result().primary == 0

    def test_what_it_is_given_is_left_as_it_was(self) -> None:
        """Several metrics are given the same arrays."""
        truth = _scenes()[0]
        given = (truth, _shifted(_found(truth), 1))
        arrays = [column for one in given for column in one if isinstance(column, np.ndarray)]
        before = [array.copy() for array in arrays]
        self.score([given])
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_the_order_of_the_images_does_not_matter(self) -> None:
        images = [(truth, _shifted(_found(truth), by)) for by, truth in enumerate(_scenes())]
        forwards, backwards = self.score(images), self.score(images[::-1])
        assert json.dumps(forwards.values) == json.dumps(backwards.values)

    def test_an_image_without_objects_or_detections_changes_nothing(self) -> None:
        images = [(truth, _shifted(_found(truth), 1)) for truth in _scenes()]
        empty = GroundTruth(
            "empty.png", np.zeros((0, 4), "float32"), np.zeros(0, int), np.zeros(0, bool)
        )
        with_empty = self.score([*images, (empty, _nothing())])
        assert with_empty.primary == pytest.approx(self.score(images).primary)

    def test_no_images_give_a_result_without_a_score(self) -> None:
        result = self.score([])
        assert not result.primary > 0
        json.dumps(result.values, allow_nan=False)

    def test_the_values_are_ready_for_json_and_the_table_for_the_terminal(self) -> None:
        result = self.score([(truth, _found(truth)) for truth in _scenes()])
        assert json.loads(json.dumps(result.values, allow_nan=False)) == result.values
        assert result.text.strip()


def _scenes() -> list[GroundTruth]:
    """Four images with a car and a person each, of sizes that differ."""
    scenes = []
    for index in range(4):
        size = 40.0 + 30 * index
        boxes = np.array([[10, 10, 10 + size, 30 + size], [150, 200, 150 + size, 240]], "float32")
        scenes.append(
            GroundTruth(f"{index}.png", boxes, np.array([0, 1]), np.array([False, False]))
        )
    return scenes


def _found(truth: GroundTruth, count: int = 2) -> ImageDetections:
    """The first objects detected exactly, with scores that are all different between images."""
    index = int(truth.name.partition(".")[0])
    scores = np.array([0.9, 0.8], "float32") - 0.05 * index
    boxes, classes = truth.boxes[:count].copy(), truth.classes[:count].copy()
    return ImageDetections(boxes, scores[:count], classes, truth.boxes.copy())


def _shifted(detections: ImageDetections, pixels: float) -> ImageDetections:
    return detections._replace(boxes=detections.boxes + np.float32(4 * pixels))


def _nothing() -> ImageDetections:
    none = np.zeros((0, 4), "float32")
    return ImageDetections(none, np.zeros(0, "float32"), np.zeros(0, int), none)
