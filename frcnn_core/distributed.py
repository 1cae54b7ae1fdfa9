"""The processes that train one detector together, each on a part of every batch.

This is the only module that knows Horovod.  It works at the level of gradients: each process
computes those of its own images, all of them average, and each takes the same step.  So all hold
the same variables at any time, and a process alone is the same program with nothing to average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import tensorflow as tf

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The processes of a training, seen from one of them; as it is, the only one."""

    rank: int = 0
    """Of this process, from 0; the first one writes files and speaks to the user."""
    size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Of this process among those on its machine."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def average(self, tensors: Sequence[tf.Tensor], weight: tf.Tensor) -> list[tf.Tensor]:
        """Means over all processes, in one exchange; also inside a ``tf.function``.

        Args:
            tensors: floating point, of the same shapes everywhere.
            weight: () float32, this process's share, e.g. its number of images.  Where it is 0 the
                values do not count, whatever they are.
        """
        return list(tensors)

    def broadcast(self, variables: Sequence[tf.Variable]) -> None:
        """Give variables the values that the first process has."""

    def gather(self, value: T) -> list[T]:
        """What all processes have, in the order of their ranks; any picklable value."""
        return [value]

    def share(self, value: T) -> T:
        """What the first process has; the others' values are not looked at."""
        return value


ALONE = Workers()
"""A training of one process."""
