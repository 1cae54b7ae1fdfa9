"""Looks at every image and label of a data set for whatever could be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from frcnn_core.data import Labels
from frcnn_core.errors import DataError
from frcnn_core.survey.class_checks import ClassCounts, check_classes
from frcnn_core.survey.duplicates import SeenImages
from frcnn_core.survey.findings import Finding
from frcnn_core.survey.image_facts import ImageFacts, examine
from frcnn_core.survey.in_order import in_order
from frcnn_core.survey.labelled_files import LabelledFile, Split
from frcnn_core.survey.object_checks import check_objects
from frcnn_core.survey.places import place_and_reason
from frcnn_core.survey.report import Report
from frcnn_core.survey.view import NetworkView


def validate(
    splits: Sequence[Split],
    view: NetworkView | None = None,
    *,
    quick: bool = False,
    keep: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Everything that is wrong with a data set.

    A label file that cannot be read is told once, with its lines; what else is wrong with the
    objects in it shows when it is mended.

    Args:
        view: how a spec has the network see it; None checks the data alone.
        quick: do not decode images, see ``image_facts.examine``.
        keep: see ``Report``.
        threads: see ``in_order``.
        progress: called with the number of images looked at and their total.
    """
    report, counts, seen = Report(keep), ClassCounts(), SeenImages()
    done, total = 0, sum(split.count for split in splits)
    for split in splits:
        seen_by = view and view.of_split(trains=split.trains)
        look = partial(_look, view=seen_by, quick=quick)
        for finding in split.findings:
            report.add(finding)
        for looked_at in in_order(look, split.files, threads=threads):
            for finding in looked_at.findings:
                report.add(replace(finding, split=split.name))
            report.images[split.name] += 1
            image, facts, labels = looked_at.image, looked_at.facts, looked_at.labels
            if labels is not None:
                report.objects[split.name] += len(labels.objects)
                for item, place in zip(labels.objects, _places(labels, image), strict=True):
                    counts.add(split.name, item.class_name, place)
            if facts is not None:
                objects = labels.objects if labels is not None else ()
                for finding in seen.add(facts.digest, image, split.name, objects):
                    report.add(replace(finding, split=split.name))
            done += 1
            progress(done, total)
    class_map = view.class_map if view is not None else None
    for finding in check_classes(counts, [split.name for split in splits], class_map):
        report.add(finding)
    return report


class _LookedAt(NamedTuple):
    """What a thread found out about one image."""

    image: str
    facts: ImageFacts | None
    labels: Labels | None
    findings: list[Finding]


def _look(file: LabelledFile, *, view: NetworkView | None, quick: bool) -> _LookedAt:
    image = str(file.image)
    findings: list[Finding] = []
    facts = labels = None
    try:
        facts = examine(file.image, quick=quick)
    except DataError as error:
        findings.append(_bad_image(file, str(error)))
    try:
        # Formats that write fractions cannot be read without a size; fractions of a unit still
        # tell which boxes have no area.
        labels = file.read(facts.size if facts else (1, 1))
    except DataError as error:
        findings += _bad_labels(file, str(error))
    if facts is not None and facts.orientation != 1:
        reason = f"EXIF orientation {facts.orientation}; its labels have to fit the upright image."
        findings.append(Finding("turned-image", image, reason, image))
    if labels is not None:
        mismatch = facts and _check_size(file, labels, facts)
        findings += [mismatch] if mismatch else []
        size = facts.size if facts and not mismatch else None
        findings += check_objects(labels, image, file.place, size, view)
    return _LookedAt(image, facts, labels, findings)


def _bad_image(file: LabelledFile, message: str) -> Finding:
    image = str(file.image)
    if not file.image.exists():
        return Finding("missing-image", file.place, f"there is no image {image}.", image)
    return Finding("unreadable-image", image, message.removeprefix(f"{image}: "), image)


def _bad_labels(file: LabelledFile, message: str) -> Iterator[Finding]:
    if not file.has_labels:
        reason = "there are no labels here for this image; an image without objects needs empty"
        yield Finding("missing-label", file.place, f"{reason} ones.", str(file.image))
        return
    for line in message.splitlines():
        yield Finding("bad-label", *place_and_reason(line, file.place), str(file.image))


def _check_size(file: LabelledFile, labels: Labels, facts: ImageFacts) -> Finding | None:
    if labels.size in (None, facts.size):
        return None
    height, width = labels.size
    found = f"the image has {facts.size[0]} x {facts.size[1]}"
    if labels.size == facts.stored_size:
        reason = (
            f"for {height} x {width} pixels (height x width), but upright {found}: the boxes are "
            "for the image as it is stored."
        )
        return Finding("labels-turned", file.place, reason, str(file.image))
    reason = f"says {height} x {width} pixels (height x width), but {found}."
    return Finding("size-mismatch", file.place, reason, str(file.image))


def _places(labels: Labels, image: str) -> Sequence[str]:
    return labels.places or [image] * len(labels.objects)
