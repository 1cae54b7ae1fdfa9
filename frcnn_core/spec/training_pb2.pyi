from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingConfig(_message.Message):
    __slots__ = ("retrain_pruned_model", "rpn_min_overlap", "rpn_max_overlap", "classifier_min_overlap", "classifier_max_overlap", "std_scaling", "classifier_regr_std", "pretrained_weights", "num_epochs", "rpn_nms_max_boxes", "rpn_nms_overlap_threshold", "regularizer", "rpn_pre_nms_top_N", "rpn_mini_batch", "gt_as_roi", "lambda_rpn_regr", "lambda_rpn_class", "lambda_cls_regr", "lambda_cls_class", "optimizer", "learning_rate", "batch_size_per_gpu", "resume_from_model", "enable_augmentation", "checkpoint_interval", "enable_qat", "model_parallelism", "early_stopping", "visualizer", "output_model", "qat_config")
    class ClassifierRegrStdEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    RETRAIN_PRUNED_MODEL_FIELD_NUMBER: _ClassVar[int]
    RPN_MIN_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    RPN_MAX_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_MIN_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_MAX_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    STD_SCALING_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_REGR_STD_FIELD_NUMBER: _ClassVar[int]
    PRETRAINED_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    NUM_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_MAX_BOXES_FIELD_NUMBER: _ClassVar[int]
    RPN_NMS_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REGULARIZER_FIELD_NUMBER: _ClassVar[int]
    RPN_PRE_NMS_TOP_N_FIELD_NUMBER: _ClassVar[int]
    RPN_MINI_BATCH_FIELD_NUMBER: _ClassVar[int]
    GT_AS_ROI_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_RPN_REGR_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_RPN_CLASS_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_CLS_REGR_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_CLS_CLASS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_PER_GPU_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_MODEL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_AUGMENTATION_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_QAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPING_FIELD_NUMBER: _ClassVar[int]
    VISUALIZER_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MODEL_FIELD_NUMBER: _ClassVar[int]
    QAT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    retrain_pruned_model: str
    rpn_min_overlap: float
    rpn_max_overlap: float
    classifier_min_overlap: float
    classifier_max_overlap: float
    std_scaling: float
    classifier_regr_std: _containers.ScalarMap[str, float]
    pretrained_weights: str
    num_epochs: int
    rpn_nms_max_boxes: int
    rpn_nms_overlap_threshold: float
    regularizer: RegularizerConfig
    rpn_pre_nms_top_N: int
    rpn_mini_batch: int
    gt_as_roi: bool
    lambda_rpn_regr: float
    lambda_rpn_class: float
    lambda_cls_regr: float
    lambda_cls_class: float
    optimizer: OptimizerConfig
    learning_rate: LRConfig
    batch_size_per_gpu: int
    resume_from_model: str
    enable_augmentation: bool
    checkpoint_interval: int
    enable_qat: bool
    model_parallelism: _containers.RepeatedScalarFieldContainer[float]
    early_stopping: EarlyStopping
    visualizer: VisualizerConfig
    output_model: str
    qat_config: QatConfig
    def __init__(self, retrain_pruned_model: _Optional[str] = ..., rpn_min_overlap: _Optional[float] = ..., rpn_max_overlap: _Optional[float] = ..., classifier_min_overlap: _Optional[float] = ..., classifier_max_overlap: _Optional[float] = ..., std_scaling: _Optional[float] = ..., classifier_regr_std: _Optional[_Mapping[str, float]] = ..., pretrained_weights: _Optional[str] = ..., num_epochs: _Optional[int] = ..., rpn_nms_max_boxes: _Optional[int] = ..., rpn_nms_overlap_threshold: _Optional[float] = ..., regularizer: _Optional[_Union[RegularizerConfig, _Mapping]] = ..., rpn_pre_nms_top_N: _Optional[int] = ..., rpn_mini_batch: _Optional[int] = ..., gt_as_roi: bool = ..., lambda_rpn_regr: _Optional[float] = ..., lambda_rpn_class: _Optional[float] = ..., lambda_cls_regr: _Optional[float] = ..., lambda_cls_class: _Optional[float] = ..., optimizer: _Optional[_Union[OptimizerConfig, _Mapping]] = ..., learning_rate: _Optional[_Union[LRConfig, _Mapping]] = ..., batch_size_per_gpu: _Optional[int] = ..., resume_from_model: _Optional[str] = ..., enable_augmentation: bool = ..., checkpoint_interval: _Optional[int] = ..., enable_qat: bool = ..., model_parallelism: _Optional[_Iterable[float]] = ..., early_stopping: _Optional[_Union[EarlyStopping, _Mapping]] = ..., visualizer: _Optional[_Union[VisualizerConfig, _Mapping]] = ..., output_model: _Optional[str] = ..., qat_config: _Optional[_Union[QatConfig, _Mapping]] = ...) -> None: ...

