"""Looks for anchors that fit boxes better, with the same number of scales and of ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from frcnn_core.detector import Anchors
from frcnn_core.survey.anchor_cover import ROUNDING, Boxes, best_iou, joined, overlaps

MOST = 20_000
"""Boxes that are looked at; of more, evenly spaced ones."""
SHARE = 0.8
"""How much of a score is the covered share; the rest is the mean overlap."""
_STEPS = (1.4, 1.2, 1.1, 1.05, 1.02)
"""Factors by which a scale or ratio is changed, from coarse to fine."""
_ROUNDS = 20
"""Most passes over all scales and ratios with one step."""
_WORTH_IT = 0.002
"""How much better a score has to be for other anchors to be suggested."""


class _Grid(NamedTuple):
    scales: np.ndarray
    ratios: np.ndarray


def suggest(
    boxes: Boxes, anchors: Anchors, threshold: float, *, factors: Sequence[float] = (1.0,)
) -> Anchors:
    """Anchors that fit better than ``anchors`` by ``score`` and cover no fewer boxes; else those.

    A search along one scale or ratio at a time, from ``anchors`` and from quantiles of the boxes,
    the same each time.  Scales are whole numbers and ratios have two decimals, ascending.

    Args:
        boxes: what they are to fit, at least one.
        threshold: ``rpn_max_overlap``.
        factors: boxes are to fit in all these sizes, relative to theirs.
    """
    most = MOST // len(factors)
    if len(boxes) > most:
        boxes = boxes.take(np.linspace(0, len(boxes) - 1, most).round().astype(int))
    boxes = joined([boxes.scaled(factor) for factor in factors])
    weights = _weights(boxes.classes)
    starts = [
        _Grid(np.array(anchors.scales, float), np.array(anchors.ratios, float)),
        *_starts(boxes, len(anchors.scales), len(anchors.ratios)),
    ]
    # By the mean overlap first: the share of covered boxes is flat where none is nearly covered.
    near = [_climb(boxes, start, partial(_score, weights, threshold, 0.5)) for start in starts]
    by_score = partial(_score, weights, threshold, SHARE)
    found = [_rounded(_climb(boxes, start, by_score)) for start in near]
    given = overlaps(boxes, anchors)
    chosen, best = anchors, by_score(given)
    for one in found:
        reached = overlaps(boxes, one)
        covers = _is_covered(reached, threshold).sum() >= _is_covered(given, threshold).sum()
        if covers and by_score(reached) > best + _WORTH_IT:
            chosen, best = one, by_score(reached)
    return chosen


def score(boxes: Boxes, anchors: Anchors, threshold: float) -> float:
    """How well anchors fit, 0 to 1: mostly the covered share, and somewhat the mean overlap.

    The overlap alone would trade a covered box for many that are slightly better; the share alone
    says nothing of how far the others are from it.  A class of n boxes weighs as the root of n,
    so that a common one does not decide alone.
    """
    return _score(_weights(boxes.classes), threshold, SHARE, overlaps(boxes, anchors))


def _score(weights: np.ndarray, threshold: float, share: float, best: np.ndarray) -> float:
    return float(weights @ (share * _is_covered(best, threshold) + (1 - share) * best))


def _is_covered(best: np.ndarray, threshold: float) -> np.ndarray:
    return best >= threshold - ROUNDING


def _weights(classes: np.ndarray) -> np.ndarray:
    """(N,) of the boxes; together 1."""
    _, members, counts = np.unique(classes, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[members])
    return weights / weights.sum()


def _starts(boxes: Boxes, num_scales: int, num_ratios: int) -> list[_Grid]:
    """From the quantiles of the boxes' sizes and shapes, and from one shape for all."""
    sides = np.maximum(boxes.sides.astype(float), 1e-3)

    def quantiles(values: np.ndarray, count: int) -> np.ndarray:
        return np.quantile(values, (np.arange(count) + 0.5) / count)

    scales = quantiles(np.sqrt(sides.prod(axis=1)), num_scales)
    ratios = quantiles(sides[:, 1] / sides[:, 0], num_ratios)
    spread = np.median(ratios) * np.geomspace(0.5, 2, num_ratios) if num_ratios > 1 else ratios
    even = np.geomspace(scales[0], scales[-1], num_scales) if num_scales > 1 else scales
    return [_Grid(scales, ratios), _Grid(even, ratios), _Grid(even, spread)]


def _climb(boxes: Boxes, start: _Grid, score: Callable[[np.ndarray], float]) -> _Grid:
    """The grid that no step along one scale or ratio makes better.

    Args:
        score: of the (N,) overlaps of the boxes with their best anchors.
    """
    values = [start.scales.copy(), start.ratios.copy()]
    # Overlaps by scale and ratio; a step changes one row or one column.
    table = np.stack(
        [[best_iou(boxes, _shape(scale, ratio)) for ratio in values[1]] for scale in values[0]]
    )  # (S, R, N)
    current = score(table.max(axis=(0, 1)))
    for step in _STEPS:
        for _ in range(_ROUNDS):
            before = current
            for axis in (0, 1):
                for index in range(len(values[axis])):
                    for factor in (step, 1 / step):
                        tried = values[axis][index] * factor
                        line = _line(boxes, tried, values[1 - axis], is_scale=axis == 0)
                        others = np.delete(table, index, axis=axis)
                        best = line.max(axis=0)
                        if others.size:
                            best = np.maximum(best, others.max(axis=(0, 1)))
                        if (gained := score(best)) > current + 1e-9:
                            current = gained
                            values[axis][index] = tried
                            table[(slice(None),) * axis + (index,)] = line
            if current == before:
                break
    return _Grid(*values)


def _line(boxes: Boxes, value: float, others: Iterable[float], *, is_scale: bool) -> np.ndarray:
    """Overlaps (len(others), N) of a scale with all ratios, or of a ratio with all scales."""
    shapes = [_shape(value, other) if is_scale else _shape(other, value) for other in others]
    return np.stack([best_iou(boxes, shape) for shape in shapes])


def _shape(scale: float, ratio: float) -> np.ndarray:
    """Height and width, as ``Anchors.sizes``."""
    root = np.sqrt(ratio)
    return np.array([scale / root, scale * root])


def _rounded(grid: _Grid) -> Anchors:
    scales = sorted(float(max(round(scale), 1)) for scale in grid.scales)
    ratios = sorted(float(max(round(ratio, 2), 0.01)) for ratio in grid.ratios)
    return Anchors(tuple(scales), tuple(ratios))
