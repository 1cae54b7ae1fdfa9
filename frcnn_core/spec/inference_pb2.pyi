from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InferenceConfig(_message.Message):
    __slots__ = ("images_dir", "model", "bbox_visualize_threshold", "classifier_nms_overlap_threshold", "rpn_nms_max_boxes", "rpn_nms_overlap_threshold", "classifier_nms_max_boxes", "rpn_pre_nms_top_N", "detection_image_output_dir", "bbox_caption_on", "labels_dump_dir", "trt_inference", "batch_size", "object_confidence_thres", "nms_score_bits")
    IMAGES_DIR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BBOX_VISUALIZE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_NMS_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_MAX_BOXES_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_NMS_MAX_BOXES_FIELD_NUMBER: _ClassVar[int]
    RPN_PRE_NMS_TOP_N_FIELD_NUMBER: _ClassVar[int]
    DETECTION_IMAGE_OUTPUT_DIR_FIELD_NUMBER: _ClassVar[int]
    BBOX_CAPTION_ON_FIELD_NUMBER: _ClassVar[int]
    LABELS_DUMP_DIR_FIELD_NUMBER: _ClassVar[int]
    TRT_INFERENCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CONFIDENCE_THRES_FIELD_NUMBER: _ClassVar[int]
    NMS_SCORE_BITS_FIELD_NUMBER: _ClassVar[int]
    images_dir: str
    model: str
    bbox_visualize_threshold: float
    classifier_nms_overlap_threshold: float
    rpn_nms_max_boxes: int
    rpn_nms_overlap_threshold: float
    classifier_nms_max_boxes: int
    rpn_pre_nms_top_N: int
    detection_image_output_dir: str
    bbox_caption_on: bool
    labels_dump_dir: str
    trt_inference: TrtInference
    batch_size: int
    object_confidence_thres: float
    nms_score_bits: int
    def __init__(self, images_dir: _Optional[str] = ..., model: _Optional[str] = ..., bbox_visualize_threshold: _Optional[float] = ..., classifier_nms_overlap_threshold: _Optional[float] = ..., rpn_nms_max_boxes: _Optional[int] = ..., rpn_nms_overlap_threshold: _Optional[float] = ..., classifier_nms_max_boxes: _Optional[int] = ..., rpn_pre_nms_top_N: _Optional[int] = ..., detection_image_output_dir: _Optional[str] = ..., bbox_caption_on: bool = ..., labels_dump_dir: _Optional[str] = ..., trt_inference: _Optional[_Union[TrtInference, _Mapping]] = ..., batch_size: _Optional[int] = ..., object_confidence_thres: _Optional[float] = ..., nms_score_bits: _Optional[int] = ...) -> None: ...

class TrtInference(_message.Message):
    __slots__ = ("trt_engine",)
    TRT_ENGINE_FIELD_NUMBER: _ClassVar[int]
    trt_engine: str
    def __init__(self, trt_engine: _Optional[str] = ...) -> None: ...
