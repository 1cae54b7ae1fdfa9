"""Where two detectors differ: their detections in the same images, paired one to one.

One is the *model*, the other the *exported* one, whatever each of them runs on.  Boxes are compared
in pixels of the original image.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn_core.evaluation.scoring import iou
from frcnn_core.structures import ImageDetections

if TYPE_CHECKING:
    from frcnn_core.detector import DetectionSettings

MIN_IOU = 0.5
"""Two detections that overlap less are not the same one."""
MOST_NAMED = 10
"""Of the detections that only one of the two has, so many are kept, those with the best scores."""


EXACT = 1e-3
"""By how much scores of the same numbers differ at most."""


@dataclass(frozen=True)
class Limits:
    """What still counts as the same detector; None is not asked for."""

    box: float | None = None
    """Largest difference of a coordinate of a box, in pixels of the original image."""
    score: float | None = None
    """Largest difference of a score; with it, no detection may be lost or gained."""
    map_loss: float | None = None
    """Largest loss of what the first metric selects checkpoints by, such as mAP."""

    @classmethod
    def of(cls, precision: str) -> Limits:
        """What an export of this precision is held to unless told otherwise.

        float32 computes the same numbers but for the order of sums.  A lower precision moves
        every box; it is good if it finds as much.
        """
        if precision in ("", "fp32"):
            return cls(box=0.05, score=EXACT, map_loss=1e-3)
        return cls(map_loss=0.02)


@dataclass(frozen=True)
class Difference:
    """How far pairs are apart in boxes, or in scores."""

    largest: float = 0.0
    mean: float = 0.0
    image: str = ""
    """Where the largest is; empty without a pair."""
    class_name: str = ""
    """Of the detection that has it."""
    at_score: float = 0.0
    """The model's score of that detection."""


@dataclass(frozen=True)
class ClassComparison:
    """What became of the detections of one class."""

    class_name: str
    num_pairs: int
    """Detections that both have."""
    num_beyond: int
    """Pairs of which a box or a score differs by more than the limits."""
    box: Difference
    """Of coordinates, in pixels of the original image."""
    score: Difference
    num_lost: int
    """Detections that only the model has."""
    num_gained: int
    """Detections that only the exported one has."""
    num_borderline: int
    """Those that one has and the other all but has: its score is next to the score threshold, or
    next to the last one that the other had room for.  They are neither lost nor gained."""


@dataclass(frozen=True)
class Unpaired:
    """A detection that only one of the two has."""

    image: str
    class_name: str
    score: float
    box: tuple[float, ...]
    """(y1, x1, y2, x2) in pixels of the original image."""


@dataclass(frozen=True)
class Differences:
    """Where two detectors differ, over all images."""

    classes: tuple[ClassComparison, ...]
    lost: tuple[Unpaired, ...]
    """The best of them, at most ``MOST_NAMED``."""
    gained: tuple[Unpaired, ...]

    @property
    def overall(self) -> ClassComparison:
        """All classes together; ``class_name`` is empty."""
        counts = ("num_pairs", "num_beyond", "num_lost", "num_gained", "num_borderline")
        sums = {name: sum(getattr(one, name) for one in self.classes) for name in counts}
        return ClassComparison(
            class_name="", box=self._overall("box"), score=self._overall("score"), **sums
        )

    def _overall(self, of: str) -> Difference:
        found = [(getattr(one, of), one.num_pairs) for one in self.classes if one.num_pairs]
        if not found:
            return Difference()
        worst = max((difference for difference, _ in found), key=lambda one: one.largest)
        total = sum(difference.mean * pairs for difference, pairs in found)
        return replace(worst, mean=total / sum(pairs for _, pairs in found))

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        found = {
            "overall": asdict(self.overall),
            "classes": [asdict(one) for one in self.classes],
        }
        for of in ("lost", "gained"):
            found[of] = [_for_json(one) for one in getattr(self, of)]
        return found


