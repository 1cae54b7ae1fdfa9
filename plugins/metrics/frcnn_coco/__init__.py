"""The metrics of COCO: twelve numbers, equal to those of pycocotools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Accumulator, Metric, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence


class Coco(Metric):
    name = "coco"
    summary = "COCO: AP and AR over IoU 0.50 to 0.95, at 0.50, at 0.75 and by object size"

    def start(
        self, class_names: Sequence[str], *, iou_thresholds: Sequence[float], score_threshold: float
    ) -> Accumulator:
        from frcnn_coco import summary

        return summary.CocoSummary(class_names)


@hookimpl
def frcnn_register_metrics() -> list[Metric]:
    return [Coco()]
