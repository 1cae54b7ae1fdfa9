"""What can be wrong with the classes of a data set as a whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from frcnn_core.data import ClassMap
from frcnn_core.survey.findings import Finding

FEW = 10
"""Objects of a class, below which it is worth a note."""


class ClassCounts:
    """How often each class name stands in the labels of each split, and where first."""

    def __init__(self) -> None:
        self.by_split: dict[str, Counter[str]] = {}
        self.first: dict[str, str] = {}

    def add(self, split: str, class_name: str, place: str) -> None:
        """Take an object into account."""
        self.by_split.setdefault(split, Counter())[class_name] += 1
        self.first.setdefault(class_name, place)

    @property
    def total(self) -> Counter[str]:
        """Objects per class name."""
        return sum(self.by_split.values(), Counter())


def check_classes(
    counts: ClassCounts, splits: Sequence[str], class_map: ClassMap | None
) -> Iterator[Finding]:
    """Everything that is wrong with the names and numbers of classes.

    Args:
        splits: all of them, also those without objects.
        class_map: None where no spec says which classes are wanted.
    """
    if class_map is not None:
        yield from _unknown(counts, class_map)
    yield from _similar(counts, class_map)
    yield from _few(counts, splits, class_map)


def _unknown(counts: ClassCounts, class_map: ClassMap) -> Iterator[Finding]:
    for name, number in counts.total.most_common():
        if class_map.target(name):
            continue
        close = get_close_matches(name.lower(), class_map.mapping, n=1, cutoff=0.7)
        hint = f" Is it {close[0]!r}?" if close else ""
        reason = f"{_objects(number)} left out, the first at {counts.first[name]}.{hint}"
        yield Finding("unknown-class", name, reason, class_name=name)


def _similar(counts: ClassCounts, class_map: ClassMap | None) -> Iterator[Finding]:
    """Names that only case, blanks, dashes or underscores tell apart, and that are not mapped
    to one class."""
    alike: dict[str, list[str]] = {}
    for name in sorted(counts.total):
        alike.setdefault(re.sub(r"[\s_-]+", "", name.lower()), []).append(name)
    for names in alike.values():
        if len({_class_of(name, class_map) for name in names}) < 2:
            continue  # upper and lower case are the same everywhere
        described = ", ".join(f"{name!r} ({_objects(counts.total[name])})" for name in names)
        yield Finding("similar-classes", names[0], f"{described}: are they one class?")


def _few(
    counts: ClassCounts, splits: Sequence[str], class_map: ClassMap | None
) -> Iterator[Finding]:
    wanted = sorted(counts.total) if class_map is None else class_map.names
    for split in splits:
        objects: Counter[str] = Counter()
        for name, number in counts.by_split.get(split, {}).items():
            objects[name if class_map is None else class_map.target(name) or ""] += number
        for name in wanted:
            if objects[name] < FEW:
                code = "rare-class" if objects[name] else "absent-class"
                reason = f"{_objects(objects[name])} in {split}."
                yield Finding(code, name, reason, class_name=name, split=split)


def _class_of(name: str, class_map: ClassMap | None) -> str:
    """The class that objects of this label name are of, or the name itself."""
    return (class_map and class_map.target(name)) or name.lower()


def _objects(number: int) -> str:
    return f"{number or 'no'} object{'' if number == 1 else 's'}"
