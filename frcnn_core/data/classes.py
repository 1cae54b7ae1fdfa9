"""From the class names in labels to the classes the detector learns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frcnn_core.errors import SpecError

if TYPE_CHECKING:
    import tensorflow as tf

_BETWEEN = r"[ _-]"
"""What may stand between the words of a name."""


@dataclass(frozen=True)
class ClassMap:
    """``target_class_mapping``: which label names become which class; the others are dropped.

    Where no key is the label's name letter by letter, blanks, ``_`` and ``-`` do not matter: TLT
    wrote COCO's ``traffic light`` as ``trafficlight``, and KITTI has no blanks in names at all.

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

    def target(self, label: str) -> str | None:
        """The class of one label name, in any case; None if it is not mapped."""
        label = label.lower()
        return self.mapping.get(label) or self._loose.get(_loosely(label))

    @property
    def _loose(self) -> Mapping[str, str]:
        """The same with names as ``_loosely`` gives them, but for those that several classes
        would have."""
        targets: dict[str, set[str]] = {}
        for key, target in self.mapping.items():
            targets.setdefault(_loosely(key), set()).add(target)
        return {key: target for key, (target, *others) in targets.items() if not others}

    def ids(self, labels: tf.Tensor | Sequence[str]) -> tf.Tensor:
        """Class id of each label.

        Args:
            labels: (G,) string, in any case.

        Returns:
            (G,) int32 in 0..K-1, -1 for a label that is not mapped.
        """
        import tensorflow as tf

        lower = tf.strings.lower(labels, encoding="utf-8")
        exact = self._find(lower, self.mapping)
        loose = self._find(tf.strings.regex_replace(lower, _BETWEEN, ""), self._loose)
        return tf.where(exact >= 0, exact, loose)

    def _find(self, labels: tf.Tensor, mapping: Mapping[str, str]) -> tf.Tensor:
        import tensorflow as tf

        if not mapping:
            return tf.fill(tf.shape(labels), -1)
        # Comparing with every key needs no lookup table, whose resource a dataset could outlive.
        keys = tf.constant(list(mapping))
        targets = tf.constant([self.names.index(target) for target in mapping.values()])
        same = labels[:, None] == keys  # (G, keys)
        ids = tf.gather(targets, tf.argmax(same, axis=1))
        return tf.where(tf.reduce_any(same, axis=1), ids, -1)


def _loosely(name: str) -> str:
    return re.sub(_BETWEEN, "", name)
