"""How well anchors fit the boxes they are to learn, without making the anchors.

An anchor of one shape overlaps a box the more, the closer the two centres are in x and in y.  So
the best of all its places on the grid is the one nearest to the box, among those where the anchor
is inside of the image, and the best overlap of a shape is a matter of arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frcnn_core.detector import STRIDE, Anchors

ROUNDING = 1e-6
"""How far below the threshold an overlap may be that is equal to it but for rounding."""


@dataclass(frozen=True)
class Boxes:
    """Boxes as the network sees them."""

    boxes: np.ndarray
    """(N, 4) float (y1, x1, y2, x2) in network pixels."""
    sizes: np.ndarray
    """(N, 2) float (height, width) in network pixels of the image each is in."""
    classes: np.ndarray
    """(N,) int in 0..K-1."""

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def sides(self) -> np.ndarray:
        """(N, 2) height and width."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def take(self, chosen: np.ndarray | slice) -> Boxes:
        """Some of them; ``chosen`` are indices, a mask or a slice."""
        return Boxes(self.boxes[chosen], self.sizes[chosen], self.classes[chosen])

    def scaled(self, factor: float) -> Boxes:
        """The same in images so many times as large."""
        return Boxes(self.boxes * factor, self.sizes * factor, self.classes)


def joined(several: Sequence[Boxes]) -> Boxes:
    """All boxes of several."""
    return Boxes(
        *(
            np.concatenate([getattr(one, name) for one in several])
            for name in ("boxes", "sizes", "classes")
        )
    )


@dataclass(frozen=True)
class Cover:
    """How well anchors cover some boxes."""

    num_boxes: int
    covered: float
    """Share of the boxes that some anchor overlaps by the threshold or more; NaN of no boxes, as
    are the others."""
    mean_iou: float
    """Mean over the boxes of the overlap with their best anchor."""
    rescued: float
    """Share that only gets its best anchor by the rule for boxes that no anchor fits: an anchor
    that starts far from them."""
    unreachable: float
    """Share that no anchor inside of the image overlaps at all: never learnt."""
    smaller: float
    """Share whose area is below that of the smallest anchor."""


def best_iou(boxes: Boxes, anchor: np.ndarray) -> np.ndarray:
    """Overlap of each box with the best of all anchors of one shape in its image.

    Anchors that cross the border of the image do not count, as in ``matching.match_anchors``.

    Args:
        boxes: N of them.
        anchor: (2,) height and width in pixels.

    Returns:
        (N,) intersection over union; 0 where no such anchor is inside of the image.
    """
    shared = np.ones(len(boxes))
    for axis in (0, 1):
        length = float(anchor[axis])
        low, high = boxes.boxes[:, axis].astype(float), boxes.boxes[:, axis + 2].astype(float)
        # Centres are at STRIDE * (cell + 0.5).
        first = np.ceil(length / 2 / STRIDE - 0.5)
        last = np.floor((boxes.sizes[:, axis] - length / 2) / STRIDE - 0.5)
        cell = np.clip(np.rint((low + high) / 2 / STRIDE - 0.5), first, last)
        centre = STRIDE * (cell + 0.5)
        overlap = np.minimum(high, centre + length / 2) - np.maximum(low, centre - length / 2)
        shared *= np.where(first <= last, np.maximum(overlap, 0), 0)
    union = np.prod(boxes.sides.astype(float), axis=1) + float(np.prod(anchor, dtype=float))
    return shared / (union - shared)


def overlaps(boxes: Boxes, anchors: Anchors) -> np.ndarray:
    """(N,) the overlap of each box with its best anchor, of any shape."""
    best = np.zeros(len(boxes))
    for anchor in anchors.sizes:
        np.maximum(best, best_iou(boxes, anchor), out=best)
    return best


def cover(boxes: Boxes, anchors: Anchors, threshold: float) -> Cover:
    """How well anchors cover boxes.

    Args:
        threshold: ``rpn_max_overlap``.
    """
    return _cover(boxes, anchors, overlaps(boxes, anchors), threshold)


def cover_by_class(
    boxes: Boxes, anchors: Anchors, threshold: float, num_classes: int
) -> tuple[Cover, list[Cover]]:
    """How well anchors cover all boxes, and those of each class."""
    best = overlaps(boxes, anchors)
    masks = [boxes.classes == index for index in range(num_classes)]
    return _cover(boxes, anchors, best, threshold), [
        _cover(boxes.take(mask), anchors, best[mask], threshold) for mask in masks
    ]


def _cover(boxes: Boxes, anchors: Anchors, best: np.ndarray, threshold: float) -> Cover:
    smallest = float(np.prod(anchors.sizes.astype(float), axis=1).min())
    areas = np.prod(boxes.sides.astype(float), axis=1)

    def share(mask: np.ndarray) -> float:
        return float(mask.mean()) if len(mask) else float("nan")

    return Cover(
        num_boxes=len(boxes),
        covered=share(best >= threshold - ROUNDING),
        mean_iou=float(best.mean()) if len(best) else float("nan"),
        rescued=share((best > 0) & (best < threshold - ROUNDING)),
        unreachable=share(best == 0),
        smaller=share(areas < smallest),
    )


def never_inside(anchors: Anchors, sizes: np.ndarray) -> np.ndarray:
    """(A,) bool: which anchor shapes fit into no image at any place of the grid.

    Args:
        sizes: (M, 2) (height, width) of the images in network pixels.
    """
    lengths = anchors.sizes.astype(float)[:, None]  # (A, 1, 2)
    first = np.ceil(lengths / 2 / STRIDE - 0.5)
    last = np.floor((np.asarray(sizes, float)[None] - lengths / 2) / STRIDE - 0.5)
    return ~np.any(np.all(first <= last, axis=2), axis=1)
