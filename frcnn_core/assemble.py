"""From a spec and the installed plugins to things that run.

The only module that knows both specs and models.  Each function reads the part of the spec it is
named after and gives plain values to what it builds; below, nobody has heard of protobuf.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from frcnn_core import arch, archive, drawing, options, precision, scoring, weights
from frcnn_core.anchors import Anchors
from frcnn_core.checkpoints import Checkpoints, Naming
from frcnn_core.components import Accumulator, Backbone, Metric, Runtime
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.pipeline import Batches, evaluation_batches, training_batches
from frcnn_core.data.sources import RecordSummary, Source, inspect, split_by_fold, warn_of_losses
from frcnn_core.detector import DetectionSettings, FasterRCNN, TrainingSettings, draw
from frcnn_core.errors import ModelFileError, SpecError
from frcnn_core.evaluation import EvaluationReport, evaluate
from frcnn_core.inference import infer
from frcnn_core.layers import BackboneConfig
from frcnn_core.model import Model, restore_optimizer
from frcnn_core.plugins import Plugins
from frcnn_core.preprocessing import Preprocessing
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.spec.model_pb2 import GRAY_SCALE
from frcnn_core.spec.training_pb2 import RegularizerConfig
from frcnn_core.structures import Detections, ImageDetections
from frcnn_core.training import EarlyStopping, Progress, Trainer
from frcnn_core.training_log import Visualizer

logger = logging.getLogger(__name__)


# Data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluationSet:
    """The images that a detector is measured on."""

    sources: tuple[Source, ...]
    class_map: ClassMap
    summary: RecordSummary

    def batches(self, preprocessing: Preprocessing, batch_size: int) -> Batches:
        """Every image once."""
        return evaluation_batches(
            self.sources, self.class_map, preprocessing, batch_size=batch_size
        )


def class_map(spec: Spec) -> ClassMap:
    """``dataset_config.target_class_mapping``."""
    return ClassMap.of(dict(spec.message.dataset_config.target_class_mapping))


def preprocessing(spec: Spec) -> Preprocessing:
    """``model_config.input_image_config`` and ``augmentation_config.preprocessing``."""
    image = spec.message.model_config.input_image_config
    gray = image.image_type == GRAY_SCALE
    keys = "l" if gray else "rgb"
    return Preprocessing(
        height=image.size_height_width.height,
        width=image.size_height_width.width,
        resize=spec.message.augmentation_config.preprocessing.enable_auto_resize,
        channels=len(keys),
        channel_order="l" if gray else image.image_channel_order,
        means=tuple(_plain(image.image_channel_mean[key]) for key in keys),
        scale=_plain(image.image_scaling_factor),
    )


def augmentation(spec: Spec) -> Augmentation | None:
    """``augmentation_config``, or None where ``enable_augmentation`` is off."""
    if not spec.message.training_config.enable_augmentation:
        return None
    config = spec.message.augmentation_config
    given = _fields(config.spatial_augmentation) | _fields(config.color_augmentation)
    # The original takes a rotate_probability of 0 for one that was not set.
    return Augmentation(**{key: v for key, v in given.items() if (key, v) != (_ROTATE, 0)})


_ROTATE = "rotate_probability"


def sources(spec: Spec) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """``dataset_config.data_sources``, those for training and those for validation."""
    config = spec.message.dataset_config
    choice = config.WhichOneof("dataset_split_type")
    fold = config.validation_fold if choice == "validation_fold" else None
    training, validation = [], []
    for source in config.data_sources:
        records = split_by_fold(paths.matching(source.tfrecords_path), fold)
        for part, files in zip((training, validation), records, strict=True):
            if files:
                part.append(_source(source, files, config.image_extension))
    if choice == "validation_data_source":
        source = config.validation_data_source
        files = paths.matching(source.tfrecords_path)
        validation = [_source(source, files, config.image_extension)]
    return tuple(training), tuple(validation)


def _source(config: Any, records: tuple[Path, ...], extension: str) -> Source:
    images = paths.locate(config.image_directory_path)
    return Source(records, images, extension.lstrip("."))


def evaluation_set(spec: Spec) -> EvaluationSet | None:
    """The validation split of ``dataset_config``, or None where the spec has none.

    Raises:
        DataError: records or images are missing, or nothing in them is of a mapped class.
    """
    _, validation = sources(spec)
    if not validation:
        return None
    mapping = class_map(spec)
    return EvaluationSet(validation, mapping, inspect(validation, mapping))


# Models ---------------------------------------------------------------------------------------


def training_settings(spec: Spec) -> TrainingSettings:
    """``training_config``, what of it concerns proposals, targets and losses."""
    config = spec.message.training_config
    return TrainingSettings(
        roi_mini_batch=spec.message.model_config.roi_mini_batch,
        **_chosen(config, TrainingSettings, but=("roi_mini_batch",)),
    )


def detection_settings(config: Any) -> DetectionSettings:
    """From ``evaluation_config`` or ``inference_config``, whichever is given."""
    return DetectionSettings(**_chosen(config, DetectionSettings))


def _chosen(config: Any, settings: type, but: Sequence[str] = ()) -> dict[str, Any]:
    """Values of a message for the fields of a dataclass, whose names are in lower case."""
    names = {field.name.lower(): field.name for field in config.DESCRIPTOR.fields}
    wanted = [name for name in settings.__dataclass_fields__ if name not in but]
    return {name: _plain(getattr(config, names[name])) for name in wanted}


def backbone(spec: Spec, plugins: Plugins) -> tuple[Backbone, BackboneConfig]:
    """``model_config``: who draws the network, and how.

    Raises:
        SpecError: no plugin provides the architecture, or it does not take the options.
    """
    config = spec.message.model_config
    component, variant = arch.resolve(config.arch, plugins.backbones)
    return component, BackboneConfig(
        variant=variant,
        freeze_blocks=frozenset(int(block) for block in config.freeze_blocks),
        freeze_bn=config.freeze_bn,
        use_bias=config.use_bias,
        use_pooling=config.use_pooling,
        all_projections=config.all_projections,
        dropout_rate=_plain(config.dropout_rate),
        drop_connect_rate=_plain(config.drop_connect_rate),
        activation=config.activation.activation_type,
        pool_size=config.roi_pooling_config.pool_size,
        pool_size_2x=config.roi_pooling_config.pool_size_2x,
        kernel_regularizer=regularizer(spec),
        options=options.parse(
            component.Options,
            dict(config.backbone_options),
            where="model_config.backbone_options",
        ),
    )


def regularizer(spec: Spec) -> keras.regularizers.Regularizer | None:
    """``training_config.regularizer``; L2 is weight times the sum of squares, as in Keras."""
    config = spec.message.training_config.regularizer
    weight = _plain(config.weight)
    if config.type == RegularizerConfig.L1:
        return keras.regularizers.L1(weight)
    if config.type == RegularizerConfig.L2:
        return keras.regularizers.L2(weight)
    return None


def new_model(spec: Spec, plugins: Plugins) -> Model:
    """A model with fresh weights, drawn as the spec says."""
    config = spec.message.model_config
    anchors = Anchors(
        scales=tuple(map(_plain, config.anchor_box_config.scale)),
        ratios=tuple(map(_plain, config.anchor_box_config.ratio)),
    )
    component, backbone_config = backbone(spec, plugins)
    names = class_map(spec).names
    preprocess = preprocessing(spec)
    keras.utils.set_random_seed(spec.message.random_seed)
    parts = draw(
        component,
        backbone_config,
        channels=preprocess.channels,
        anchors_per_cell=anchors.per_cell,
        num_classes=len(names),
    )
    scale = spec.message.training_config.classifier_regr_std
    return Model(
        detector=FasterRCNN(
            *parts, anchors=anchors, regression_scale=tuple(_plain(scale[k]) for k in "xywh")
        ),
        class_names=names,
        preprocessing=preprocess,
        arch=config.arch,
        spec=spec.text,
        provenance=_provenance(component, plugins),
    )


def open_model(path: Path, key: str, plugins: Plugins, *, precision: str = "float32") -> Model:
    """The model in a file.

    Raises:
        ModelFileError: the file cannot be read, or not with this key.
        UnknownComponentError: the plugin that drew its backbone is not installed.
    """
    return _from_archive(archive.read(path, key), plugins, path, precision)


def open_runtime(path: Path, key: str, plugins: Plugins, settings: DetectionSettings) -> Runtime:
    """Whatever detects: a model of ours, or a file that an exporter wrote and can run.

    Args:
        settings: for a model of ours; an exported file has its own in it.

    Raises:
        ModelFileError: the file cannot be read, or no plugin knows it.
    """
    for entry in plugins.exporters:
        if entry.component.recognises(path):
            return entry.component.load(path)
    model = open_model(path, key, plugins)
    return Runtime(detect_function(model, settings), model.class_names, model.preprocessing)


def _from_archive(content: archive.Archive, plugins: Plugins, path: Path, precision: str) -> Model:
    name = str(content.manifest.get("arch", "")).partition(":")[0]
    component = plugins.backbones.get(name, where=f"{path}")
    return Model.from_archive(content, precision=precision, custom_layers=component.custom_layers())


def _provenance(component: Backbone, plugins: Plugins) -> dict[str, str]:
    for entry in plugins.backbones:
        if entry.component is component:
            return {"plugin": entry.plugin, "distribution": entry.distribution}
    return {}


# Evaluation -----------------------------------------------------------------------------------


def detect_function(
    model: Model, settings: DetectionSettings
) -> Callable[[tf.Tensor, tf.Tensor], Detections]:
    """The model's ``detect``, compiled once for any batch size."""
    channels = model.preprocessing.channels

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *model.preprocessing.shape[:2], channels], tf.float32),
            tf.TensorSpec([None, 2], tf.float32),
        ],
        autograph=False,
    )
    def detect(images: tf.Tensor, sizes: tf.Tensor) -> Detections:
        return model.detector.detect(images, sizes, settings)

    return detect


