"""From the class names in labels to the classes the detector learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frcnn_core.errors import SpecError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class ClassMap:
    """``target_class_mapping``: which label names become which class; the others are dropped.

    Make one with ``ClassMap.of``, which knows the rules for upper and lower case.
    """

    mapping: Mapping[str, str]
    """Lower-case label name -> lower-case class name."""

    @classmethod
    def of(cls, mapping: Mapping[str, str]) -> ClassMap:
        """The class map of a spec; upper and lower case do not matter.

        Raises:
            SpecError: the mapping is empty, or sends one label name to two classes.
        """
        if not mapping:
            raise SpecError(
                "target_class_mapping: empty, so there is nothing to detect. Write for example "
                'target_class_mapping { key: "car" value: "car" }.'
            )
        lower: dict[str, str] = {}
        for label, target in mapping.items():
            target = target.lower()
            if lower.setdefault(label.lower(), target) != target:
                raise SpecError(
                    f"target_class_mapping: {label.lower()!r} is mapped to both "
                    f"{lower[label.lower()]!r} and {target!r}; upper and lower case are the same."
                )
        return cls(lower)

    @property
    def names(self) -> tuple[str, ...]:
        """The K classes in alphabetical order; a class id is a place in this tuple."""
        return tuple(sorted(set(self.mapping.values())))

    def ids(self, labels: tf.Tensor) -> tf.Tensor:
        """Class id of each label.

        Args:
            labels: (G,) string, in any case.

        Returns:
            (G,) int32 in 0..K-1, -1 for a label that is not mapped.
        """
        import tensorflow as tf

        # Comparing with every key needs no lookup table, whose resource a dataset could outlive.
        keys = tf.constant(list(self.mapping))
        targets = tf.constant([self.names.index(target) for target in self.mapping.values()])
        same = tf.strings.lower(labels, encoding="utf-8")[:, None] == keys  # (G, keys)
        ids = tf.gather(targets, tf.argmax(same, axis=1))
        return tf.where(tf.reduce_any(same, axis=1), ids, -1)
