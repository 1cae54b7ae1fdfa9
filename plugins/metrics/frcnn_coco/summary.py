"""COCO's average precision and average recall, without pycocotools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frcnn_core.evaluation.scoring import area, by_score, iou, match_free
from frcnn_core.plugin import Accumulator, MetricResult
from frcnn_core.structures import GroundTruth, ImageDetections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""Ranges of box area in square pixels of the original image, both ends included."""

MISSED, FOUND, IGNORED = 0, 1, -1
"""Whether a detection found a ground truth that counts; an ignored one counts for nothing."""

STATISTICS = {
    "AP": ("precision", slice(None), "all", 100),
    "AP50": ("precision", slice(0, 1), "all", 100),
    "AP75": ("precision", slice(5, 6), "all", 100),
    "APs": ("precision", slice(None), "small", 100),
    "APm": ("precision", slice(None), "medium", 100),
    "APl": ("precision", slice(None), "large", 100),
    "AR1": ("recall", slice(None), "all", 1),
    "AR10": ("recall", slice(None), "all", 10),
    "AR100": ("recall", slice(None), "all", 100),
    "ARs": ("recall", slice(None), "small", 100),
    "ARm": ("recall", slice(None), "medium", 100),
    "ARl": ("recall", slice(None), "large", 100),
}
"""Name -> what is averaged, over which IoU thresholds, areas and detections per image."""