def accumulators(
    spec: Spec, plugins: Plugins, class_names: Sequence[str]
) -> dict[str, Accumulator]:
    """The metrics that ``evaluation_config`` asks for, by name; the first one is the main one."""
    config = spec.message.evaluation_config
    default = "voc07" if config.use_voc07_11point_metric else "voc12"
    found: dict[str, Accumulator] = {}
    for name in config.metric or [default]:
        metric: Metric = plugins.metrics.get(name, where="evaluation_config.metric")
        found[name] = metric.start(
            class_names,
            iou_thresholds=iou_thresholds(spec),
            score_threshold=_plain(config.object_confidence_thres),
        )
    return found


def iou_thresholds(spec: Spec) -> tuple[float, ...]:
    """``gt_matching_iou_threshold``, or its range; the end of a range is not in it."""
    config = spec.message.evaluation_config
    if config.WhichOneof("iou_threshold_config") != "gt_matching_iou_threshold_range":
        return (_plain(config.gt_matching_iou_threshold),)
    bounds = config.gt_matching_iou_threshold_range
    start, end, step = _plain(bounds.start), _plain(bounds.end), _plain(bounds.step)
    return tuple(scoring.threshold_range(start, end, step))


# Training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """A trainer, and what its user may want to know before it runs."""

    trainer: Trainer
    results_dir: Path
    data: RecordSummary
    validation: EvaluationSet | None
    loaded: weights.LoadReport | None
    """What became of ``pretrained_weights``."""
    precision: str
    """Keras dtype policy of the layers."""
    visualizer: Visualizer | None


