import pytest

from frcnn_core import errors
from frcnn_core.builtin.lr_schedules import Cosine, SoftStart, Step
from frcnn_core.plugin.options import parse

SOFT_START = {
    "base_lr": 0.02,
    "start_lr": 0.002,
    "soft_start": 0.1,
    "annealing_points": (0.8, 0.9),
    "annealing_divider": 10.0,
}
STEP = {"base_lr": 1e-3, "gamma": 0.5, "step_size": 30}


def soft_start(progress: float, **changes) -> float:
    options = parse(SoftStart.Options, {**SOFT_START, **changes}, where="soft_start")
    return SoftStart().learning_rate(options, progress)


def step(progress: float, **changes) -> float:
    options = parse(Step.Options, {**STEP, **changes}, where="step")
    return Step().learning_rate(options, progress)


@pytest.mark.parametrize(
    "progress, rate",
    [
        (0.0, 0.002),
        (0.05, 0.011),
        (0.1, 0.02),
        (0.8, 0.02),
        (0.80001, 0.002),
        (0.9, 0.002),
        (0.95, 0.0002),
    ],
)
def test_soft_start_warms_up_in_a_line_and_divides_after_each_annealing_point(progress, rate):
    assert soft_start(progress) == pytest.approx(rate)


def test_soft_start_without_a_warm_up_begins_at_the_base_rate():
    assert soft_start(0.0, soft_start=0.0) == 0.02


def test_soft_start_with_a_base_rate_of_zero_warms_down_to_zero():
    assert soft_start(0.05, base_lr=0.0) == pytest.approx(0.001)
    assert soft_start(0.5, base_lr=0.0) == 0.0


# Of 1000 steps, the ones at which the curve is known.
@pytest.mark.parametrize(
    "at, rate", [(0, 1e-3), (150, 7.0711e-4), (300, 5e-4), (600, 2.5e-4), (1000, 9.9213e-5)]
)
def test_step_decays_smoothly_by_gamma_over_each_step_size(at, rate):
    assert step(at / 1000) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(
    "progress, rate", [(0.0, 0.0), (0.1, 1e-3), (0.2, 2e-3), (0.6, 1.05e-3), (0.9999999, 1e-4)]
)
def test_cosine_warms_up_in_a_line_and_falls_in_half_a_wave(progress, rate):
    given = {"base_lr": 2e-3, "soft_start": 0.2, "end_lr": 1e-4}
    options = parse(Cosine.Options, given, where="cosine")
    assert Cosine().learning_rate(options, progress) == pytest.approx(rate, abs=1e-9)


def test_step_with_a_gamma_of_zero_makes_one_step():
    assert step(0.0, gamma=0.0) == 1e-3
    assert step(0.001, gamma=0.0) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule, changes, message",
    [
        (soft_start, {"base_lr": -1}, "soft_start.base_lr: -1 is negative."),
        (soft_start, {"soft_start": 1.5}, "soft_start.soft_start: 1.5 is not in [0, 1]."),
        (
            soft_start,
            {"annealing_points": (0.9, 0.8)},
            "soft_start.annealing_points: 0.9, 0.8 do not rise from soft_start (0.1) to 1.",
        ),
        (
            soft_start,
            {"annealing_points": (0.05,)},
            "soft_start.annealing_points: 0.05 do not rise from soft_start (0.1) to 1.",
        ),
        (
            soft_start,
            {"annealing_divider": 0},
            "soft_start.annealing_divider: 0 is not larger than 0.",
        ),
        (step, {"gamma": 2}, "step.gamma: 2 is not in [0, 1]."),
        (step, {"step_size": 0}, "step.step_size: 0 is not a percentage above 0 and up to 100."),
    ],
)
def test_a_value_out_of_range_is_refused(schedule, changes, message):
    with pytest.raises(errors.SpecError) as caught:
        schedule(0.0, **changes)
    assert str(caught.value) == message
