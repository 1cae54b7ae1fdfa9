"""Runs a detector over labelled batches and scores it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frcnn_core.evaluation.original_pixels import detections_per_image, truth_per_image
from frcnn_core.evaluation.triage import Triage
from frcnn_core.plugin import Accumulator, MetricResult
from frcnn_core.processes import ALONE, Workers
from frcnn_core.structures import Batch, Detections, GroundTruth, ImageDetections

NEARLY_ZERO = 0.01
"""A detector that no metric gives more than this gets a triage."""


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found, and how fast."""

    results: Mapping[str, MetricResult]
    """By name of the metric."""
    num_images: int
    """Those that could be used."""
    num_ground_truths: int
    """Difficult ones not counted."""
    num_difficult: int
    """Ground truths that count neither as found nor as missed."""
    seconds: float
    """Everything: reading, detecting, scoring."""
    images_per_second: float | None
    """After the first batch, whose time is mostly compiling; None if there was no other."""
    num_skipped: int = 0
    """Bad images, which count nowhere else."""
    triage: tuple[str, ...] = ()
    """Lines for the terminal on why nothing was found; empty where something was."""

    @property
    def primary(self) -> float:
        """The number to select checkpoints by: that of the first metric."""
        return next(iter(self.results.values())).primary

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; what is undefined is None."""
        return {
            "metrics": {name: result.values for name, result in self.results.items()},
            "num_images": self.num_images,
            "num_skipped": self.num_skipped,
            "num_ground_truths": self.num_ground_truths,
            "num_difficult": self.num_difficult,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "triage": list(self.triage),
        }


def evaluate(
    detect: Callable[[Any, Any], Detections],
    batches: Iterable[Batch],
    accumulators: Mapping[str, Accumulator],
    *,
    class_names: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
    workers: Workers = ALONE,
) -> EvaluationReport:
    """Detect in every image once, and let every metric see what came of it.

    Of several processes each detects in its part of the images.  The first one shows all of them,
    in the order they have in one process, to the metrics, and all get its report.

    Args:
        detect: (images (B, H, W, C), sizes (B, 2)) -> detections in network pixels.
        batches: every image of the set exactly once, the last batch as small as it is.  Absent
            images (size (0, 0)) are passed over.  Of several processes each has every so manyth
            batch, the first process the first.
        accumulators: metrics in progress, by name.
        class_names: K names, for the triage.
        progress: called after each batch with the number of images in it.
        workers: the processes that evaluate together.

    Raises:
        WorkerLost: another process ended.
    """
    triage = Triage(class_names)
    num_images = num_skipped = num_ground_truths = num_difficult = first_batch = 0
    started = warm = time.perf_counter()
    followers: tuple[Triage | Accumulator, ...] = (
        (triage, *accumulators.values()) if workers.is_first else ()
    )
    for images in _of_all(_detected(detect, batches), workers):
        for truth, detections in filter(None, images):
            for follower in followers:
                follower.update(truth, detections)
            num_images += 1
            num_difficult += int(truth.difficult.sum())
            num_ground_truths += int((~truth.difficult).sum())
        num_skipped += images.count(None)
        if not first_batch:
            first_batch, warm = num_images, time.perf_counter()
        if progress:
            progress(len(images))
    ended = time.perf_counter()

    def report() -> EvaluationReport:
        results = {name: accumulator.result() for name, accumulator in accumulators.items()}
        # NaN, an undefined mAP, is no more than NEARLY_ZERO either: nothing compares above it.
        something = any(result.primary > NEARLY_ZERO for result in results.values())
        return EvaluationReport(
            results=results,
            num_images=num_images,
            num_ground_truths=num_ground_truths,
            num_difficult=num_difficult,
            num_skipped=num_skipped,
            seconds=time.perf_counter() - started,
            images_per_second=(
                (num_images - first_batch) / (ended - warm) if num_images > first_batch else None
            ),
            triage=() if something else tuple(triage.lines()),
        )

    return workers.on_first(report)


_Images = list[tuple[GroundTruth, ImageDetections] | None]
"""What is and what was detected in each image of a batch; None for one that is absent."""


def _detected(
    detect: Callable[[Any, Any], Detections], batches: Iterable[Batch]
) -> Iterator[_Images]:
    """Batch after batch."""
    for batch in batches:
        found = detections_per_image(detect(batch.images, batch.sizes), batch.sizes, batch.scales)
        present: np.ndarray = np.any(np.asarray(batch.sizes), axis=1)
        yield [
            (truth, detections) if there else None
            for there, truth, detections in zip(present, truth_per_image(batch), found, strict=True)
        ]


def _of_all(own: Iterator[_Images], workers: Workers) -> Iterator[_Images]:
    """The batches of all processes in their order, which takes turns."""
    while any(batches := workers.gather(next(own, None))):
        yield from filter(None, batches)