def _for_json(one: Unpaired) -> dict[str, Any]:
    fields = asdict(one) | {"box": [_finite(value) for value in one.box]}
    return fields | {"score": _finite(one.score)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def pair(model: ImageDetections, exported: ImageDetections) -> np.ndarray:
    """Which detections of one image are the same one.

    Those of a class are paired one to one, those that overlap most first; the order of scores has
    no part in it, so detections of equal scores may change places.  The best overall assignment
    would be no other for the same detector, whose boxes overlap themselves more than anything
    else; for another detector it would stretch pairs so as to have more of them.

    Boxes are compared with half a pixel more on every side: at the border of the image there are
    boxes without area, which overlap nothing.

    Args:
        model, exported: of D and E detections.

    Returns:
        (M, 2) int, row in ``model`` and row in ``exported`` of each pair.
    """
    overlaps = iou(_grown(model.boxes), _grown(exported.boxes))
    same = np.asarray(model.classes)[:, None] == np.asarray(exported.classes)[None, :]
    usable = _is_finite(model)[:, None] & _is_finite(exported)[None, :]
    rows, columns = np.nonzero(same & usable & (overlaps >= MIN_IOU))
    apart = np.abs(np.asarray(model.scores)[rows] - np.asarray(exported.scores)[columns])
    free_rows, free_columns = set(rows.tolist()), set(columns.tolist())
    found = []
    for index in np.lexsort((apart, -overlaps[rows, columns])):
        row, column = int(rows[index]), int(columns[index])
        if row in free_rows and column in free_columns:
            found.append((row, column))
            free_rows.remove(row)
            free_columns.remove(column)
    return np.array(found, np.int64).reshape(-1, 2)


def _grown(boxes: Any) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return boxes + np.array([-0.5, -0.5, 0.5, 0.5])


def _is_finite(detections: ImageDetections) -> np.ndarray:
    """(D,) whether a detection is made of numbers; one that is not is like no other."""
    boxes = np.asarray(detections.boxes, np.float64).reshape(-1, 4)
    return np.isfinite(boxes).all(axis=1) & np.isfinite(detections.scores)


@dataclass
class _Largest:
    """Differences so far: the largest, where it was, and the sum of all."""

    largest: float = 0.0
    image: str = ""
    at_score: float = 0.0
    total: float = 0.0

    def update(self, apart: np.ndarray, scores: np.ndarray, image: str) -> None:
        """With the pairs of an image.

        Args:
            apart: (M, 1 or 4) what they differ by.
            scores: (M,) the model's.
        """
        worst = apart.max(axis=1)
        first = int(worst.argmax())
        if worst[first] > self.largest or not self.image:
            self.largest, self.image = float(worst[first]), image
            self.at_score = float(scores[first])
        self.total += float(apart.mean(axis=1).sum())

    def of(self, count: int, class_name: str) -> Difference:
        if not count:
            return Difference()
        mean = self.total / count
        return Difference(self.largest, mean, self.image, class_name, self.at_score)


@dataclass
class _ClassCounts:
    pairs: int = 0
    beyond: int = 0
    lost: int = 0
    gained: int = 0
    borderline: int = 0
    box: _Largest = field(default_factory=_Largest)
    score: _Largest = field(default_factory=_Largest)


class Comparison:
    """Compares two detectors image by image; holds a few numbers for each class.

    Args:
        class_names: K names.
        settings: how both make detections.
        limits: beyond which differences are counted.
    """

    def __init__(self, class_names: Sequence[str], settings: DetectionSettings, limits: Limits):
        self._names = tuple(class_names)
        self._settings = settings
        self._limits = limits
        self._counts = [_ClassCounts() for _ in self._names]
        self._lost = _Best()
        self._gained = _Best()

    def update(self, image: str, model: ImageDetections, exported: ImageDetections) -> None:
        """Take the detections of one image into account."""
        pairs = pair(model, exported)
        self._count_pairs(image, model, exported, pairs)
        self._count_unpaired(image, model, exported, pairs[:, 0], "lost", self._lost)
        self._count_unpaired(image, exported, model, pairs[:, 1], "gained", self._gained)

    def result(self) -> Differences:
        """What was found over all images so far."""
        return Differences(
            classes=tuple(
                ClassComparison(
                    class_name=name,
                    num_pairs=counts.pairs,
                    num_beyond=counts.beyond,
                    box=counts.box.of(counts.pairs, name),
                    score=counts.score.of(counts.pairs, name),
                    num_lost=counts.lost,
                    num_gained=counts.gained,
                    num_borderline=counts.borderline,
                )
                for name, counts in zip(self._names, self._counts, strict=True)
            ),
            lost=self._lost.found(),
            gained=self._gained.found(),
        )

    def _count_pairs(
        self, image: str, model: ImageDetections, exported: ImageDetections, pairs: np.ndarray
    ) -> None:
        rows, columns = pairs.T
        boxes = np.abs(_boxes(model)[rows] - _boxes(exported)[columns])  # (M, 4)
        own = _scores(model)[rows]  # (M,)
        scores = np.abs(own - _scores(exported)[columns])  # (M,)
        beyond = (boxes.max(axis=1, initial=0.0) > _or_all(self._limits.box)) | (
            scores > _or_all(self._limits.score)
        )
        classes = np.asarray(model.classes)[rows]
        for index in np.unique(classes):
            mine, counts = classes == index, self._counts[int(index)]
            counts.pairs += int(mine.sum())
            counts.beyond += int(beyond[mine].sum())
            counts.box.update(boxes[mine], own[mine], image)
            counts.score.update(scores[mine, None], own[mine], image)

    def _count_unpaired(
        self,
        image: str,
        own: ImageDetections,
        other: ImageDetections,
        paired: np.ndarray,
        kind: str,
        best: _Best,
    ) -> None:
        """Those of ``own`` detections that are not among the ``paired``."""
        floor = self._floor(other)
        for row in np.setdiff1d(np.arange(len(own.scores)), paired):
            index, score = int(own.classes[row]), float(own.scores[row])
            counts = self._counts[index]
            if score <= floor:  # not so of a score that is no number
                counts.borderline += 1
                continue
            setattr(counts, kind, getattr(counts, kind) + 1)
            box = tuple(float(value) for value in own.boxes[row])
            best.add(Unpaired(image, self._names[index], score, box))

    def _floor(self, other: ImageDetections) -> float:
        """The score up to which ``other`` may lack a detection although it is the same detector."""
        scores = _scores(other)
        lowest = self._settings.object_confidence_thres
        if len(scores) >= self._settings.classifier_nms_max_boxes:
            lowest = max(lowest, float(scores.min()))
        margin = self._limits.score
        return lowest + (EXACT if margin is None else margin)


class _Best:
    """The detections with the best scores among those it is shown."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Unpaired]] = []
        self._count = 0

    def add(self, one: Unpaired) -> None:
        # What is no number is the worst there is to tell.  The count keeps the first of equals.
        rank = one.score if math.isfinite(one.score) else math.inf
        self._count += 1
        heapq.heappush(self._heap, (rank, -self._count, one))
        if len(self._heap) > MOST_NAMED:
            heapq.heappop(self._heap)

    def found(self) -> tuple[Unpaired, ...]:
        """Best first."""
        return tuple(one for _, _, one in sorted(self._heap, key=lambda entry: entry[:2])[::-1])


def _boxes(detections: ImageDetections) -> np.ndarray:
    return np.asarray(detections.boxes, np.float64).reshape(-1, 4)


def _scores(detections: ImageDetections) -> np.ndarray:
    return np.asarray(detections.scores, np.float64)


def _or_all(limit: float | None) -> float:
    return math.inf if limit is None else limit
