"""The images of a data set, and how to read what their labels say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from frcnn_core.data import Labels
from frcnn_core.survey.findings import Finding

Read = Callable[[tuple[int, int] | None], Labels]
"""``LabelSet.read`` of one image: takes its (height, width) in pixels, raises DataError."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """An image and its labels, not read yet."""

    image: Path
    place: str
    """Where its labels are, or should be, for messages."""
    read: Read
    has_labels: bool = True
    """False: there is no label file.  ``read`` tells whether that is an error."""
    stated_size: tuple[int, int] | None = None
    """(height, width) in pixels as a record states it; None: it takes a look at the image."""


@dataclass(frozen=True)
class Split:
    """Images that serve one purpose."""

    name: str
    """What for: ``training``, ``validation``, ``fold 0``."""
    count: int
    """How many files there are."""
    files: Iterable[LabelledFile]
    """Made anew each time they are gone through, so that 100,000 of them take no memory."""
    findings: tuple[Finding, ...] = ()
    """What was wrong before an image was looked at, such as labels without an image; about the
    source as a whole, so that they name no split."""
    trains: bool = True
    """Whether the rules of training hold for it; False: those of evaluation."""


@dataclass(frozen=True)
class _Chained:
    parts: Sequence[Iterable[LabelledFile]]

    def __iter__(self) -> Iterator[LabelledFile]:
        return chain.from_iterable(self.parts)


def joined(name: str, splits: Sequence[Split], *, trains: bool = True) -> Split:
    """The images of several sources as one split."""
    return Split(
        name,
        sum(split.count for split in splits),
        _Chained([split.files for split in splits]),
        tuple(finding for split in splits for finding in split.findings),
        trains,
    )