def training(
    spec: Spec,
    plugins: Plugins,
    *,
    key: str = "",
    results_dir: Path | None = None,
    use_amp: bool = False,
    on_validation: Callable[[int], None] | None = None,
) -> Training:
    """Everything that ``frcnn train`` needs, built and checked before the first step.

    Args:
        spec: checked for the task ``train``.
        plugins: the installed ones.
        key: encrypts and decrypts model files, unless empty.
        results_dir: overrides the folder of ``training_config.output_model``.
        use_amp: mixed precision.
        on_validation: told how many more images are done while a validation runs.

    Raises:
        FrcnnError: data, weights or a checkpoint cannot be used.
    """
    config = spec.message.training_config
    training_sources, _ = sources(spec)
    mapping = class_map(spec)
    data = inspect(training_sources, mapping)
    preprocess = preprocessing(spec)
    max_objects = spec.message.model_config.input_image_config.max_objects_num_per_image
    warn_of_losses(data, preprocess, max_objects)

    policy = precision.policy(use_amp=use_amp)
    model, loaded, state = _start(spec, plugins, key, policy)
    optimizer = _optimizer(spec, plugins, policy)
    progress = Progress()
    if state:
        restore_optimizer(optimizer, model.detector.trainable_variables, state)
        progress = Progress(**model.progress)

    naming = Naming.of(
        arch=spec.message.model_config.arch,
        output_model=config.output_model,
        results_dir=results_dir or "",
    )
    batches = partial(
        _training_batches,
        training_sources,
        mapping,
        preprocess,
        augmentation(spec),
        batch_size=config.batch_size_per_gpu,
        max_objects=max_objects,
        seed=spec.message.random_seed,
        min_box_size=_min_box_size(spec),
    )
    validation = evaluation_set(spec)
    trainer = Trainer(
        model=model,
        optimizer=optimizer,
        learning_rate=_learning_rate(spec, plugins),
        batches=batches,
        settings=training_settings(spec),
        checkpoints=Checkpoints(naming, interval=config.checkpoint_interval),
        num_epochs=config.num_epochs,
        steps_per_epoch=-(-data.count // config.batch_size_per_gpu),
        batch_size=config.batch_size_per_gpu,
        seed=spec.message.random_seed,
        key=key,
        validate=validation and _validation(spec, plugins, model, validation, on_validation),
        validation_period=spec.message.evaluation_config.validation_period_during_training or 1,
        early_stopping=_early_stopping(config),
        progress=progress,
    )
    return Training(
        trainer=trainer,
        results_dir=naming.directory,
        data=data,
        validation=validation,
        loaded=loaded,
        precision=policy,
        visualizer=_visualizer(spec, model, validation),
    )


def _start(
    spec: Spec, plugins: Plugins, key: str, policy: str
) -> tuple[Model, weights.LoadReport | None, Mapping[str, Any]]:
    """The model to train, what became of pretrained weights, and the optimizer's state.

    A checkpoint to resume wins over a pruned model, and that over pretrained weights.
    """
    config = spec.message.training_config
    if config.resume_from_model:
        path = paths.locate(config.resume_from_model)
        content = archive.read(path, key)
        if not content.optimizer:
            raise ModelFileError(
                f"{path} has no optimizer state, so no training can go on from it. "
                "Set training_config.pretrained_weights to start over from its weights."
            )
        model = _from_archive(content, plugins, path, policy)
        _refuse_other_classes(spec, model, path)
        return model, None, content.optimizer
    if config.retrain_pruned_model:
        path = paths.locate(config.retrain_pruned_model)
        model = open_model(path, key, plugins, precision=policy)
        _refuse_other_classes(spec, model, path)
        model.spec, model.progress = spec.text, {}
        return model, None, {}
    model = new_model(spec, plugins)
    loaded = None
    if config.pretrained_weights:
        source = weights.read_weights(paths.locate(config.pretrained_weights), key)
        loaded = weights.assign(
            model.detector.parts.values(),
            source,
            pretrained_name=backbone(spec, plugins)[0].pretrained_name,
        )
    if policy != "float32":
        component, _ = backbone(spec, plugins)
        model = Model.from_archive(
            model.to_archive(), precision=policy, custom_layers=component.custom_layers()
        )
    return model, loaded, {}


def _refuse_other_classes(spec: Spec, model: Model, path: Path) -> None:
    names = class_map(spec).names
    if names != model.class_names:
        raise SpecError(
            f"dataset_config.target_class_mapping: the spec has the classes {', '.join(names)}, "
            f"{path} was trained for {', '.join(model.class_names)}."
        )


def _training_batches(
    training_sources: Sequence[Source],
    mapping: ClassMap,
    preprocess: Preprocessing,
    augment: Augmentation | None,
    epoch: int,
    first_step: int,
    **given: Any,
) -> Batches:
    return training_batches(
        training_sources, mapping, preprocess, augment, epoch=epoch, first_step=first_step, **given
    )


def _min_box_size(spec: Spec) -> tuple[float, float]:
    config = spec.message.augmentation_config.preprocessing
    return (_plain(config.min_bbox_height), _plain(config.min_bbox_width))


def _early_stopping(config: Any) -> EarlyStopping | None:
    if not config.HasField("early_stopping"):
        return None
    stopping = config.early_stopping
    return EarlyStopping(patience=stopping.patience, min_delta=_plain(stopping.min_delta))


def _validation(
    spec: Spec,
    plugins: Plugins,
    model: Model,
    data: EvaluationSet,
    on_progress: Callable[[int], None] | None,
) -> Callable[[], EvaluationReport]:
    config = spec.message.evaluation_config
    detect = detect_function(model, detection_settings(config))

    def validate() -> EvaluationReport:
        return evaluate(
            detect,
            data.batches(model.preprocessing, config.batch_size or 1),
            accumulators(spec, plugins, model.class_names),
            class_names=model.class_names,
            progress=on_progress,
        )

    return validate


def _visualizer(spec: Spec, model: Model, data: EvaluationSet | None) -> Visualizer | None:
    """``training_config.visualizer``; its pictures are of the first validation images."""
    config = spec.message.training_config.visualizer
    if not config.enabled:
        return None
    files: list[Path] = []
    if data and config.num_images:
        first = next(iter(data.batches(model.preprocessing, config.num_images)))
        files = [Path(name.decode()) for name in first.names.numpy()]
    threshold = _plain(spec.message.inference_config.bbox_visualize_threshold)
    detect = detect_function(model, detection_settings(spec.message.evaluation_config))

    def pictures() -> dict[str, np.ndarray]:
        drawn = {}

        def on_image(path: Path, pixels: np.ndarray, found: ImageDetections) -> None:
            picture = drawing.draw(pixels, found, model.class_names, min_score=threshold)
            drawn[path.name] = np.asarray(picture)

        infer(detect, model.preprocessing, files, on_image, batch_size=len(files) or 1)
        return drawn

    return Visualizer(pictures, weight_histograms=config.weight_histograms)


def _optimizer(spec: Spec, plugins: Plugins, policy: str) -> keras.optimizers.Optimizer:
    """``training_config.optimizer``; float16 needs its loss scaled."""
    config = spec.message.training_config.optimizer
    name, given, where = _component(config, "optim", "training_config.optimizer")
    component = plugins.optimizers.get(name, where=where)
    optimizer = component.build(options.parse(component.Options, given, where=where))
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _learning_rate(spec: Spec, plugins: Plugins) -> Callable[[float], float]:
    """``training_config.learning_rate`` as a function of progress in [0, 1)."""
    config = spec.message.training_config.learning_rate
    name, given, where = _component(config, "lr_config", "training_config.learning_rate")
    component = plugins.lr_schedules.get(name, where=where)
    return partial(component.learning_rate, options.parse(component.Options, given, where=where))


def _component(config: Any, oneof: str, where: str) -> tuple[str, dict[str, Any], str]:
    """Name, options and field of the component that a oneof chooses."""
    member = config.WhichOneof(oneof)
    chosen = getattr(config, member)
    if member == "plugin":
        return chosen.name, dict(chosen.options), f"{where}.plugin"
    return member, _fields(chosen), f"{where}.{member}"


# Protobuf values ------------------------------------------------------------------------------


def _fields(message: Any) -> dict[str, Any]:
    """The scalar and repeated fields that are set."""
    return {
        field.name: [_plain(v) for v in value] if field.is_repeated else _plain(value)
        for field, value in message.ListFields()
    }


def _plain(value: Any) -> Any:
    """A value as the spec's author wrote it: 0.1, not the nearest 32-bit float's 0.100000001."""
    return float(f"{value:.7g}") if isinstance(value, float) else value