class CocoSummary(Accumulator):
    """Detections and ground truths of a data set, scored as COCO does.

    Difficult ground truths are ignored, as an annotation with pycocotools' ``_ignore`` would be
    (they are not crowds: one detection uses one up, and its overlap is the ordinary IoU).  The
    area of a ground truth is that of its box.  What has no ground truth at all, a class or a range
    of sizes, has no value (None, shown as "-"; pycocotools prints -1) and takes no part in means.

    Kept of each detection are its score, class, rank in its image and one outcome (a byte) for
    each of 4 areas and 10 thresholds.

    Source: COCOeval of pycocotools 2.0.
    """

    def __init__(self, class_names: Sequence[str]):
        self._names = tuple(class_names)
        views = (len(AREAS), len(IOU_THRESHOLDS))
        self._scores = [np.zeros(0)]
        self._classes = [np.zeros(0, np.int64)]
        self._ranks = [np.zeros(0, np.int64)]
        self._outcomes = [np.zeros((*views, 0), np.int8)]
        self._truths = np.zeros((len(AREAS), len(self._names)), np.int64)
        self._num_images = 0

    def update(self, truth: GroundTruth, detections: ImageDetections) -> None:
        scores = np.asarray(detections.scores, np.float64)
        ignored = truth.difficult | _outside(area(truth.boxes))  # (areas, G)
        unfit = _outside(area(detections.boxes))  # (areas, D)
        for index in np.union1d(truth.classes, detections.classes).astype(np.int64):
            mine = np.flatnonzero(detections.classes == index)
            mine = mine[by_score(scores[mine])][: max(MAX_DETECTIONS)]
            truths = truth.classes == index
            matches = match_free(
                iou(detections.boxes[mine], truth.boxes[truths]), ignored[:, truths], IOU_THRESHOLDS
            )
            self._scores.append(scores[mine])
            self._classes.append(np.full(len(mine), index))
            self._ranks.append(np.arange(len(mine)))
            self._outcomes.append(_outcomes(matches, ignored[:, truths], unfit[:, mine]))
            self._truths[:, index] += (~ignored[:, truths]).sum(axis=1)
        self._num_images += 1

    def result(self) -> MetricResult:
        scores = np.concatenate(self._scores)
        order = by_score(scores)
        classes = np.concatenate(self._classes)[order]
        ranks = np.concatenate(self._ranks)[order]
        outcomes = np.concatenate(self._outcomes, axis=-1)[..., order]
        averages = {
            limit: [
                self._averages(index, outcomes[..., (classes == index) & (ranks < limit)])
                for index in range(len(self._names))
            ]
            for limit in MAX_DETECTIONS
        }
        statistics = {}
        for name, (kind, thresholds, size, limit) in STATISTICS.items():
            statistics[name] = _mean([kinds[kind][size] for kinds in averages[limit]], thresholds)
        by_class = {
            name: {
                "AP": _mean([kinds["precision"]["all"]], slice(None)),
                "AP50": _mean([kinds["precision"]["all"]], slice(0, 1)),
                "ground_truths": int(self._truths[0, index]),
            }
            for index, (name, kinds) in enumerate(
                zip(self._names, averages[max(MAX_DETECTIONS)], strict=True)
            )
        }
        primary = float("nan") if statistics["AP"] is None else statistics["AP"]
        values = {**statistics, "num_images": self._num_images, "classes": by_class}
        precisions = {name: row["AP"] for name, row in by_class.items()}
        return MetricResult(primary, values, _text(statistics, by_class), precisions)

    def _averages(self, index: int, outcomes: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """Per area, the mean precision over all recalls and the recall, at each threshold.

        Args:
            index: class id.
            outcomes: (areas, T, D) of that class, best score first.
        """
        found = (outcomes == FOUND).cumsum(axis=-1).astype(np.float64)
        false = (outcomes == MISSED).cumsum(axis=-1)
        precision = found / (found + false + np.spacing(1))
        precision = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
        averages: dict[str, dict[str, np.ndarray]] = {"precision": {}, "recall": {}}
        for view, size in enumerate(AREAS):
            truths = self._truths[view, index]
            if not truths:
                averages["precision"][size] = averages["recall"][size] = np.zeros(0)
                continue
            recall = np.pad(found[view] / truths, [(0, 0), (1, 0)])  # (T, 1 + D): 0 without any
            best = np.pad(precision[view], [(0, 0), (0, 1)])  # (T, D + 1): 0 beyond the last recall
            averages["recall"][size] = recall[:, -1]
            averages["precision"][size] = np.array(
                [
                    curve[np.searchsorted(reached, RECALLS)].mean()
                    for curve, reached in zip(best, recall[:, 1:], strict=True)
                ]
            )
        return averages


def _outside(areas: np.ndarray) -> np.ndarray:
    """(areas, N) whether each of N areas is outside of each range."""
    low, high = np.array(list(AREAS.values())).T[:, :, None]
    return (areas < low) | (areas > high)


def _outcomes(matches: np.ndarray, ignored: np.ndarray, unfit: np.ndarray) -> np.ndarray:
    """(areas, T, D) int8 from matches (areas, T, D), ignored truths (areas, G), unfit (areas, D).

    A detection is ignored if the ground truth it took is, or if it took none and is itself of
    another size than the range asks for.
    """
    took = matches >= 0
    last = np.pad(ignored, [(0, 0), (0, 1)])  # a column for match -1 to point at
    of_ignored = np.take_along_axis(last[:, None, :], matches, axis=-1)
    outcomes = np.where(took, FOUND, MISSED)
    return np.where(np.where(took, of_ignored, unfit[:, None, :]), IGNORED, outcomes).astype(
        np.int8
    )


def _mean(by_class: list[np.ndarray], thresholds: slice) -> float | None:
    """Mean over classes and the given thresholds; None if no class has a ground truth."""
    chosen = np.concatenate([values[thresholds] for values in by_class] or [np.zeros(0)])
    return float(chosen.mean()) if len(chosen) else None


def _text(statistics: dict[str, float | None], by_class: dict[str, dict]) -> str:
    """pycocotools' twelve lines, then one for each class."""
    lines = []
    for name, (kind, thresholds, size, limit) in STATISTICS.items():
        chosen = IOU_THRESHOLDS[thresholds]
        ious = f"{chosen[0]:.2f}" + (f":{chosen[-1]:.2f}" if len(chosen) > 1 else "")
        title = "Average Precision  (AP)" if kind == "precision" else "Average Recall     (AR)"
        lines.append(
            f" {title} @[ IoU={ious:<9} | area={size:>6} | maxDets={limit:>3} ]"
            f" = {_decimals(statistics[name])}"
        )
    width = max((len(name) for name in by_class), default=0)
    for name, row in by_class.items():
        lines.append(f" {name:<{width}}  AP {_decimals(row['AP'])}  AP50 {_decimals(row['AP50'])}")
    return "\n".join(lines)


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
