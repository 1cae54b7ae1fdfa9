from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RGB: _ClassVar[ImageType]
    GRAY_SCALE: _ClassVar[ImageType]
RGB: ImageType
GRAY_SCALE: ImageType

class ModelConfig(_message.Message):
    __slots__ = ("input_image_config", "arch", "anchor_box_config", "roi_mini_batch", "rpn_stride", "freeze_bn", "rpn_cls_activation_type", "freeze_blocks", "use_bias", "roi_pooling_config", "rfcn_mode", "tf_proposal_layer", "all_projections", "use_pooling", "dropout_rate", "drop_connect_rate", "activation", "backbone_options")
    class BackboneOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INPUT_IMAGE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ARCH_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_BOX_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ROI_MINI_BATCH_FIELD_NUMBER: _ClassVar[int]
    RPN_STRIDE_FIELD_NUMBER: _ClassVar[int]
    FREEZE_BN_FIELD_NUMBER: _ClassVar[int]
    RPN_CLS_ACTIVATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    FREEZE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    USE_BIAS_FIELD_NUMBER: _ClassVar[int]
    ROI_POOLING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    RFCN_MODE_FIELD_NUMBER: _ClassVar[int]
    TF_PROPOSAL_LAYER_FIELD_NUMBER: _ClassVar[int]
    ALL_PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    USE_POOLING_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_RATE_FIELD_NUMBER: _ClassVar[int]
    DROP_CONNECT_RATE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    input_image_config: InputImageConfig
    arch: str
    anchor_box_config: AnchorBoxConfig
    roi_mini_batch: int
    rpn_stride: int
    freeze_bn: bool
    rpn_cls_activation_type: str
    freeze_blocks: _containers.RepeatedScalarFieldContainer[float]
    use_bias: bool
    roi_pooling_config: RoiPoolingConfig
    rfcn_mode: bool
    tf_proposal_layer: bool
    all_projections: bool
    use_pooling: bool
    dropout_rate: float
    drop_connect_rate: float
    activation: Activation
    backbone_options: _containers.ScalarMap[str, str]
    def __init__(self, input_image_config: _Optional[_Union[InputImageConfig, _Mapping]] = ..., arch: _Optional[str] = ..., anchor_box_config: _Optional[_Union[AnchorBoxConfig, _Mapping]] = ..., roi_mini_batch: _Optional[int] = ..., rpn_stride: _Optional[int] = ..., freeze_bn: bool = ..., rpn_cls_activation_type: _Optional[str] = ..., freeze_blocks: _Optional[_Iterable[float]] = ..., use_bias: bool = ..., roi_pooling_config: _Optional[_Union[RoiPoolingConfig, _Mapping]] = ..., rfcn_mode: bool = ..., tf_proposal_layer: bool = ..., all_projections: bool = ..., use_pooling: bool = ..., dropout_rate: _Optional[float] = ..., drop_connect_rate: _Optional[float] = ..., activation: _Optional[_Union[Activation, _Mapping]] = ..., backbone_options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class InputImageConfig(_message.Message):
    __slots__ = ("image_type", "size_min", "size_height_width", "image_channel_mean", "image_scaling_factor", "image_channel_order", "max_objects_num_per_image")
    class ImageChannelMeanEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    IMAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_MIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_HEIGHT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CHANNEL_MEAN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SCALING_FACTOR_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CHANNEL_ORDER_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECTS_NUM_PER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    image_type: ImageType
    size_min: ImageSizeConfigMin
    size_height_width: ImageSizeConfigHeightWidth
    image_channel_mean: _containers.ScalarMap[str, float]
    image_scaling_factor: float
    image_channel_order: str
    max_objects_num_per_image: int
    def __init__(self, image_type: _Optional[_Union[ImageType, str]] = ..., size_min: _Optional[_Union[ImageSizeConfigMin, _Mapping]] = ..., size_height_width: _Optional[_Union[ImageSizeConfigHeightWidth, _Mapping]] = ..., image_channel_mean: _Optional[_Mapping[str, float]] = ..., image_scaling_factor: _Optional[float] = ..., image_channel_order: _Optional[str] = ..., max_objects_num_per_image: _Optional[int] = ...) -> None: ...

class ImageSizeConfigMin(_message.Message):
    __slots__ = ("min",)
    MIN_FIELD_NUMBER: _ClassVar[int]
    min: int
    def __init__(self, min: _Optional[int] = ...) -> None: ...

class ImageSizeConfigHeightWidth(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class AnchorBoxConfig(_message.Message):
    __slots__ = ("scale", "ratio")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    scale: _containers.RepeatedScalarFieldContainer[float]
    ratio: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, scale: _Optional[_Iterable[float]] = ..., ratio: _Optional[_Iterable[float]] = ...) -> None: ...

class RoiPoolingConfig(_message.Message):
    __slots__ = ("pool_size", "pool_size_2x")
    POOL_SIZE_FIELD_NUMBER: _ClassVar[int]
    POOL_SIZE_2X_FIELD_NUMBER: _ClassVar[int]
    pool_size: int
    pool_size_2x: bool
    def __init__(self, pool_size: _Optional[int] = ..., pool_size_2x: bool = ...) -> None: ...

class Activation(_message.Message):
    __slots__ = ("activation_type", "activation_parameters")
    class ActivationParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ACTIVATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    activation_type: str
    activation_parameters: _containers.ScalarMap[str, float]
    def __init__(self, activation_type: _Optional[str] = ..., activation_parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...
