"""What can be wrong with the objects of one image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from frcnn_core.data import Labels, Object
from frcnn_core.detector import STRIDE
from frcnn_core.survey.findings import Finding
from frcnn_core.survey.view import NetworkView

ROUNDING = 1.0
"""Pixels that a box may reach out of its image: tools count and round in different ways."""
LARGELY = 0.25
"""Share of a box outside of its image from which on it is a warning."""

Size = tuple[int, int]
"""(height, width) in pixels."""


def check_objects(
    labels: Labels, image: str, place: str, size: Size | None, view: NetworkView | None
) -> Iterator[Finding]:
    """Everything that is wrong with the objects of an image.

    Objects of classes that ``view`` leaves out are left out here.

    Args:
        image: its file.
        place: where its labels are.
        size: of the image; None where it is not known, or not what the labels were made for.
    """
    places = labels.places or [place] * len(labels.objects)
    chosen = [
        (item, where)
        for item, where in zip(labels.objects, places, strict=True)
        if view is None or view.class_of(item.class_name) is not None
    ]
    sound = []
    for item, where in chosen:
        found = _check_box(item, size)
        if found:
            code, reason = found
            yield _finding(code, where, reason, image, item)
        if found is None or found[0] in ("slightly-outside", "largely-outside"):
            sound.append((item, where))
    yield from _duplicate_boxes(sound, image)
    if view is not None and size is not None:
        yield from _check_in_view(sound, image, place, size, view)
    if not any(not item.crowd for item, _ in chosen):
        of_class = " of a class" if labels.objects and view is not None else ""
        yield Finding("empty-image", place, f"no objects{of_class}.", image)


def _check_box(item: Object, size: Size | None) -> tuple[str, str] | None:
    """Code and reason of the one thing that is wrong with a box."""
    sides = (item.x1, item.y1, item.x2, item.y2)
    if not all(map(math.isfinite, sides)):
        return "not-a-number", "a coordinate is no number."
    width, height = item.x2 - item.x1, item.y2 - item.y1
    if width < 0 or height < 0:
        order = [name for name, side in (("x2 < x1", width), ("y2 < y1", height)) if side < 0]
        return "inside-out", f"{' and '.join(order)}."
    if width == 0 or height == 0:
        missing = [name for name, side in (("width", width), ("height", height)) if side == 0]
        return "zero-area", f"no {' and no '.join(missing)}."
    return _check_inside(item, size) if size is not None else None


def _check_inside(item: Object, size: Size) -> tuple[str, str] | None:
    height, width = size
    seen_width = max(min(item.x2, width) - max(item.x1, 0), 0)
    seen_height = max(min(item.y2, height) - max(item.y1, 0), 0)
    of_image = f"the image of {height} x {width} pixels (height x width)"
    if not seen_width * seen_height:
        return "outside", f"outside of {of_image}."
    if max(-item.x1, -item.y1, item.x2 - width, item.y2 - height) <= ROUNDING:
        return None
    outside = 1 - seen_width * seen_height / ((item.x2 - item.x1) * (item.y2 - item.y1))
    code = "largely-outside" if outside > LARGELY else "slightly-outside"
    return code, f"{outside:.0%} of it is outside of {of_image}."


def _duplicate_boxes(objects: Sequence[tuple[Object, str]], image: str) -> Iterator[Finding]:
    first: dict[tuple[float, ...], tuple[Object, str]] = {}
    for item, where in objects:
        box = (item.x1, item.y1, item.x2, item.y2)
        other, place = first.setdefault(box, (item, where))
        if other is item:
            continue
        as_what = "" if other.class_name == item.class_name else f", as {other.class_name!r}"
        yield _finding("duplicate-box", where, f"is at {place} too{as_what}.", image, item)


def _check_in_view(
    objects: Sequence[tuple[Object, str]], image: str, place: str, size: Size, view: NetworkView
) -> Iterator[Finding]:
    """What of them the network does not see, or hardly."""
    seen, _ = view.fit(size)
    boxes = view.boxes(
        np.array([(item.y1, item.x1, item.y2, item.x2) for item, _ in objects]), size
    )
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = view.large_enough(boxes)
    is_cut = not view.preprocessing.resize and not view.preprocessing.is_dynamic and seen != size
    gone = (sides <= 0).any(axis=1)
    if is_cut:
        lost = ""
        if gone.any():
            lost = f", and {gone.sum()} of its {len(objects)} objects with the rest"
        reason = (
            f"{size[0]} x {size[1]} pixels (height x width) are cut to {seen[0]} x {seen[1]}{lost}."
        )
        yield Finding("image-cut", place, reason, image)
    for (item, where), (height, width), whole, cut_off in zip(
        objects, sides.tolist(), kept.tolist(), gone.tolist(), strict=True
    ):
        comes_to = f"{height:.3g} x {width:.3g} pixels (height x width) for the network"
        if not whole and not (is_cut and cut_off):
            yield _finding("dropped-box", where, f"{comes_to}, so it is left out.", image, item)
        elif whole and max(height, width) < STRIDE:
            yield _finding("small-box", where, f"{comes_to}.", image, item)
    num_kept = int(kept[[not item.crowd for item, _ in objects]].sum()) if objects else 0
    if view.max_objects is not None and num_kept > view.max_objects:
        reason = f"{num_kept} objects, but only the {view.max_objects} largest are trained on."
        yield Finding("too-many-objects", place, reason, image)


def _finding(code: str, where: str, reason: str, image: str, item: Object) -> Finding:
    box = (item.x1, item.y1, item.x2, item.y2)
    return Finding(code, where, reason, image, item.class_name, box)
