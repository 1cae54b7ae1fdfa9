from dataclasses import dataclass, field

import numpy as np
import pytest

from frcnn_core import LRSchedule
from frcnn_core.testing import LRScheduleContract


class Falling(LRSchedule):
    name = "falling"
    summary = "a straight line"

    @dataclass(frozen=True)
    class Options:
        base_lr: float = field(default=0.1, metadata={"help": "Rate of the first step."})

    def learning_rate(self, options, progress):
        return options.base_lr * (1 - progress)


class InNumpy(Falling):
    def learning_rate(self, options, progress):
        return np.float32(0.1)


class BelowZero(Falling):
    def learning_rate(self, options, progress):
        return 0.1 - progress


class Undefined(Falling):
    def learning_rate(self, options, progress):
        return float("nan")


class Still(Falling):
    def learning_rate(self, options, progress):
        return 0.0


class Counting(Falling):
    calls = 0

    def learning_rate(self, options, progress):
        self.calls += 1
        return 1 / self.calls


class Changeable(Falling):
    @dataclass
    class Options:
        base_lr: float = field(default=0.1, metadata={"help": "Rate of the first step."})


class Unexplained(Falling):
    @dataclass(frozen=True)
    class Options:
        base_lr: float = 0.1


class Silent(Falling):
    summary = ""


def contract_of(component):
    return type("Contract", (LRScheduleContract,), {"schedule": component})


@pytest.mark.slow
def test_a_good_schedule_passes(failures):
    assert failures(contract_of(Falling())) == {}


FINITE = "test_every_rate_is_a_finite_number_and_none_is_negative"
OPTIONS = "test_its_options_are_a_frozen_dataclass_of_types_that_text_can_give"


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, check",
    [
        (InNumpy, FINITE),
        (BelowZero, FINITE),
        (Undefined, FINITE),
        (Still, "test_some_rate_is_larger_than_zero"),
        (Counting, "test_a_rate_depends_on_the_progress_alone"),
        (Changeable, OPTIONS),
        (Unexplained, OPTIONS),
        (Silent, "test_it_describes_itself_in_one_line"),
    ],
)
def test_a_broken_one_fails(failures, broken, check):
    assert failures(contract_of(broken()), check)
