"""Which detections find which ground truths: overlaps and the two usual matching rules.

Plain numpy in float64, shared by the metrics, so that VOC and COCO differ in their protocol and
not in their arithmetic.  Boxes are continuous ``(y1, x1, y2, x2)``, with no +1.  Shape letters as
in ``frcnn_core.plugin.components``, and here T IoU thresholds and V ways to ignore ground truths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
"""What a detection turns out to be; an ignored one counts for nothing."""


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every box with every other.

    Args:
        boxes: (N, 4).
        others: (M, 4).

    Returns:
        (N, M) float64 in [0, 1]; 0 where a box has no area.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    others = np.asarray(others, np.float64).reshape(1, -1, 4)
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = area(boxes) + area(others) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def area(boxes: np.ndarray) -> np.ndarray:
    """Area (...,) of boxes (..., 4) in square pixels; 0 for a box that is turned inside out."""
    boxes = np.asarray(boxes, np.float64)
    return np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)


def best_overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) the largest IoU of each of N boxes with any of the others, 0 where there are none."""
    return iou(boxes, others).max(axis=1, initial=0.0)


def by_score(scores: np.ndarray) -> np.ndarray:
    """(D,) indices that sort scores downwards; equal scores keep their order."""
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def match_best(
    overlaps: np.ndarray, difficult: np.ndarray, thresholds: Sequence[float]
) -> np.ndarray:
    """The VOC devkit's rule: a detection may only claim the ground truth it overlaps most.

    If that one is difficult, the detection is ignored; if an earlier detection has it already,
    the detection is false, even if it overlaps a second ground truth enough.

    Args:
        overlaps: (D, G) IoU, best detection first; negative where the classes differ.
        difficult: (G,) bool.
        thresholds: T IoUs in (0, 1]; an equal overlap is enough.

    Returns:
        (T, D) int8 of TRUE_POSITIVE, FALSE_POSITIVE, IGNORED.

    Source: VOCevaldet.m of the PASCAL VOC development kit, 2007 and 2012.
    """
    outcomes = np.full((len(thresholds), len(overlaps)), FALSE_POSITIVE, np.int8)
    if overlaps.size == 0:
        return outcomes
    best = overlaps.argmax(axis=1)
    overlap = overlaps.max(axis=1)
    for outcome, threshold in zip(outcomes, thresholds, strict=True):
        near = np.flatnonzero(overlap >= threshold)
        _, first = np.unique(best[near], return_index=True)
        outcome[near[first]] = TRUE_POSITIVE
        outcome[near[difficult[best[near]]]] = IGNORED
    return outcomes


def match_free(
    overlaps: np.ndarray, ignored: np.ndarray, thresholds: Sequence[float] | np.ndarray
) -> np.ndarray:
    """COCO's rule: a detection takes the ground truth it overlaps most among those still free.

    A ground truth that counts is preferred to an ignored one, however much the latter overlaps.
    Of equal overlaps the last one wins, as in pycocotools.

    Args:
        overlaps: (D, G) IoU of one class, best detection first.
        ignored: (V, G) bool, the ground truths to ignore in each of V evaluations.
        thresholds: T IoUs in (0, 1]; an equal overlap is enough.

    Returns:
        (V, T, D) int64, which ground truth each detection took, or -1.

    Source: COCOeval.evaluateImg of pycocotools 2.0.
    """
    num_detections, num_truths = overlaps.shape
    floor = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)[:, None]  # (T, 1)
    matches = np.full((len(ignored), len(floor), num_detections), -1)
    if overlaps.size == 0:
        return matches
    counts = ~ignored[:, None, :]  # (V, 1, G)
    free = np.ones((len(ignored), len(floor), num_truths), bool)
    # Each detection changes what is free for the next; only those that overlap anything matter.
    for detection in np.flatnonzero(overlaps.max(axis=1) >= floor.min()):
        overlap = overlaps[detection]
        eligible = np.where(free & (overlap >= floor), overlap, -1.0)  # (V, T, G)
        preferred = np.where(counts, eligible, -1.0)
        choice = np.where(
            preferred.max(axis=-1) >= 0, _last_argmax(preferred), _last_argmax(eligible)
        )
        taken = eligible.max(axis=-1) >= 0
        matches[:, :, detection] = np.where(taken, choice, -1)
        view, threshold = np.nonzero(taken)
        free[view, threshold, choice[taken]] = False
    return matches


def _last_argmax(values: np.ndarray) -> np.ndarray:
    """Index of the largest value on the last axis, the last one if there are several."""
    return values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1)


def threshold_range(start: float, end: float, step: float) -> tuple[float, ...]:
    """start, start + step, ... below end, as decimals.

    A spec's numbers are 32 bit floats: 0.05 arrives as 0.0500000007.  Counting with a tolerance
    and rounding keep [0.5, 1.0) in steps of 0.05 at ten thresholds, the second of which is 0.55.

    Raises:
        ValueError: the range is empty or the step is not positive.
    """
    if step <= 0 or end <= start:
        raise ValueError(f"no thresholds from {start:g} to {end:g} in steps of {step:g}")
    count = math.ceil((end - start) / step - 1e-4)
    return tuple(round(start + index * step, 6) for index in range(count))
