"""The training loop, explicit: step, rate, validate, save.

Everything random is a function of (seed, epoch, image in the epoch), never of call order, so a
training that was stopped and resumed computes what an uninterrupted one would have.

Several processes run the same loop in step.  What decides where it goes, losses, validation and
whether to stop, is the same in all of them, and only the first one touches files.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from frcnn_core.data import BadImages, Batches
from frcnn_core.detector import Losses, TrainingSettings, placement
from frcnn_core.errors import TrainingError
from frcnn_core.evaluation import EvaluationReport
from frcnn_core.model_files import Checkpoints, Model, archive
from frcnn_core.processes import ALONE, Workers
from frcnn_core.structures import Batch
from frcnn_core.training.events import EpochDone, Event, Interrupted, StepDone


@dataclass
class Progress:
    """How far training got; saved with every checkpoint."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Steps done in the epoch after them."""
    images_per_step: int = 0
    """Of all processes together; 0 where a file does not say."""
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


class _Step(NamedTuple):
    """What came of a step, as tensors."""

    losses: Losses
    """Of the images of all processes."""
    finite: tf.Tensor
    """() bool, whether this process's own were."""
    images: tf.Tensor
    """() float32, how many there were in all processes."""
    stops: tf.Tensor
    """() float32, how many processes want to stop."""


