"""Why a mAP is zero: what was there, what was proposed, what was detected, and what to check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frcnn_core.evaluation.scoring import best_overlap, iou
from frcnn_core.structures import GroundTruth, ImageDetections

FITS = 0.5
"""IoU from which a box is said to be in the right place."""
FEW_PROPOSED = 0.5
"""Share of ground truths with a fitting proposal below which the RPN is to blame."""


class Triage:
    """Follows an evaluation image by image and tells where a detector with no mAP fails.

    Args:
        class_names: K names; classes beyond them are called by their id.
    """

    def __init__(self, class_names: Sequence[str] = ()):
        self._names = dict(enumerate(class_names))
        self._num_images = 0
        self._difficult = 0
        self._truths: dict[int, int] = dict.fromkeys(self._names, 0)
        self._detections: dict[int, int] = dict.fromkeys(self._names, 0)
        self._best_iou: dict[int, float] = {}
        self._located = 0
        self._classified = 0
        self._proposed: int | None = 0
        self._scores = np.zeros(10, np.int64)
        self._score_range = (np.inf, -np.inf)

    def update(self, truth: GroundTruth, detections: ImageDetections) -> None:
        """Take one image into account; boxes of both are in pixels of the original image."""
        counts = ~truth.difficult
        boxes, classes = truth.boxes[counts], truth.classes[counts]
        self._num_images += 1
        self._difficult += int(truth.difficult.sum())
        _count(self._truths, classes)
        _count(self._detections, detections.classes)
        if len(detections.scores):
            low, high = self._score_range
            self._score_range = (
                min(low, float(np.min(detections.scores))),
                max(high, float(np.max(detections.scores))),
            )
            self._scores += np.histogram(detections.scores, bins=10, range=(0, 1))[0]
        overlaps = iou(boxes, detections.boxes)
        self._located += int((overlaps.max(axis=1, initial=0) >= FITS).sum())
        overlaps[classes[:, None] != detections.classes[None, :]] = 0
        same_class = overlaps.max(axis=1, initial=0)
        self._classified += int((same_class >= FITS).sum())
        for index, overlap in zip(classes.tolist(), same_class.tolist(), strict=True):
            self._best_iou[index] = max(overlap, self._best_iou.get(index, 0.0))
        if detections.proposals is None:
            self._proposed = None
        elif self._proposed is not None:
            self._proposed += int((best_overlap(boxes, detections.proposals) >= FITS).sum())

    def lines(self) -> list[str]:
        """The findings, the likely causes last; for a terminal."""
        truths, detections = sum(self._truths.values()), sum(self._detections.values())
        lines = [
            f"images {self._num_images}, ground truths {truths}"
            f" (and {self._difficult} difficult, which do not count), detections {detections}"
        ]
        if detections:
            low, high = self._score_range
            lines.append(f"scores from {low:.4f} to {high:.4f}; {self._histogram()}")
        if truths and self._proposed is not None:
            share = self._proposed / truths
            lines.append(
                f"RPN: {share:.1%} of the ground truths have a proposal of IoU >= {FITS:g}"
            )
        for index in sorted(self._truths.keys() | self._detections.keys()):
            best = f"{self._best_iou[index]:.2f}" if index in self._best_iou else "-"
            lines.append(
                f"{self._names.get(index, f'class {index}')}:"
                f" {self._truths.get(index, 0)} ground truths,"
                f" {self._detections.get(index, 0)} detections, best IoU {best}"
            )
        return lines + [f"=> {cause}" for cause in self._causes(truths, detections)]

    def _histogram(self) -> str:
        return "per tenth of [0, 1]: " + " ".join(str(count) for count in self._scores)

    def _causes(self, truths: int, detections: int) -> list[str]:
        """What to check, in the words of a spec; the stages of the detector in their order."""
        if not self._num_images:
            return ["No image was evaluated: check the validation data source or fold."]
        if not truths and self._difficult:
            return ["All objects are difficult (occluded >= 1 in KITTI labels): none counts."]
        if not truths:
            return ["No object: check that the keys of target_class_mapping are names of labels."]
        causes = []
        if self._proposed is not None and self._proposed < FEW_PROPOSED * truths:
            causes.append(
                "The RPN misses most objects: compare anchor_box_config with the objects' sizes"
                " in network pixels; if it fits, train for longer or with another learning rate."
            )
        if not detections:
            causes.append(
                "Nothing was detected: object_confidence_thres may be too high, or the model is"
                " not trained yet."
            )
        elif self._located and self._classified < self._located / 2:
            causes.append(
                f"{self._located} objects are located, but only {self._classified} as what they"
                " are: was the model trained with the same target_class_mapping?"
            )
        elif not self._located and not causes:
            causes.append(
                "Proposals fit but detections do not: the second stage is not trained yet, or"
                " classifier_regr_std differs from training."
            )
        elif not causes:
            causes.append(
                "Some boxes fit, but false ones score as high: train for longer, or look at the"
                " pictures of `frcnn inference`."
            )
        return causes


def _count(counts: dict[int, int], classes: np.ndarray) -> None:
    for index, number in zip(*np.unique(classes, return_counts=True), strict=True):
        counts[int(index)] = counts.get(int(index), 0) + int(number)
