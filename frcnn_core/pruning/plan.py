"""Which channels of a network stay, as a function of one threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import get_args

import keras
import numpy as np

from frcnn_core.errors import FrcnnError
from frcnn_core.pruning.channels import ChannelGroup, find_channels
from frcnn_core.pruning.scores import Equalization, Normalizer, channel_scores
from frcnn_core.pruning.selection import count, select
from frcnn_core.pruning.sizes import Sizes

DEFAULT_THRESHOLD = 0.1
"""As in the documentation."""


@dataclass(frozen=True)
class Criterion:
    """What makes a channel worth keeping, but for the threshold.  Defaults are the documentation's.

    Raises:
        FrcnnError: on creation, if values make no sense; tells of all of them.
    """

    normalizer: Normalizer = "max"
    """See ``scores.normalized``."""
    equalization: Equalization = "union"
    """See ``scores.equalized``."""
    granularity: int = 8
    """Channels go so many at a time."""
    min_num_filters: int = 16
    """Of a layer at least so many stay."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}: there is no {value!r}; choose from {', '.join(get_args(choices))}."
            for name, value, choices in (
                ("normalizer", self.normalizer, Normalizer),
                ("equalization_criterion", self.equalization, Equalization),
            )
            if value not in get_args(choices)
        ]
        problems += [
            f"{name}: {value} is no number of filters; it has to be 1 or more."
            for name, value in (
                ("pruning_granularity", self.granularity),
                ("min_num_filters", self.min_num_filters),
            )
            if value < 1
        ]
        if problems:
            raise FrcnnError("\n".join(problems))

    def check_threshold(self, threshold: float) -> None:
        """Refuse thresholds that no score can be compared with.

        Raises:
            FrcnnError: it is negative, not finite, or above every score there can be.
        """
        highest = 1.0 if self.normalizer == "max" else math.inf
        if not (0 <= threshold <= highest and math.isfinite(threshold)):
            wanted = "from 0 to 1" if self.normalizer == "max" else "0 or more"
            raise FrcnnError(
                f"pruning_threshold: {threshold:g} is out of range; with the normalizer "
                f"{self.normalizer} it has to be {wanted}."
            )


class Plan:
    """What a threshold would leave of a detector, found without building anything."""

    def __init__(
        self,
        parts: Mapping[str, keras.Model],
        criterion: Criterion,
        *,
        fixed: Collection[str] = (),
    ):
        """Score every channel.

        Args:
            parts: as ``FasterRCNN.parts``.
            fixed: as of ``find_channels``.

        Raises:
            FrcnnError: a kernel is not finite.
        """
        self.criterion = criterion
        self.channels = find_channels(parts, fixed=fixed)
        self.sizes = Sizes(parts, self.channels)
        self.scores = channel_scores(
            parts,
            self.channels,
            normalizer=criterion.normalizer,
            equalization=criterion.equalization,
        )
        """By group, of those that may lose channels."""
        self._steps = np.unique(np.concatenate([[0.0], *self.scores.values()]))

    @property
    def highest(self) -> float:
        """The highest score: from this threshold on nothing more goes."""
        return float(self._steps[-1])

    def keep(self, threshold: float) -> dict[ChannelGroup, np.ndarray]:
        """The channels of each group that stay, ascending."""
        return {
            group: select(scores, threshold, **self._counting())
            for group, scores in self.scores.items()
        }

    def counts(self, threshold: float) -> dict[ChannelGroup, int]:
        """How many channels of each group stay."""
        return {
            group: count(scores, threshold, **self._counting())
            for group, scores in self.scores.items()
        }

    def num_parameters(self, threshold: float) -> int:
        """Weights that are left of all parts."""
        return self.sizes.num_parameters(self.counts(threshold))

    def threshold_for(self, ratio: float) -> float:
        """A threshold that leaves the largest network of at most ``ratio`` of the parameters.

        The number of parameters is a falling function of the threshold, with a step at some of the
        scores.  All thresholds up to the next step are the same, so of these it is the one with
        the fewest digits.

        Raises:
            FrcnnError: no threshold leaves so few; tells the lowest ratio there is.
        """
        if not 0 < ratio < 1:
            raise FrcnnError(
                f"target_ratio: {ratio:g} is out of range; it is the share of the parameters to "
                "keep, between 0 and 1, e.g. 0.3."
            )
        budget = ratio * self.sizes.whole
        first = self._first(lambda number: number <= budget)
        if first == self._steps.size:
            raise FrcnnError(self._too_low(ratio))
        reached = self.num_parameters(self._steps[first])
        after = self._first(lambda number: number < reached)
        end = self._steps[after] if after < self._steps.size else math.inf
        return _shortest(float(self._steps[first]), float(end))

    def sweep(self) -> list[float]:
        """Thresholds that leave 1, 0.95, 0.9... of the parameters or somewhat less, ascending.

        The last one leaves the least that any does.
        """
        smallest = self.num_parameters(self.highest) / self.sizes.whole
        ratios = [step / 20 for step in range(19, 0, -1) if step / 20 > smallest]
        last = [smallest] if smallest < 1 else []
        thresholds = [0.0, *map(self.threshold_for, ratios + last)]
        return list(dict.fromkeys(thresholds))

    def _counting(self) -> dict[str, int]:
        return {
            "granularity": self.criterion.granularity,
            "min_num_filters": self.criterion.min_num_filters,
        }

    def _first(self, holds: Callable[[int], bool]) -> int:
        """The first of the steps whose number of parameters ``holds``; their number if none."""
        low, high = 0, self._steps.size
        while low < high:
            middle = (low + high) // 2
            if holds(self.num_parameters(self._steps[middle])):
                high = middle
            else:
                low = middle + 1
        return low

    def _too_low(self, ratio: float) -> str:
        lowest = self.num_parameters(self.highest) / self.sizes.whole
        text = (
            f"target_ratio: {ratio:g} cannot be reached. At least {lowest:.4g} of the parameters "
            f"are left with pruning_granularity {self.criterion.granularity} and min_num_filters "
            f"{self.criterion.min_num_filters}"
        )
        whole = sum(not group.prunable for group in self.channels.groups)
        text += f"; {whole} of {len(self.channels.groups)} groups of layers keep all channels"
        # Rounded up, so that it can be reached.
        possible = math.ceil(lowest * 1000) / 1000
        return text + (
            f".\n  Type --target-ratio {possible:g}, or lower the other two."
            if possible < 1
            else ".\n  Lower the other two."
        )


def _shortest(low: float, high: float) -> float:
    """The number from ``low`` on and below ``high`` with the fewest digits behind the point."""
    for digits in range(17):
        number = math.ceil(low * 10**digits) / 10**digits
        if low <= number < high:
            return number
    return low
