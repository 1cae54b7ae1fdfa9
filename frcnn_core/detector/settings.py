"""How a detector trains and detects, in plain numbers.

Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """How proposals are made and targets are assigned in training (``training_config``)."""

    rpn_min_overlap: float = 0.3
    rpn_max_overlap: float = 0.7
    classifier_min_overlap: float = 0.0
    classifier_max_overlap: float = 0.5
    gt_as_roi: bool = False
    rpn_mini_batch: int = 256
    roi_mini_batch: int = 256
    rpn_pre_nms_top_n: int = 12000
    rpn_nms_max_boxes: int = 2000
    rpn_nms_overlap_threshold: float = 0.7
    lambda_rpn_regr: float = 1.0
    lambda_rpn_class: float = 1.0
    lambda_cls_regr: float = 1.0
    lambda_cls_class: float = 1.0


@dataclass(frozen=True)
class DetectionSettings:
    """How detections are made (``evaluation_config`` or ``inference_config``)."""

    rpn_pre_nms_top_n: int = 6000
    rpn_nms_max_boxes: int = 300
    rpn_nms_overlap_threshold: float = 0.7
    object_confidence_thres: float = 0.0001
    classifier_nms_max_boxes: int = 100
    classifier_nms_overlap_threshold: float = 0.3
