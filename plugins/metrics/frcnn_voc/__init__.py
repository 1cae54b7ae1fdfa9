"""The metrics of PASCAL VOC: average precision by the rules of 2007 and of 2012."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import Accumulator, Metric, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence


class Voc07(Metric):
    name = "voc07"
    summary = "PASCAL VOC 2007: mean of the best precision at 11 recalls"

    def start(
        self, class_names: Sequence[str], *, iou_thresholds: Sequence[float], score_threshold: float
    ) -> Accumulator:
        from frcnn_voc import average_precision, table

        return table.VocTable(
            class_names, iou_thresholds, score_threshold, average_precision.eleven_points
        )


class Voc12(Metric):
    name = "voc12"
    summary = "PASCAL VOC 2012: area under the envelope of the precision-recall curve"

    def start(
        self, class_names: Sequence[str], *, iou_thresholds: Sequence[float], score_threshold: float
    ) -> Accumulator:
        from frcnn_voc import average_precision, table

        return table.VocTable(
            class_names, iou_thresholds, score_threshold, average_precision.envelope_area
        )


@hookimpl
def frcnn_register_metrics() -> list[Metric]:
    return [Voc07(), Voc12()]
