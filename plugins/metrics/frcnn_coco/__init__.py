"""The metrics of COCO: twelve numbers, equal to those of pycocotools."""

from frcnn_core import Metric, hookimpl


class Coco(Metric):
    name = "coco"
    summary = "COCO: AP and AR over IoU 0.50 to 0.95, at 0.50, at 0.75 and by object size"

    def start(self, class_names, *, iou_thresholds, score_threshold):
        from frcnn_coco import summary

        return summary.CocoSummary(class_names)


@hookimpl
def frcnn_register_metrics():
    return [Coco()]
