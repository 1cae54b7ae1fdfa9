from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from frcnn_core import errors
from frcnn_core.plugin.options import convert, describe, parse, required


@dataclass(frozen=True)
class Lamb:
    lr: float
    beta_1: float = 0.9
    nesterov: bool = False
    steps: int = 1
    points: tuple[float, ...] = ()
    layers: list = field(default_factory=list)

    def __post_init__(self):
        if self.lr < 0:
            raise ValueError(f"lr: {self.lr:g} is negative.")


def test_text_becomes_the_type_of_each_field():
    given = {"lr": "0.1", "nesterov": "true", "steps": "3", "points": "0.8,0.9"}
    assert parse(Lamb, given, where="optimizer") == Lamb(0.1, 0.9, True, 3, (0.8, 0.9))


def test_values_of_the_right_type_are_kept():
    given = {"lr": 0.1, "nesterov": True, "steps": 3, "points": [0.8, 0.9]}
    assert parse(Lamb, given, where="optimizer") == Lamb(0.1, 0.9, True, 3, (0.8, 0.9))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"lr": 1, "beta1": 2}, "optimizer.beta1: unknown option. Did you mean 'beta_1'?"),
        ({"lr": 1, "x": 2}, "optimizer.x: unknown option. Choose from: lr, beta_1, nesterov,"),
        ({}, "optimizer: set lr."),
        ({"lr": "fast"}, "optimizer.lr: expected a number, got 'fast'."),
        ({"lr": -1}, "optimizer.lr: -1 is negative."),
    ],
)
def test_a_wrong_option_says_what_to_type_instead(given, message):
    with pytest.raises(errors.SpecError) as caught:
        parse(Lamb, given, where="optimizer")
    assert str(caught.value).startswith(message)


def test_all_problems_are_told_at_once():
    with pytest.raises(errors.SpecError) as caught:
        parse(Lamb, {"beta1": "2", "steps": "many"}, where="optimizer")
    assert str(caught.value).splitlines() == [
        "optimizer.beta1: unknown option. Did you mean 'beta_1'?",
        "optimizer.steps: expected a whole number, got 'many'.",
        "optimizer: set lr.",
    ]


def test_fields_without_a_default_are_required():
    assert required(Lamb) == ["lr"]


@pytest.mark.parametrize(
    "value, kind, converted",
    [
        ("True", bool, True),
        ("0", bool, False),
        (1, bool, True),
        ("1e-3", float, 0.001),
        (2, float, 2.0),
        (3.0, int, 3),
        (7, str, "7"),
        ("cal.bin", Path, Path("cal.bin")),
        ("none", float | None, None),
        (None, int | None, None),
        ("2", int | None, 2),
        ("fp16", Literal["fp32", "fp16"], "fp16"),
        ("12", Literal[11, 12], 12),
        ("0.8, 0.9", tuple[float, ...], (0.8, 0.9)),
        ("", tuple[float, ...], ()),
        (0.5, tuple[float, ...], (0.5,)),
        ("3,384,1248", tuple[int, int, int], (3, 384, 1248)),
    ],
)
def test_a_value_is_converted(value, kind, converted):
    result = convert(value, kind)
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(
    "value, kind, message",
    [
        ("yes", bool, "expected true or false, got 'yes'."),
        (2, bool, "expected true or false, got 2."),
        (2.5, int, "expected a whole number, got 2.5."),
        ("2.5", int, "expected a whole number, got '2.5'."),
        (True, float, "expected a number, got True."),
        ("x", float | None, "expected a number, got 'x'."),
        ("int4", Literal["fp32", "fp16"], "expected one of fp32, fp16, got 'int4'."),
        ("0.8;0.9", tuple[float, ...], "expected numbers separated by commas"),
        ("3,384", tuple[int, int, int], "expected 3 values separated by commas"),
    ],
)
def test_a_value_of_another_type_is_refused(value, kind, message):
    with pytest.raises(ValueError) as caught:
        convert(value, kind)
    assert str(caught.value).startswith(message)


@pytest.mark.slow
def test_a_type_is_described_by_what_to_type():
    assert describe(int | None) == "a whole number"
    assert describe(Literal["a", "b"]) == "one of a, b"