class QatConfig(_message.Message):
    __slots__ = ("per_channel_weights",)
    PER_CHANNEL_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    per_channel_weights: bool
    def __init__(self, per_channel_weights: bool = ...) -> None: ...

class EarlyStopping(_message.Message):
    __slots__ = ("monitor", "min_delta", "patience")
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    MIN_DELTA_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    monitor: str
    min_delta: float
    patience: int
    def __init__(self, monitor: _Optional[str] = ..., min_delta: _Optional[float] = ..., patience: _Optional[int] = ...) -> None: ...

class RegularizerConfig(_message.Message):
    __slots__ = ("type", "weight")
    class RegularizationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NO_REG: _ClassVar[RegularizerConfig.RegularizationType]
        L1: _ClassVar[RegularizerConfig.RegularizationType]
        L2: _ClassVar[RegularizerConfig.RegularizationType]
    NO_REG: RegularizerConfig.RegularizationType
    L1: RegularizerConfig.RegularizationType
    L2: RegularizerConfig.RegularizationType
    TYPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    type: RegularizerConfig.RegularizationType
    weight: float
    def __init__(self, type: _Optional[_Union[RegularizerConfig.RegularizationType, str]] = ..., weight: _Optional[float] = ...) -> None: ...

class OptimizerConfig(_message.Message):
    __slots__ = ("adam", "sgd", "rmsprop", "plugin")
    ADAM_FIELD_NUMBER: _ClassVar[int]
    SGD_FIELD_NUMBER: _ClassVar[int]
    RMSPROP_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    adam: AdamOptimizerConfig
    sgd: SgdOptimizerConfig
    rmsprop: RmspropOptimizerConfig
    plugin: PluginConfig
    def __init__(self, adam: _Optional[_Union[AdamOptimizerConfig, _Mapping]] = ..., sgd: _Optional[_Union[SgdOptimizerConfig, _Mapping]] = ..., rmsprop: _Optional[_Union[RmspropOptimizerConfig, _Mapping]] = ..., plugin: _Optional[_Union[PluginConfig, _Mapping]] = ...) -> None: ...

class AdamOptimizerConfig(_message.Message):
    __slots__ = ("lr", "beta_1", "beta_2", "epsilon", "decay", "amsgrad")
    LR_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    AMSGRAD_FIELD_NUMBER: _ClassVar[int]
    lr: float
    beta_1: float
    beta_2: float
    epsilon: float
    decay: float
    amsgrad: bool
    def __init__(self, lr: _Optional[float] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., epsilon: _Optional[float] = ..., decay: _Optional[float] = ..., amsgrad: bool = ...) -> None: ...

class SgdOptimizerConfig(_message.Message):
    __slots__ = ("lr", "momentum", "decay", "nesterov")
    LR_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    NESTEROV_FIELD_NUMBER: _ClassVar[int]
    lr: float
    momentum: float
    decay: float
    nesterov: bool
    def __init__(self, lr: _Optional[float] = ..., momentum: _Optional[float] = ..., decay: _Optional[float] = ..., nesterov: bool = ...) -> None: ...

class RmspropOptimizerConfig(_message.Message):
    __slots__ = ("lr",)
    LR_FIELD_NUMBER: _ClassVar[int]
    lr: float
    def __init__(self, lr: _Optional[float] = ...) -> None: ...

