"""What a training leaves for programs to read: status.json, and TensorBoard logs if asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frcnn_core.training.events import EpochDone, Event, Interrupted, StepDone
from frcnn_core.training.status import StatusLog
from frcnn_core.training.tensorboard import SummaryLog, run_directory
from frcnn_core.training.trainer import Trainer


@dataclass(frozen=True)
class Visualizer:
    """What goes to TensorBoard (``training_config.visualizer``)."""

    pictures: Callable[[], Mapping[str, np.ndarray]]
    """Draws what the detector finds now: (H, W, 3) uint8 by name."""
    weight_histograms: bool = False


class TrainingLog:
    """Takes the trainer's events."""

    def __init__(self, results_dir: Path, trainer: Trainer, visualizer: Visualizer | None = None):
        """
        Args:
            results_dir: gets ``status.json`` and ``logs/``.
            trainer: whose events come.
            visualizer: None for no TensorBoard log.
        """
        self._trainer = trainer
        self._status = StatusLog(results_dir / "status.json")
        self._visualizer = visualizer
        self._summary = None
        if visualizer:
            resumed = trainer.progress.epoch > 0 or trainer.progress.step > 0
            self._summary = SummaryLog(run_directory(results_dir, resumed=resumed))

    def running(self) -> AbstractContextManager[None]:
        """Notes the start of the training, and how it ended."""
        return self._status.running("training")

    def take(self, event: Event) -> None:
        """Log one event."""
        match event:
            case StepDone():
                self._take_step(event)
            case EpochDone():
                self._take_epoch(event)
            case Interrupted():
                self._status.write(f"Interrupted; saved {event.checkpoint}.", verbosity="WARNING")

    def _take_step(self, event: StepDone) -> None:
        if self._summary:
            step = (event.epoch - 1) * self._trainer.steps_per_epoch + event.step
            losses = {f"loss/{term}": value for term, value in event.losses.items()}
            total = {"loss/total": sum(event.losses.values())}
            self._summary.scalars(step, losses | total | {"learning_rate": event.learning_rate})

    def _take_epoch(self, event: EpochDone) -> None:
        kpi = {}
        if event.validation:
            kpi = {"mean average precision": event.validation.primary}
            kpi |= {name: result.primary for name, result in event.validation.results.items()}
        skipped = {"bad_images": event.num_bad_images} if event.num_bad_images else {}
        self._status.epoch(
            event.epoch,
            self._trainer.num_epochs,
            seconds=event.seconds,
            graphical={
                "loss": sum(event.losses.values()),
                **event.losses,
                "learning_rate": event.learning_rate,
                **skipped,
                **kpi,
            },
            kpi=kpi,
        )
        if self._summary and self._visualizer:
            step = event.epoch * self._trainer.steps_per_epoch
            self._summary.scalars(step, {f"validation/{name}": v for name, v in kpi.items()})
            self._summary.images(step, self._visualizer.pictures())
            if self._visualizer.weight_histograms:
                self._summary.histograms(step, self._weights())
            self._summary.flush()

    def _weights(self) -> dict[str, np.ndarray]:
        parts = self._trainer.model.detector.parts
        return {
            f"{part}/{variable.path}": np.asarray(variable)
            for part, graph in parts.items()
            for variable in graph.trainable_variables
        }
