"""Whether two detectors are the same one, over all images of a data set.

Both see every image once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frcnn_core.evaluation import detections_per_image, truth_per_image
from frcnn_core.export.comparison import Comparison, Differences, Limits
from frcnn_core.plugin import Accumulator, MetricResult
from frcnn_core.structures import Batch, Detections

if TYPE_CHECKING:
    from frcnn_core.detector import DetectionSettings


@dataclass(frozen=True)
class VerificationReport:
    """What a verification found."""

    differences: Differences
    limits: Limits
    model: Mapping[str, MetricResult]
    """What each metric says of the model; empty where images have no labels."""
    exported: Mapping[str, MetricResult]
    num_images: int
    """Those that could be used."""
    num_skipped: int
    """Bad images, which count nowhere else."""
    seconds: float

    @property
    def map_loss(self) -> float | None:
        """How much less the first metric gives to the exported one; None where it gives nothing."""
        for name, result in self.model.items():
            loss = result.primary - self.exported[name].primary
            return loss if math.isfinite(loss) else None
        return None

    def problems(self) -> list[str]:
        """What is beyond the limits, a sentence each; nothing where the two are the same."""
        found, limits, overall = [], self.limits, self.differences.overall
        if limits.box is not None and overall.box.largest > limits.box:
            found.append(
                f"Boxes differ by up to {overall.box.largest:.4g} px, more than {limits.box:g} px."
            )
        if limits.score is not None and overall.score.largest > limits.score:
            found.append(
                f"Scores differ by up to {overall.score.largest:.4g}, more than {limits.score:g}."
            )
        if limits.score is not None:
            for count, verb in ((overall.num_lost, "lost"), (overall.num_gained, "gained")):
                if count:
                    noun = "detection is" if count == 1 else "detections are"
                    found.append(f"{count} {noun} {verb}.")
        loss = self.map_loss
        if limits.map_loss is not None and loss is not None and loss > limits.map_loss:
            name = next(iter(self.model))
            found.append(f"{name} falls by {loss:.4f}, more than {limits.map_loss:g}.")
        return found or self._nothing_compared()

    def _nothing_compared(self) -> list[str]:
        """Why there are no problems although nothing was held up to anything."""
        if self.limits.map_loss is not None and self.map_loss is not None:
            return []
        if self.limits.box is None and self.limits.score is None:
            return ["Nothing is labelled in these images, so there is no accuracy to compare."]
        overall = self.differences.overall
        if not overall.num_pairs + overall.num_lost + overall.num_gained + overall.num_borderline:
            return ["Neither of the two detects anything, so there is nothing to compare."]
        return []

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "same": not self.problems(),
            "problems": self.problems(),
            "limits": asdict(self.limits),
            "differences": self.differences.as_dict(),
            "map_loss": self.map_loss,
            "metrics": {
                name: {"model": result.values, "exported": self.exported[name].values}
                for name, result in self.model.items()
            },
            "num_images": self.num_images,
            "num_skipped": self.num_skipped,
            "seconds": self.seconds,
        }


Detect = Callable[[Any, Any], Detections]
"""(images (B, H, W, C), sizes (B, 2)) to detections in network pixels."""


def verify(
    model: Detect,
    exported: Detect,
    batches: Iterable[Batch],
    *,
    class_names: Sequence[str],
    settings: DetectionSettings,
    limits: Limits,
    accumulators: tuple[Mapping[str, Accumulator], Mapping[str, Accumulator]] = ({}, {}),
    progress: Callable[[int], None] | None = None,
) -> VerificationReport:
    """Detect with both in every image once, and compare.

    Args:
        model, exported: the two detectors; ``proposals`` may be None.
        batches: every image once.  Absent images (size (0, 0)) are passed over.
        class_names: K names, the same of both.
        settings: how both make detections.
        limits: what still counts as the same.
        accumulators: the same metrics in progress, for each of the two.
        progress: called after each batch with the number of images in it.
    """
    comparison = Comparison(class_names, settings, limits)
    num_images = num_skipped = 0
    started = time.perf_counter()
    for batch in batches:
        found = [
            detections_per_image(detect(batch.images, batch.sizes), batch.sizes, batch.scales)
            for detect in (model, exported)
        ]
        present: np.ndarray = np.any(np.asarray(batch.sizes), axis=1)
        for there, truth, *both in zip(present, truth_per_image(batch), *found, strict=True):
            if not there:
                num_skipped += 1
                continue
            num_images += 1
            comparison.update(truth.name, *both)
            for metrics, detections in zip(accumulators, both, strict=True):
                for accumulator in metrics.values():
                    accumulator.update(truth, detections)
        if progress:
            progress(len(present))
    of_model, of_exported = (
        {name: accumulator.result() for name, accumulator in metrics.items()}
        for metrics in accumulators
    )
    return VerificationReport(
        differences=comparison.result(),
        limits=limits,
        model=of_model,
        exported=of_exported,
        num_images=num_images,
        num_skipped=num_skipped,
        seconds=time.perf_counter() - started,
    )