class LRConfig(_message.Message):
    __slots__ = ("soft_start", "step", "plugin")
    SOFT_START_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    soft_start: SoftStartAnnealingConfig
    step: StepLrConfig
    plugin: PluginConfig
    def __init__(self, soft_start: _Optional[_Union[SoftStartAnnealingConfig, _Mapping]] = ..., step: _Optional[_Union[StepLrConfig, _Mapping]] = ..., plugin: _Optional[_Union[PluginConfig, _Mapping]] = ...) -> None: ...

class SoftStartAnnealingConfig(_message.Message):
    __slots__ = ("base_lr", "start_lr", "soft_start", "annealing_points", "annealing_divider")
    BASE_LR_FIELD_NUMBER: _ClassVar[int]
    START_LR_FIELD_NUMBER: _ClassVar[int]
    SOFT_START_FIELD_NUMBER: _ClassVar[int]
    ANNEALING_POINTS_FIELD_NUMBER: _ClassVar[int]
    ANNEALING_DIVIDER_FIELD_NUMBER: _ClassVar[int]
    base_lr: float
    start_lr: float
    soft_start: float
    annealing_points: _containers.RepeatedScalarFieldContainer[float]
    annealing_divider: float
    def __init__(self, base_lr: _Optional[float] = ..., start_lr: _Optional[float] = ..., soft_start: _Optional[float] = ..., annealing_points: _Optional[_Iterable[float]] = ..., annealing_divider: _Optional[float] = ...) -> None: ...

class StepLrConfig(_message.Message):
    __slots__ = ("base_lr", "gamma", "step_size")
    BASE_LR_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    STEP_SIZE_FIELD_NUMBER: _ClassVar[int]
    base_lr: float
    gamma: float
    step_size: float
    def __init__(self, base_lr: _Optional[float] = ..., gamma: _Optional[float] = ..., step_size: _Optional[float] = ...) -> None: ...

class PluginConfig(_message.Message):
    __slots__ = ("name", "options")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    options: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class VisualizerConfig(_message.Message):
    __slots__ = ("enabled", "num_images", "weight_histograms", "wandb_config", "clearml_config")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    WANDB_CONFIG_FIELD_NUMBER: _ClassVar[int]
    CLEARML_CONFIG_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    num_images: int
    weight_histograms: bool
    wandb_config: WandBConfig
    clearml_config: ClearMLConfig
    def __init__(self, enabled: bool = ..., num_images: _Optional[int] = ..., weight_histograms: bool = ..., wandb_config: _Optional[_Union[WandBConfig, _Mapping]] = ..., clearml_config: _Optional[_Union[ClearMLConfig, _Mapping]] = ...) -> None: ...

class WandBConfig(_message.Message):
    __slots__ = ("enabled", "key", "project", "entity", "reinit", "name", "tags", "wandb_dir", "notes", "mode")
    class MODE(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ONLINE: _ClassVar[WandBConfig.MODE]
        OFFLINE: _ClassVar[WandBConfig.MODE]
        DISABLED: _ClassVar[WandBConfig.MODE]
    ONLINE: WandBConfig.MODE
    OFFLINE: WandBConfig.MODE
    DISABLED: WandBConfig.MODE
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    REINIT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    WANDB_DIR_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    key: str
    project: str
    entity: str
    reinit: bool
    name: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    wandb_dir: str
    notes: str
    mode: WandBConfig.MODE
    def __init__(self, enabled: bool = ..., key: _Optional[str] = ..., project: _Optional[str] = ..., entity: _Optional[str] = ..., reinit: bool = ..., name: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., wandb_dir: _Optional[str] = ..., notes: _Optional[str] = ..., mode: _Optional[_Union[WandBConfig.MODE, str]] = ...) -> None: ...

class ClearMLConfig(_message.Message):
    __slots__ = ("project", "task", "tags", "reuse_last_task_id", "continue_last_task", "deferred_init")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    REUSE_LAST_TASK_ID_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_LAST_TASK_FIELD_NUMBER: _ClassVar[int]
    DEFERRED_INIT_FIELD_NUMBER: _ClassVar[int]
    project: str
    task: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    reuse_last_task_id: bool
    continue_last_task: bool
    deferred_init: bool
    def __init__(self, project: _Optional[str] = ..., task: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., reuse_last_task_id: bool = ..., continue_last_task: bool = ..., deferred_init: bool = ...) -> None: ...
