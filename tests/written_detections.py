"""Detections written by hand, so that every difference can be read off."""

import numpy as np

from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.export.comparison import Comparison, Limits
from frcnn_core.structures import ImageDetections

NAMES = ("car", "dog")
CAR, DOG = 0, 1
SETTINGS = DetectionSettings(object_confidence_thres=0.1, classifier_nms_max_boxes=3)
LIMITS = Limits(box=0.05, score=1e-3, map_loss=1e-3)
BOX, AWAY = (0, 0, 20, 10), (40, 40, 60, 60)


def found(*detections):
    """Detections of one image; each is (box, score, class)."""
    boxes, scores, classes = zip(*detections, strict=True) if detections else ((), (), ())
    return ImageDetections(
        np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(classes, int), None
    )


def compared(model, exported, *, settings=SETTINGS, limits=LIMITS):
    comparison = Comparison(NAMES, settings, limits)
    comparison.update("a.png", model, exported)
    return comparison.result()
