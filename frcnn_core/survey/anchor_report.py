"""How well the anchors of a spec fit the objects of its data, and what would fit better."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from frcnn_core.detector import Anchors
from frcnn_core.errors import DataError
from frcnn_core.survey.anchor_cover import Boxes, Cover, cover_by_class, joined, never_inside
from frcnn_core.survey.anchor_search import suggest
from frcnn_core.survey.objects import ObjectTable
from frcnn_core.survey.view import NetworkView

NUM_SIZES = 5
"""How many sizes stand for the range of a zoom."""


@dataclass(frozen=True)
class Covers:
    """How well anchors fit."""

    all: Cover
    """All objects."""
    classes: tuple[Cover, ...]
    """Those of each class."""

    def as_dict(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Ready for JSON."""
        named = zip(class_names, self.classes, strict=True)
        return {"all": _plain(self.all), "classes": {name: _plain(one) for name, one in named}}


@dataclass(frozen=True)
class Fitted:
    """Anchors, and how well they fit."""

    anchors: Anchors
    covers: Covers
    """Objects in the size that evaluation sees them in."""
    zoomed: Covers | None
    """Objects in several sizes of the range that augmentation makes of theirs.  Positions are taken
    to change with the size.  None where there is no such range."""

    def text(self) -> str:
        """The block of ``model_config`` that says so."""
        scales, ratios = (
            ", ".join(repr(float(value)) for value in values)
            for values in (self.anchors.scales, self.anchors.ratios)
        )
        return f"anchor_box_config {{\n  scale: [{scales}]\n  ratio: [{ratios}]\n}}"

    def as_dict(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Ready for JSON."""
        content = {
            "scales": list(self.anchors.scales),
            "ratios": list(self.anchors.ratios),
            **self.covers.as_dict(class_names),
        }
        if self.zoomed:
            content["zoomed"] = self.zoomed.as_dict(class_names)
        return content


@dataclass(frozen=True)
class AnchorReport:
    """What is known of a spec's anchors."""

    class_names: tuple[str, ...]
    threshold: float
    """``rpn_max_overlap``."""
    zoom: tuple[float, float]
    """Range of the zoom ratio."""
    given: Fitted
    suggested: Fitted | None
    """None where nothing better was found."""
    never_inside: tuple[tuple[float, float], ...]
    """(height, width) of the given anchors that fit into no image."""

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "rpn_max_overlap": self.threshold,
            "zoom": list(self.zoom),
            "never_inside": [list(shape) for shape in self.never_inside],
            "given": self.given.as_dict(self.class_names),
            "suggested": self.suggested and self.suggested.as_dict(self.class_names),
        }


def report_on(
    table: ObjectTable,
    view: NetworkView,
    anchors: Anchors,
    threshold: float,
    zoom: tuple[float, float] = (1.0, 1.0),
) -> AnchorReport:
    """How well anchors fit the objects that are trained on, and what would fit better.

    Args:
        table: of the training split, gathered in ``view``.
        threshold: ``rpn_max_overlap``.
        zoom: range of the zoom ratio of augmentation.

    Raises:
        DataError: there are no objects.
    """
    boxes = Boxes(table.boxes, table.sizes, table.classes).take(view.large_enough(table.boxes))
    if not len(boxes):
        raise DataError(
            "There is no object to train on; `frcnn dataset validate` says what became of them."
        )
    low, high = zoom
    # Zoom ratios are uniform, and content becomes 1 / ratio as large.
    factors = [1 / ratio for ratio in np.linspace(high, low, NUM_SIZES)] if zoom != (1, 1) else [1]
    in_sizes = joined([boxes.scaled(factor) for factor in factors])
    found = suggest(boxes, anchors, threshold, factors=factors)

    def covers(seen: Boxes, one: Anchors) -> Covers:
        everything, classes = cover_by_class(seen, one, threshold, len(table.class_names))
        return Covers(everything, tuple(classes))

    def fitted(one: Anchors) -> Fitted:
        zoomed = covers(in_sizes, one) if len(factors) > 1 else None
        return Fitted(one, covers(boxes, one), zoomed)

    is_new = (found.scales, found.ratios) != (anchors.scales, anchors.ratios)
    sizes = np.unique(boxes.sizes, axis=0)
    outside = anchors.sizes[never_inside(anchors, sizes)]
    return AnchorReport(
        class_names=table.class_names,
        threshold=threshold,
        zoom=(float(zoom[0]), float(zoom[1])),
        given=fitted(anchors),
        suggested=fitted(found) if is_new else None,
        never_inside=tuple((float(height), float(width)) for height, width in outside),
    )


def _plain(cover: Cover) -> dict[str, float | int | None]:
    """JSON has no NaN."""
    return {
        key: None if math.isnan(value) else round(value, 6) for key, value in asdict(cover).items()
    }
