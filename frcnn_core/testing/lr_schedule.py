"""What every learning rate schedule must do."""

from __future__ import annotations

import math

from frcnn_core.plugin import LRSchedule
from frcnn_core.testing.component import ComponentContract

STEPS = 1000


class LRScheduleContract(ComponentContract):
    """Subclass as ``class TestCosine(LRScheduleContract): schedule = Cosine()``.

    Options without a default go into ``given``.
    """

    schedule: LRSchedule

    @property
    def component(self) -> LRSchedule:
        return self.schedule

    def rates(self) -> list[float]:
        options = self.options()
        return [self.schedule.learning_rate(options, step / STEPS) for step in range(STEPS)]

    def test_every_rate_is_a_finite_number_and_none_is_negative(self) -> None:
        for rate in self.rates():
            assert isinstance(rate, float | int), f"{rate!r} is a {type(rate).__name__}"
            assert math.isfinite(rate) and rate >= 0

    def test_some_rate_is_larger_than_zero(self) -> None:
        assert max(self.rates()) > 0

    def test_a_rate_depends_on_the_progress_alone(self) -> None:
        options = self.options()
        backwards = [
            self.schedule.learning_rate(options, step / STEPS) for step in reversed(range(STEPS))
        ]
        assert self.rates() == backwards[::-1]
