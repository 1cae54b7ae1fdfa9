"""The training loop, explicit: step, rate, validate, save.

Everything random is a function of (seed, epoch, image in the epoch), never of call order, so a
training that was stopped and resumed computes what an uninterrupted one would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from frcnn_core import archive
from frcnn_core.checkpoints import Checkpoints
from frcnn_core.data.bad_images import BadImages
from frcnn_core.data.pipeline import Batches
from frcnn_core.detector import TrainingSettings
from frcnn_core.errors import TrainingError
from frcnn_core.evaluation import EvaluationReport
from frcnn_core.losses import Losses
from frcnn_core.model import Model
from frcnn_core.structures import Batch


@dataclass
class Progress:
    """How far training got; saved with every checkpoint."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Steps done in the epoch after them."""
    losses: dict[str, float] = field(default_factory=dict)
    """Sums over those steps' images, by loss term."""
    images: int = 0
    """How many images that were."""
    lowest_loss: float | None = None
    """Of a whole epoch, for early stopping."""
    epochs_since_lowest: int = 0


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the training loss has not fallen by ``min_delta`` for ``patience`` epochs."""

    patience: int
    min_delta: float = 0.0


@dataclass(frozen=True)
class StepDone:
    """One step was taken; ``losses`` are of this step."""

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


@dataclass
class Trainer:
    """Trains a model; ``run`` yields what happens."""

    model: Model
    optimizer: keras.optimizers.Optimizer
    learning_rate: Callable[[float], float]
    """Rate at a progress in [0, 1) of the whole training."""
    batches: Callable[[int, int], Batches]
    """Batches of an epoch (counted from 0) from a step on; one pass over the images."""
    settings: TrainingSettings
    checkpoints: Checkpoints
    num_epochs: int
    steps_per_epoch: int
    batch_size: int
    seed: int
    key: str = ""
    """Encrypts the checkpoints, unless empty."""
    validate: Callable[[], EvaluationReport] | None = None
    validation_period: int = 1
    early_stopping: EarlyStopping | None = None
    progress: Progress = field(default_factory=Progress)
    bad_images: BadImages = field(default_factory=BadImages)
    """Told by ``batches`` and ``validate`` which images they skip."""

    def __post_init__(self) -> None:
        self._stop = False
        self._variables = self.model.detector.trainable_variables
        if not self.optimizer.built:
            self.optimizer.build(self._variables)
        # One trace for every batch size and number of boxes.
        self._update = tf.function(
            self._descend,
            input_signature=[
                self.batches(0, 0).element_spec,
                tf.TensorSpec([None, 2], tf.int32, name="seeds"),
            ],
            autograph=False,
        )

    def stop(self) -> None:
        """Make ``run`` save and end after the current step; safe in a signal handler."""
        self._stop = True

    def run(self) -> Iterator[Event]:
        """Train to the end.

        Raises:
            TrainingError: a loss is not finite; names the batch's images and the loss terms.  Or
                weights are not; such a checkpoint is not written.
            DataError: there are more bad images than ``bad_images`` allows.
        """
        self.checkpoints.start(self.progress.epoch)
        while self.progress.epoch < self.num_epochs:
            start = time.monotonic()
            for batch in self.batches(self.progress.epoch, self.progress.step):
                yield self._step(batch)
                if self._stop:
                    yield Interrupted(self._save_interrupted())
                    return
            done = self._end_epoch(time.monotonic() - start)
            yield done
            if self._has_stalled() and done.epoch < self.num_epochs:
                return

    def _step(self, batch: Batch) -> StepDone:
        progress, images = self.progress, int(batch.images.shape[0])
        steps = progress.epoch * self.steps_per_epoch + progress.step
        rate = self.learning_rate(steps / (self.num_epochs * self.steps_per_epoch))
        self.optimizer.learning_rate = rate
        losses = self._update(batch, self._seeds(images))
        values = dict(zip(Losses._fields, (float(term) for term in losses), strict=True))
        if not all(map(math.isfinite, values.values())):
            raise TrainingError(_not_finite(values, batch, rate))
        for term, value in values.items():
            progress.losses[term] = progress.losses.get(term, 0.0) + value * images
        progress.images += images
        progress.step += 1
        return StepDone(progress.epoch + 1, progress.step, values, rate, images)

    def _descend(self, batch: Batch, seeds: tf.Tensor) -> Losses:
        """One step of gradient descent; the losses are those before it."""
        with tf.GradientTape() as tape:
            losses = self.model.detector.losses(batch, seeds, self.settings)
            objective = self.optimizer.scale_loss(losses.total)
        gradients = tape.gradient(objective, self._variables)
        self.optimizer.apply(gradients, self._variables)
        return losses

    def _seeds(self, images: int) -> tf.Tensor:
        """(B, 2) a stream of random numbers per image; the detector draws 4 from each."""
        first = self.progress.step * self.batch_size
        stream = (self.seed + 1_000_003 * self.progress.epoch) % 2**31
        return tf.constant([[stream, 4 * (first + image)] for image in range(images)], tf.int32)

    def _end_epoch(self, seconds: float) -> EpochDone:
        progress = self.progress
        # In this order also when resumed: JSON sorts, and the order decides how the sum is rounded.
        losses = {term: progress.losses[term] / progress.images for term in Losses._fields}
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.losses, progress.images = {}, 0
        self._watch(sum(losses.values()))
        final = progress.epoch == self.num_epochs or self._has_stalled()
        validation = None
        if self.validate and (final or progress.epoch % self.validation_period == 0):
            validation = self.validate()
        mAP = None if validation is None else validation.primary
        checkpoint = None
        if self.checkpoints.should_save(progress.epoch, final=final, mAP=mAP):
            checkpoint = self.checkpoints.path(progress.epoch)
            self._save(checkpoint)
            self.checkpoints.saved(progress.epoch, final=final, mAP=mAP)
        best = self.checkpoints.best
        return EpochDone(
            epoch=progress.epoch,
            losses=losses,
            learning_rate=float(self.optimizer.learning_rate.numpy()),
            seconds=seconds,
            validation=validation,
            checkpoint=checkpoint,
            is_best=best is not None and best.epoch == progress.epoch,
            num_bad_images=len(self.bad_images.reasons),
        )

    def _watch(self, loss: float) -> None:
        """Note whether the loss of an epoch is the lowest so far."""
        delta = self.early_stopping.min_delta if self.early_stopping else 0.0
        lowest = self.progress.lowest_loss
        if lowest is None or loss < lowest - delta:
            self.progress.lowest_loss, self.progress.epochs_since_lowest = loss, 0
        else:
            self.progress.epochs_since_lowest += 1

    def _has_stalled(self) -> bool:
        stopping = self.early_stopping
        return stopping is not None and self.progress.epochs_since_lowest >= stopping.patience

    def _save(self, path: Path) -> None:
        self.model.progress = asdict(self.progress)
        content = self.model.to_archive(self.optimizer)
        # The loss of the last step was finite, its gradient need not have been.
        if broken := [name for name, v in content.weights.items() if not np.isfinite(v).all()]:
            raise TrainingError(
                f"Weights are no longer finite numbers, first {broken[0]}; {path} was not written."
                f"\n{_ADVICE}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        archive.write(path, content, self.key)

    def _save_interrupted(self) -> Path:
        """A checkpoint in mid-epoch, named after its last step."""
        path = self.checkpoints.path(self.progress.epoch)
        path = path.with_name(f"{path.stem}.step_{self.progress.step}{path.suffix}")
        self._save(path)
        return path


def _not_finite(losses: dict[str, Any], batch: Batch, rate: float) -> str:
    """What to tell when a loss is infinite or no number."""
    terms = ", ".join(f"{term} {value:.4g}" for term, value in losses.items())
    names = ", ".join(name.decode() for name in batch.names.numpy())
    return (
        f"The loss is no longer a finite number: {terms}.\n"
        f"  Learning rate {rate:.3g}; images of the batch: {names}.\n"
        f"{_ADVICE} Or look at these images' labels."
    )


_ADVICE = (
    "  Try a lower training_config.learning_rate base_lr or a longer soft_start. The checkpoints "
    "of earlier epochs are kept: resume_from_model takes them."
)
