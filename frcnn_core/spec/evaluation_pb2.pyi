from frcnn_core.spec import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvaluationConfig(_message.Message):
    __slots__ = ("model", "rpn_nms_max_boxes", "rpn_nms_overlap_threshold", "classifier_nms_max_boxes", "classifier_nms_overlap_threshold", "object_confidence_thres", "rpn_pre_nms_top_N", "use_voc07_11point_metric", "validation_period_during_training", "batch_size", "trt_evaluation", "gt_matching_iou_threshold_range", "gt_matching_iou_threshold", "visualize_pr_curve", "metric")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_MAX_BOXES_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_NMS_MAX_BOXES_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_NMS_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CONFIDENCE_THRES_FIELD_NUMBER: _ClassVar[int]
    RPN_PRE_NMS_TOP_N_FIELD_NUMBER: _ClassVar[int]
    USE_VOC07_11POINT_METRIC_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_PERIOD_DURING_TRAINING_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    TRT_EVALUATION_FIELD_NUMBER: _ClassVar[int]
    GT_MATCHING_IOU_THRESHOLD_RANGE_FIELD_NUMBER: _ClassVar[int]
    GT_MATCHING_IOU_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    VISUALIZE_PR_CURVE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    model: str
    rpn_nms_max_boxes: int
    rpn_nms_overlap_threshold: float
    classifier_nms_max_boxes: int
    classifier_nms_overlap_threshold: float
    object_confidence_thres: float
    rpn_pre_nms_top_N: int
    use_voc07_11point_metric: bool
    validation_period_during_training: int
    batch_size: int
    trt_evaluation: _inference_pb2.TrtInference
    gt_matching_iou_threshold_range: IoUThresholdRange
    gt_matching_iou_threshold: float
    visualize_pr_curve: bool
    metric: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., rpn_nms_max_boxes: _Optional[int] = ..., rpn_nms_overlap_threshold: _Optional[float] = ..., classifier_nms_max_boxes: _Optional[int] = ..., classifier_nms_overlap_threshold: _Optional[float] = ..., object_confidence_thres: _Optional[float] = ..., rpn_pre_nms_top_N: _Optional[int] = ..., use_voc07_11point_metric: bool = ..., validation_period_during_training: _Optional[int] = ..., batch_size: _Optional[int] = ..., trt_evaluation: _Optional[_Union[_inference_pb2.TrtInference, _Mapping]] = ..., gt_matching_iou_threshold_range: _Optional[_Union[IoUThresholdRange, _Mapping]] = ..., gt_matching_iou_threshold: _Optional[float] = ..., visualize_pr_curve: bool = ..., metric: _Optional[_Iterable[str]] = ...) -> None: ...

class IoUThresholdRange(_message.Message):
    __slots__ = ("start", "end", "step")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    start: float
    end: float
    step: float
    def __init__(self, start: _Optional[float] = ..., end: _Optional[float] = ..., step: _Optional[float] = ...) -> None: ...
