"""Leaving out and repeating training images while they are converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar


class _HasClasses(Protocol):
    @property
    def class_names(self) -> Iterable[str]:
        """One for each object of the image."""


T = TypeVar("T", bound=_HasClasses)


@dataclass(frozen=True)
class SampleModifier:
    """Which images to leave out or to repeat; class names are lower case, after the mapping."""

    filter_samples_containing_only: frozenset[str] = frozenset()
    """Leave out images whose objects are all of one of these classes."""
    dominant_target_classes: frozenset[str] = frozenset()
    """The frequent classes; all others count as rare."""
    minimum_target_class_imbalance: Mapping[str, float] = field(default_factory=dict)
    """Rare class -> an image is repeated if it has more than this many times as many objects of
    it as of some dominant class; 1 for classes not listed."""
    num_duplicates: int = 0
    """How many copies a repeated image gets."""
    max_training_samples: int = 0
    """Most images of all training partitions together; 0 is no limit."""
    source_to_target_class_mapping: Mapping[str, str] = field(default_factory=dict)
    """Class name in the labels -> class; others stay as they are."""

    def modify(self, samples: Iterable[T], *, num_partitions: int) -> list[T]:
        """What one training partition becomes.

        Args:
            samples: records, or what stands for them.
            num_partitions: of training, which share ``max_training_samples`` evenly.
        """
        kept: list[T] = []
        for sample in samples:
            counts = self._count(sample)
            if len(counts) == 1 and counts.keys() <= self.filter_samples_containing_only:
                continue
            copies = self.num_duplicates if self._has_many_rare(counts) else 0
            kept += [sample] * (1 + copies)
        return kept[: self.max_training_samples // num_partitions or None]

    def _count(self, sample: T) -> Counter[str]:
        mapping: Mapping[str, str] = self.source_to_target_class_mapping
        return Counter(mapping.get(name, name) for name in sample.class_names)

    def _has_many_rare(self, counts: Counter[str]) -> bool:
        return any(
            count > counts[dominant] * self.minimum_target_class_imbalance.get(name, 1.0)
            for name, count in counts.items()
            if name not in self.dominant_target_classes
            for dominant in self.dominant_target_classes
        )
