"""The two learning rate schedules of the TLT spec, and a cosine; plugins like any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import cos, pi

from frcnn_core import LRSchedule, hookimpl


class SoftStart(LRSchedule):
    """Linear warm-up, then a division at every annealing point."""

    name = "soft_start"
    summary = "linear warm-up, then division at each annealing point"

    @dataclass(frozen=True)
    class Options:
        base_lr: float = field(metadata={"help": "Rate after the warm-up."})
        start_lr: float = field(default=0.0, metadata={"help": "Rate of the first step."})
        soft_start: float = field(
            default=0.0, metadata={"help": "Part of training the warm-up takes, in [0, 1]."}
        )
        annealing_points: tuple[float, ...] = field(
            default=(), metadata={"help": "Parts of training after which the rate is divided."}
        )
        annealing_divider: float = field(
            default=10.0, metadata={"help": "What the rate is divided by at each point."}
        )

        def __post_init__(self) -> None:
            _check_not_negative(base_lr=self.base_lr, start_lr=self.start_lr)
            if not 0 <= self.soft_start <= 1:
                raise ValueError(f"soft_start: {self.soft_start:g} is not in [0, 1].")
            points = (self.soft_start, *self.annealing_points, 1.0)
            if any(later < earlier for earlier, later in pairwise(points)):
                raise ValueError(
                    f"annealing_points: {_listed(self.annealing_points)} do not rise from "
                    f"soft_start ({self.soft_start:g}) to 1."
                )
            if self.annealing_divider <= 0:
                raise ValueError(
                    f"annealing_divider: {self.annealing_divider:g} is not larger than 0."
                )

    def learning_rate(self, options: Options, progress: float) -> float:
        """At an annealing point the rate is still the one before it."""
        if progress < options.soft_start:
            done = progress / options.soft_start
            return options.start_lr + (options.base_lr - options.start_lr) * done
        passed = sum(progress > point for point in options.annealing_points)
        return options.base_lr / options.annealing_divider**passed


class Step(LRSchedule):
    """A decay that multiplies the rate by ``gamma`` over every ``step_size`` percent of training.

    The exponent grows with every step of training: a smooth curve, despite the name.
    """

    name = "step"
    summary = "smooth exponential decay, by gamma over each step_size percent of training"

    @dataclass(frozen=True)
    class Options:
        base_lr: float = field(metadata={"help": "Rate of the first step."})
        gamma: float = field(default=1.0, metadata={"help": "Factor per step_size, in [0, 1]."})
        step_size: float = field(
            default=100.0, metadata={"help": "Percent of training, above 0 and up to 100."}
        )

        def __post_init__(self) -> None:
            _check_not_negative(base_lr=self.base_lr)
            if not 0 <= self.gamma <= 1:
                raise ValueError(f"gamma: {self.gamma:g} is not in [0, 1].")
            if not 0 < self.step_size <= 100:
                raise ValueError(
                    f"step_size: {self.step_size:g} is not a percentage above 0 and up to 100."
                )

    def learning_rate(self, options: Options, progress: float) -> float:
        return options.base_lr * options.gamma ** (100 * progress / options.step_size)


class Cosine(LRSchedule):
    """Linear warm-up, then half a cosine wave down to ``end_lr``.

    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts.
    """

    name = "cosine"
    summary = "linear warm-up, then half a cosine wave down"

    @dataclass(frozen=True)
    class Options:
        base_lr: float = field(metadata={"help": "Rate after the warm-up."})
        soft_start: float = field(
            default=0.0, metadata={"help": "Part of training the warm-up takes, in [0, 1)."}
        )
        end_lr: float = field(default=0.0, metadata={"help": "Rate at the end of training."})

        def __post_init__(self) -> None:
            _check_not_negative(base_lr=self.base_lr, end_lr=self.end_lr)
            if not 0 <= self.soft_start < 1:
                raise ValueError(f"soft_start: {self.soft_start:g} is not in [0, 1).")

    def learning_rate(self, options: Options, progress: float) -> float:
        if progress < options.soft_start:
            return options.base_lr * progress / options.soft_start
        done = (progress - options.soft_start) / (1 - options.soft_start)
        return options.end_lr + (options.base_lr - options.end_lr) * (1 + cos(pi * done)) / 2


def _check_not_negative(**rates: float) -> None:
    for name, rate in rates.items():
        if rate < 0:
            raise ValueError(f"{name}: {rate:g} is negative.")


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


@hookimpl
def frcnn_register_lr_schedules() -> list[LRSchedule]:
    return [SoftStart(), Step(), Cosine()]