@dataclass
class Trainer:
    """Trains a model; ``run`` yields what happens, in all processes alike."""

    model: Model
    optimizer: keras.optimizers.Optimizer
    learning_rate: Callable[[float], float]
    """Rate at a progress in [0, 1) of the whole training, for one process.  So many processes
    take so many times the rate, since their batches are together so many times as large."""
    batches: Callable[[int, int], Batches]
    """This process's batches of an epoch (counted from 0) from a step on; those of all are one
    pass over the images."""
    settings: TrainingSettings
    checkpoints: Checkpoints
    num_epochs: int
    steps_per_epoch: int
    batch_size: int
    """Of each process."""
    seed: int
    key: str = ""
    """Encrypts the checkpoints, unless empty."""
    validate: Callable[[], EvaluationReport] | None = None
    validation_period: int = 1
    early_stopping: EarlyStopping | None = None
    progress: Progress = field(default_factory=Progress)
    bad_images: BadImages = field(default_factory=BadImages)
    """Told by ``batches`` and ``validate`` which images they skip."""
    workers: Workers = ALONE
    """The processes that train together."""

    def __post_init__(self) -> None:
        self._stop = self._all_stop = False
        self._refuse_other_steps()
        self._variables = self.model.detector.trainable_variables
        if not self.optimizer.built:
            self.optimizer.build(self._variables)
        # One trace for every batch size and number of boxes.
        self._update = tf.function(
            self._descend,
            input_signature=[
                self.batches(0, 0).element_spec,
                tf.TensorSpec([None, 2], tf.int32, name="seeds"),
                tf.TensorSpec([], tf.float32, name="images"),
                tf.TensorSpec([], tf.float32, name="stop"),
            ],
            autograph=False,
        )

    def stop(self) -> None:
        """Make ``run`` save and end after the current step; safe in a signal handler.

        Called in one of several processes, it ends all of them after the same step, the next one.
        """
        self._stop = True

    def run(self) -> Iterator[Event]:
        """Train to the end.

        Raises:
            TrainingError: a loss is not finite; names the batch's images and the loss terms.  Or
                weights are not; such a checkpoint is not written.
            DataError: there are more bad images than ``bad_images`` allows.
            WorkerLost: another process ended.
        """
        self._refuse_other_trainings()
        self.workers.on_first(lambda: self.checkpoints.start(self.progress.epoch))
        self._begin_alike()
        while self.progress.epoch < self.num_epochs:
            start = time.monotonic()
            for batch in self.batches(self.progress.epoch, self.progress.step):
                yield self._step(batch)
                if self._stop if self.workers.size == 1 else self._all_stop:
                    yield Interrupted(self.workers.on_first(self._save_interrupted))
                    return
            done = self._end_epoch(time.monotonic() - start)
            yield done
            if self._has_stalled() and done.epoch < self.num_epochs:
                return

    def _step(self, batch: Batch) -> StepDone:
        progress = self.progress
        steps = progress.epoch * self.steps_per_epoch + progress.step
        rate = self.learning_rate(steps / (self.num_epochs * self.steps_per_epoch))
        rate *= self.workers.size
        self.optimizer.learning_rate = rate
        names = [name.decode() for name in batch.names.numpy()]
        with self.workers.watching():
            done = self._update(
                batch,
                self._seeds(len(names)),
                tf.constant(sum(map(bool, names)), tf.float32),  # fillers have no name
                tf.constant(self._stop, tf.float32),
            )
            values = dict(zip(Losses._fields, (float(term) for term in done.losses), strict=True))
            images, self._all_stop = int(done.images), bool(done.stops)
        if not all(map(math.isfinite, values.values())):
            raise TrainingError(_not_finite(values, self._suspects(names, done.finite), rate))
        for term, value in values.items():
            progress.losses[term] = progress.losses.get(term, 0.0) + value * images
        progress.images += images
        progress.step += 1
        progress.images_per_step = self._images_per_step
        return StepDone(progress.epoch + 1, progress.step, values, rate, images)

    def _descend(self, batch: Batch, seeds: tf.Tensor, images: tf.Tensor, stop: tf.Tensor) -> _Step:
        """One step of gradient descent; the losses are those before it.

        Args:
            batch: of this process.
            seeds: (B, 2), as ``FasterRCNN.losses`` takes them.
            images: () float32, how many of the batch count.
            stop: () float32, 1 where this process wants to stop.
        """
        detector = self.model.detector
        tape: Any
        with tf.GradientTape() if not detector.devices else nullcontext() as tape:
            losses = detector.losses(batch, seeds, self.settings)
            objective = self.optimizer.scale_loss(losses.total)
        if detector.devices:
            gradients = placement.gradients(objective, self._variables)
        else:
            gradients = tape.gradient(objective, self._variables)
        step, gradients = self._exchange(losses, gradients, images, stop)
        if detector.devices:
            placement.apply(self.optimizer, gradients, self._variables)
        else:
            self.optimizer.apply(gradients, self._variables)
        return step

    def _exchange(
        self, losses: Losses, gradients: list[Any], images: tf.Tensor, stop: tf.Tensor
    ) -> tuple[_Step, list[Any]]:
        """The losses and gradients of the images of all processes, and whether any wants to stop.

        Moving statistics become the means over the processes, too.
        """
        own = [place for place, gradient in enumerate(gradients) if gradient is not None]
        moving = self.model.detector.moving_variables if self.workers.size > 1 else []
        found = self.workers.average(
            [
                *(tf.convert_to_tensor(gradients[place]) for place in own),
                *losses,
                *(variable.value for variable in moving),
            ],
            images / self.batch_size,
            sums=[images, stop],
            compressible=len(own),
        )
        averaged = dict(zip(own, found, strict=False))
        terms, moved = Losses(*found[len(own) :][: len(losses)]), found[len(own) + len(losses) : -2]
        for variable, value in zip(moving, moved, strict=True):
            variable.assign(value)
        finite = tf.reduce_all(tf.math.is_finite(tf.stack(list(losses))))
        step = _Step(terms, finite, *found[-2:])
        return step, [averaged.get(place) for place in range(len(gradients))]

    def _seeds(self, images: int) -> tf.Tensor:
        """(B, 2) a stream of random numbers per image; the detector draws 4 from each.

        An image's is that of its place in the epoch, whichever process has it.
        """
        rank, ranks = self.workers.rank, self.workers.size
        first = self.progress.step * self.batch_size
        stream = (self.seed + 1_000_003 * self.progress.epoch) % 2**31
        places = [rank + ranks * (first + image) for image in range(images)]
        return tf.constant([[stream, 4 * place] for place in places], tf.int32)

    @property
    def _images_per_step(self) -> int:
        return self.batch_size * self.workers.size

    def _refuse_other_steps(self) -> None:
        """The steps that are done of an epoch can be told from the others only as they were."""
        before = self.progress.images_per_step
        if self.progress.step and before not in (0, self._images_per_step):
            raise TrainingError(
                f"The checkpoint was written in mid-epoch, by a training of {before} images per "
                f"step; this one has {self._images_per_step} (training_config.batch_size_per_gpu "
                "times the number of processes). Go on with as many as before, or from the "
                "checkpoint of a whole epoch."
            )

    def _refuse_other_trainings(self) -> None:
        """Processes that do not train the same would wait for each other for ever."""
        progress = self.progress
        own = (self.num_epochs, self.steps_per_epoch, self.batch_size, self.seed)
        found = self.workers.gather((*own, progress.epoch, progress.step))
        if len(set(found)) > 1:
            names = "epochs, steps per epoch, images per batch, seed, epochs done, steps done"
            listed = "".join(f"\n  process {rank}: {row}" for rank, row in enumerate(found))
            raise TrainingError(
                "The processes have different specs, data or checkpoints before them. "
                f"They are to see the same files under the same names.\n  ({names}){listed}"
            )

    def _begin_alike(self) -> None:
        """All variables as the first process has them."""
        parts = self.model.detector.parts.values()
        variables = [variable for part in parts for variable in part.variables]
        self.workers.broadcast([v.value for v in (*variables, *self.optimizer.variables)])
        # But dropout's noise is to be another in each process.  Keras keeps (seed, calls so far).
        for variable in variables:
            if self.workers.rank and variable.name == "seed_generator_state":
                variable.assign(variable + np.array([self.workers.rank, 0]))

    def _suspects(self, names: list[str], finite: tf.Tensor) -> list[str]:
        """The images in the batches whose losses are not finite; all if only their sum is not."""
        batches = self.workers.gather((names, bool(finite)))
        blamed = [names for names, finite in batches if not finite]
        everybody = [names for names, _ in batches]
        return [name for names in blamed or everybody for name in names if name]

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
        self.bad_images.merge(self.workers.gather(self.bad_images.reasons))
        mAP = None if validation is None else validation.primary
        rate = float(self.optimizer.learning_rate.numpy())
        self.model.history.append(_trained(progress.epoch, losses, rate, validation))
        checkpoint, self.checkpoints = self.workers.on_first(
            lambda: (self._keep(progress.epoch, final=final, mAP=mAP), self.checkpoints)
        )
        best = self.checkpoints.best
        return EpochDone(
            epoch=progress.epoch,
            losses=losses,
            learning_rate=rate,
            seconds=seconds,
            validation=validation,
            checkpoint=checkpoint,
            is_best=best is not None and best.epoch == progress.epoch,
            num_bad_images=len(self.bad_images.reasons),
        )

    def _keep(self, epoch: int, *, final: bool, mAP: float | None) -> Path | None:
        """The checkpoint of an epoch, if it is one to keep."""
        if not self.checkpoints.should_save(epoch, final=final, mAP=mAP):
            return None
        checkpoint = self.checkpoints.path(epoch)
        self._save(checkpoint)
        self.checkpoints.saved(epoch, final=final, mAP=mAP)
        return checkpoint

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


def _trained(
    epoch: int, losses: dict[str, float], rate: float, validation: EvaluationReport | None
) -> dict[str, Any]:
    """What a model's history says of an epoch."""
    event = {
        "event": "trained",
        "epoch": epoch,
        "losses": {"total": sum(losses.values()), **losses},
        "learning_rate": rate,
    }
    if validation is None:
        return event
    mAP = validation.primary
    return {**event, "mAP": mAP if math.isfinite(mAP) else None}  # JSON knows no NaN


def _not_finite(losses: dict[str, Any], images: list[str], rate: float) -> str:
    """What to tell when a loss is infinite or no number."""
    terms = ", ".join(f"{term} {value:.4g}" for term, value in losses.items())
    return (
        f"The loss is no longer a finite number: {terms}.\n"
        f"  Learning rate {rate:.3g}; images of the batch: {', '.join(images)}.\n"
        f"{_ADVICE} Or look at these images' labels."
    )


_ADVICE = (
    "  Try a lower training_config.learning_rate base_lr or a longer soft_start. The checkpoints "
    "of earlier epochs are kept: resume_from_model takes them."
)
