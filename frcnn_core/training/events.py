"""What a training tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frcnn_core.evaluation import EvaluationReport


@dataclass(frozen=True)
class StepDone:
    """One step was taken; ``losses`` are of this step, of all processes together."""

    epoch: int
    step: int
    """In the epoch, counted from 1."""
    losses: dict[str, float]
    learning_rate: float
    images: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch was finished; ``losses`` are means over its images."""

    epoch: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    validation: EvaluationReport | None
    checkpoint: Path | None
    is_best: bool
    num_bad_images: int = 0
    """Files that were skipped so far, since the training was started."""


@dataclass(frozen=True)
class Interrupted:
    """``stop`` was called; ``checkpoint`` holds the state in mid-epoch."""

    checkpoint: Path


Event = StepDone | EpochDone | Interrupted
