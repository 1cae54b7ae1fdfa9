from dataclasses import dataclass, field
from typing import Literal

import pytest

from frcnn_core import LRSchedule, Metric
from frcnn_core.errors import SpecError
from frcnn_core.plugin.discovery import KINDS, installed
from frcnn_core.testing.suites import CONTRACTS, suite

HELP = {"help": "For tests."}


class Plateau(LRSchedule):
    name = "my_plateau"
    summary = "for tests"

    @dataclass(frozen=True)
    class Options:
        base_lr: float = field(metadata=HELP)
        patience: int = field(metadata=HELP)
        mode: Literal["min", "max"] = field(metadata=HELP)
        cooldown: int | None = field(metadata=HELP)
        nested: bool = field(metadata=HELP)
        factor: float = field(default=0.5, metadata=HELP)

    def learning_rate(self, options, progress):
        return options.base_lr


class OfAFile(Plateau):
    @dataclass(frozen=True)
    class Options:
        path: str = field(metadata=HELP)


class Vague(Plateau):
    class Options:
        pass


def test_every_kind_has_a_contract():
    assert CONTRACTS.keys() == {kind.key for kind in KINDS}


def test_a_suite_is_what_an_author_would_write():
    plateau = Plateau()
    made = suite("lr_schedule", plateau)
    assert made.__name__ == "TestMyPlateauLrSchedule"
    assert made.schedule is plateau
    assert issubclass(made, CONTRACTS["lr_schedule"])


def test_what_is_demanded_is_made_up_and_what_has_a_default_left_alone():
    assert suite("lr_schedule", Plateau()).given == {
        "base_lr": "0.01",
        "patience": "1",
        "mode": "min",
        "cooldown": "1",
        "nested": "false",
    }


def test_what_is_given_is_kept():
    given = suite("lr_schedule", Plateau(), given={"base_lr": "0.5", "factor": "0.1"}).given
    assert (given["base_lr"], given["factor"], given["patience"]) == ("0.5", "0.1", "1")


def test_a_text_cannot_be_made_up():
    with pytest.raises(SpecError, match="add --option path=VALUE"):
        suite("lr_schedule", OfAFile())
    assert suite("lr_schedule", OfAFile(), given={"path": "rates.txt"}).given["path"] == "rates.txt"


def test_a_key_is_one_like_another():
    """An option of this name gets the key of ``-k``."""

    class Encrypted(Plateau):
        @dataclass(frozen=True)
        class Options:
            key: str = field(metadata=HELP)

    assert suite("lr_schedule", Encrypted()).given["key"]


def test_an_option_that_there_is_not_is_refused():
    with pytest.raises(SpecError, match="facter: unknown option"):
        suite("lr_schedule", Plateau(), given={"facter": "0.1"})


def test_options_that_are_none_are_left_to_the_checks():
    assert "given" not in vars(suite("lr_schedule", Vague()))


def test_a_metric_takes_none():
    class Half(Metric):
        name, summary = "half", "for tests"

        def start(self, class_names, *, iou_thresholds, score_threshold):
            return None

    assert suite("metric", Half()).given == {}


@pytest.mark.slow
def test_variants_can_be_chosen():
    resnet = installed().backbones.get("resnet")
    assert suite("backbone", resnet, only_variants=("10",)).only_variants == ("10",)
