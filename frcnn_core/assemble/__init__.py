"""From a spec and the installed plugins to things that run.

The only package that knows both specs and models.  Each function reads the part of the spec it is
named after and gives plain values to what it builds; below, nobody has heard of protobuf.
"""

from frcnn_core.assemble.calibration_images import calibration_images
from frcnn_core.assemble.conversion import conversion_plan, open_labels
from frcnn_core.assemble.data import (
    EvaluationSet,
    augmentation,
    class_map,
    evaluation_set,
    preprocessing,
    sources,
    validation_sources,
)
from frcnn_core.assemble.description import LayerDescription, ModelDescription, describe
from frcnn_core.assemble.doctor import Examination, examine_weights, images_of
from frcnn_core.assemble.evaluation import (
    accumulators,
    detect_function,
    detection_settings,
    iou_thresholds,
    open_runtime,
)
from frcnn_core.assemble.models import backbone, new_model, open_model, regularizer
from frcnn_core.assemble.pruning import (
    LayerChange,
    Prunable,
    PruningReport,
    Size,
    open_prunable,
)
from frcnn_core.assemble.trainer import Training, training, training_settings

__all__ = [
    "EvaluationSet",
    "Examination",
    "LayerChange",
    "LayerDescription",
    "ModelDescription",
    "Prunable",
    "PruningReport",
    "Size",
    "Training",
    "accumulators",
    "augmentation",
    "backbone",
    "calibration_images",
    "class_map",
    "conversion_plan",
    "describe",
    "detect_function",
    "detection_settings",
    "evaluation_set",
    "examine_weights",
    "images_of",
    "iou_thresholds",
    "new_model",
    "open_labels",
    "open_model",
    "open_prunable",
    "open_runtime",
    "preprocessing",
    "regularizer",
    "sources",
    "training",
    "training_settings",
    "validation_sources",
]
