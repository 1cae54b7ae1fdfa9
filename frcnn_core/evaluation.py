"""Runs a detector over labelled batches and scores it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frcnn_core.components import Accumulator, MetricResult
from frcnn_core.original_pixels import detections_per_image, truth_per_image
from frcnn_core.structures import Batch, Detections
from frcnn_core.triage import Triage

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
) -> EvaluationReport:
    """Detect in every image once, and let every metric see what came of it.

    Args:
        detect: (images (B, H, W, C), sizes (B, 2)) -> detections in network pixels.
        batches: every image of the set exactly once, the last batch as small as it is.  Absent
            images (size (0, 0)) are passed over.
        accumulators: metrics in progress, by name.
        class_names: K names, for the triage.
        progress: called after each batch with the number of images in it.
    """
    triage = Triage(class_names)
    num_images = num_skipped = num_ground_truths = num_difficult = first_batch = 0
    started = warm = time.perf_counter()
    for batch in batches:
        detections = detect(batch.images, batch.sizes)
        found = detections_per_image(detections, batch.sizes, batch.scales)
        present = np.asarray(batch.sizes).any(axis=1)
        for there, truth, image_detections in zip(
            present, truth_per_image(batch), found, strict=True
        ):
            if not there:
                num_skipped += 1
                continue
            for follower in (triage, *accumulators.values()):
                follower.update(truth, image_detections)
            num_images += 1
            num_difficult += int(truth.difficult.sum())
            num_ground_truths += int((~truth.difficult).sum())
        if not first_batch:
            first_batch, warm = num_images, time.perf_counter()
        if progress:
            progress(len(present))
    ended = time.perf_counter()
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
