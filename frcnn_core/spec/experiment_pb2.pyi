from frcnn_core.spec import augmentation_pb2 as _augmentation_pb2
from frcnn_core.spec import dataset_pb2 as _dataset_pb2
from frcnn_core.spec import evaluation_pb2 as _evaluation_pb2
from frcnn_core.spec import inference_pb2 as _inference_pb2
from frcnn_core.spec import model_pb2 as _model_pb2
from frcnn_core.spec import training_pb2 as _training_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Experiment(_message.Message):
    __slots__ = ("random_seed", "verbose", "model_config", "training_config", "dataset_config", "enc_key", "augmentation_config", "inference_config", "evaluation_config")
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    VERBOSE_FIELD_NUMBER: _ClassVar[int]
    MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TRAINING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DATASET_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ENC_KEY_FIELD_NUMBER: _ClassVar[int]
    AUGMENTATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    random_seed: int
    verbose: bool
    model_config: _model_pb2.ModelConfig
    training_config: _training_pb2.TrainingConfig
    dataset_config: _dataset_pb2.DatasetConfig
    enc_key: str
    augmentation_config: _augmentation_pb2.AugmentationConfig
    inference_config: _inference_pb2.InferenceConfig
    evaluation_config: _evaluation_pb2.EvaluationConfig
    def __init__(self, random_seed: _Optional[int] = ..., verbose: bool = ..., model_config: _Optional[_Union[_model_pb2.ModelConfig, _Mapping]] = ..., training_config: _Optional[_Union[_training_pb2.TrainingConfig, _Mapping]] = ..., dataset_config: _Optional[_Union[_dataset_pb2.DatasetConfig, _Mapping]] = ..., enc_key: _Optional[str] = ..., augmentation_config: _Optional[_Union[_augmentation_pb2.AugmentationConfig, _Mapping]] = ..., inference_config: _Optional[_Union[_inference_pb2.InferenceConfig, _Mapping]] = ..., evaluation_config: _Optional[_Union[_evaluation_pb2.EvaluationConfig, _Mapping]] = ...) -> None: ...
