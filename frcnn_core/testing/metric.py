"""What every metric must do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frcnn_core.components import Metric, MetricResult
from frcnn_core.structures import GroundTruth, ImageDetections
from frcnn_core.testing.component import ComponentContract

CLASS_NAMES = ("car", "person")


class MetricContract(ComponentContract):
    """Subclass as ``class TestVoc07(MetricContract): metric = Voc07()``."""

    metric: Metric

    @property
    def component(self) -> Metric:
        return self.metric

    def score(self, images: list[tuple[GroundTruth, ImageDetections]]) -> MetricResult:
        accumulator = self.metric.start(CLASS_NAMES, iou_thresholds=(0.5,), score_threshold=0.5)
        for truth, detections in images:
            accumulator.update(truth, detections)
        return accumulator.result()

    def test_perfect_detections_score_1(self):
        images = [(truth, _found(truth)) for truth in _scenes()]
        assert self.score(images).primary == pytest.approx(1.0)

    def test_no_detections_score_0(self):
        assert self.score([(truth, _nothing()) for truth in _scenes()]).primary == 0

    def test_detections_of_the_wrong_class_score_0(self):
        images = [
            (truth, found._replace(classes=1 - found.classes))
            for truth in _scenes()
            for found in [_found(truth)]
        ]
        assert self.score(images).primary == 0

    def test_missing_half_of_the_objects_scores_between_0_and_1(self):
        found, missed = _scenes()[:2], _scenes()[2:]
        images = [(truth, _found(truth)) for truth in found]
        images += [(truth, _nothing()) for truth in missed]
        assert 0 < self.score(images).primary < 1

    def test_the_order_of_the_images_does_not_matter(self):
        images = [(truth, _shifted(_found(truth), by)) for by, truth in enumerate(_scenes())]
        forwards, backwards = self.score(images), self.score(images[::-1])
        assert json.dumps(forwards.values) == json.dumps(backwards.values)

    def test_an_image_without_objects_or_detections_changes_nothing(self):
        images = [(truth, _shifted(_found(truth), 1)) for truth in _scenes()]
        empty = GroundTruth(
            "empty.png", np.zeros((0, 4), "float32"), np.zeros(0, int), np.zeros(0, bool)
        )
        with_empty = self.score([*images, (empty, _nothing())])
        assert with_empty.primary == pytest.approx(self.score(images).primary)

    def test_no_images_give_a_result_without_a_score(self):
        result = self.score([])
        assert not result.primary > 0
        json.dumps(result.values, allow_nan=False)

    def test_the_values_are_ready_for_json_and_the_table_for_the_terminal(self):
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


def _found(truth: GroundTruth) -> ImageDetections:
    """Every object detected exactly, with scores that are all different between images."""
    index = int(truth.name.partition(".")[0])
    scores = np.array([0.9, 0.8], "float32") - 0.05 * index
    return ImageDetections(truth.boxes.copy(), scores, truth.classes.copy(), truth.boxes.copy())


def _shifted(detections: ImageDetections, pixels: float) -> ImageDetections:
    return detections._replace(boxes=detections.boxes + np.float32(4 * pixels))


def _nothing() -> ImageDetections:
    none = np.zeros((0, 4), "float32")
    return ImageDetections(none, np.zeros(0, "float32"), np.zeros(0, int), none)
