"""AP, precision, recall and RPN recall of every class, and the mAP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from frcnn_core.evaluation.scoring import TRUE_POSITIVE, best_overlap, by_score, iou, match_best
from frcnn_core.plugin import Accumulator, MetricResult
from frcnn_core.structures import GroundTruth, ImageDetections

RPN_IOU = 0.5
"""How well a proposal must fit for its ground truth to count as proposed."""

WIDTH = 20
COLUMNS = ("Class", "AP", "precision", "recall", "RPN_recall")


class VocTable(Accumulator):
    """Detections and ground truths of a data set, scored as PASCAL VOC does.

    Every image counts once, in coordinates of the original image.  Difficult ground truths are
    neither found nor missed, except by the RPN, whose recall is over all of them.  A class with
    nothing to find has no AP (None, shown as "-") and takes no part in the mAP.

    Only a score, a class and one outcome per IoU threshold are kept of each detection.

    Args:
        class_names: K names.
        iou_thresholds: T overlaps, from each of which a detection fits its ground truth.
        score_threshold: precision and recall are those of detections scored at least this.
        average_precision: ((D,) bool best first, number of ground truths) -> AP.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        iou_thresholds: Sequence[float],
        score_threshold: float,
        average_precision: Callable[[np.ndarray, int], float],
    ):
        self._names = tuple(class_names)
        self._iou_thresholds = tuple(float(threshold) for threshold in iou_thresholds)
        self._score_threshold = score_threshold
        self._average_precision = average_precision
        self._num_images = 0
        self._scores = [np.zeros(0)]
        self._classes = [np.zeros(0, np.int64)]
        self._outcomes = [np.zeros((len(self._iou_thresholds), 0), np.int8)]
        self._truths = np.zeros(len(self._names), np.int64)
        self._difficult = np.zeros(len(self._names), np.int64)
        self._proposed: np.ndarray | None = np.zeros(len(self._names), np.int64)

    def update(self, truth: GroundTruth, detections: ImageDetections) -> None:
        order = by_score(detections.scores)
        classes = np.asarray(detections.classes, np.int64)[order]
        overlaps = iou(np.asarray(detections.boxes)[order], truth.boxes)
        overlaps[classes[:, None] != truth.classes[None, :]] = -1
        self._scores.append(np.asarray(detections.scores, np.float64)[order])
        self._classes.append(classes)
        self._outcomes.append(match_best(overlaps, truth.difficult, self._iou_thresholds))
        self._truths += self._count(truth.classes[~truth.difficult])
        self._difficult += self._count(truth.classes[truth.difficult])
        if detections.proposals is None:
            self._proposed = None
        elif self._proposed is not None:
            near = best_overlap(truth.boxes, detections.proposals) >= RPN_IOU
            self._proposed += self._count(truth.classes[near])
        self._num_images += 1

    def result(self) -> MetricResult:
        scores = np.concatenate(self._scores)
        order = by_score(scores)
        scores = scores[order]
        classes = np.concatenate(self._classes)[order]
        outcomes = np.concatenate(self._outcomes, axis=1)[:, order]
        tables: list[dict[str, Any]] = [
            {
                "iou_threshold": threshold,
                "mAP": None,
                "classes": {
                    name: self._row(index, scores[classes == index], found[classes == index])
                    for index, name in enumerate(self._names)
                },
            }
            for threshold, found in zip(self._iou_thresholds, outcomes, strict=True)
        ]
        for table in tables:
            table["mAP"] = _mean(row["AP"] for row in table["classes"].values())
        mean_ap = _mean(table["mAP"] for table in tables)
        values = {
            "mAP": mean_ap,
            "num_images": self._num_images,
            "score_threshold": self._score_threshold,
            "tables": tables,
        }
        primary = float("nan") if mean_ap is None else mean_ap
        by_class = {
            name: _mean(table["classes"][name]["AP"] for table in tables) for name in self._names
        }
        return MetricResult(primary, values, self._text(tables, mean_ap), by_class)

    def _count(self, classes: np.ndarray) -> np.ndarray:
        return np.bincount(classes, minlength=len(self._names))

    def _row(self, index: int, scores: np.ndarray, outcomes: np.ndarray) -> dict[str, Any]:
        counted = outcomes >= 0
        true = outcomes[counted] == TRUE_POSITIVE
        confident = true[scores[counted] >= self._score_threshold]
        truths = int(self._truths[index])
        all_truths = truths + int(self._difficult[index])
        proposed = None if self._proposed is None else int(self._proposed[index])
        return {
            "AP": self._average_precision(true, truths) if truths else None,
            "precision": _share(int(confident.sum()), len(confident)),
            "recall": _share(int(confident.sum()), truths),
            "RPN_recall": None if proposed is None else _share(proposed, all_truths),
            "ground_truths": truths,
            "difficult": int(self._difficult[index]),
            "detections": len(outcomes),
        }

    def _text(self, tables: list[dict[str, Any]], mean_ap: float | None) -> str:
        lines = []
        for table in tables:
            lines += ["=" * 90, _columns(COLUMNS), "-" * 90]
            for name, row in table["classes"].items():
                numbers = [_decimals(row[column]) for column in COLUMNS[1:]]
                lines += [_columns([name, *numbers]), "-" * 90]
            lines.append(f"mAP@{table['iou_threshold']:g} = {_decimals(table['mAP'])}")
        if len(tables) > 1:
            first, last = self._iou_thresholds[0], self._iou_thresholds[-1]
            lines.append(f"mAP@[{first:g}:{last:g}] = {_decimals(mean_ap)}")
        return "\n".join(lines)


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of those that are defined, None if none is."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _columns(cells: Sequence[str]) -> str:
    # One blank is kept free, so that a class name wider than its column stays a word of its own.
    return " ".join(f"{cell:<{WIDTH - 1}}" for cell in cells).rstrip()
