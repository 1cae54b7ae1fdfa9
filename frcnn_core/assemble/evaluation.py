"""How a spec wants detections made and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from frcnn_core.assemble.models import one_at_a_time, open_model
from frcnn_core.assemble.values import chosen, plain
from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import FrcnnError, PluginError, SpecError
from frcnn_core.evaluation import scoring
from frcnn_core.model_files import Model
from frcnn_core.plugin import Accumulator, Metric, Plugins, Runtime
from frcnn_core.spec.load import Spec, loads
from frcnn_core.structures import Detections


def detection_settings(config: Any) -> DetectionSettings:
    """From ``evaluation_config`` or ``inference_config``, whichever is given."""
    return DetectionSettings(**chosen(config, DetectionSettings))


def rois_per_image(spec: str) -> int:
    """How many RoIs a detection has by the ``inference_config`` of a model file's own spec.

    Args:
        spec: its text; one of another version of frcnn counts as the defaults.
    """
    try:
        return detection_settings(loads(spec).message.inference_config).rpn_nms_max_boxes
    except FrcnnError:
        return DetectionSettings().rpn_nms_max_boxes


def detect_function(
    model: Model, settings: DetectionSettings
) -> Callable[[tf.Tensor, tf.Tensor], Detections]:
    """The model's ``detect``, compiled once for any batch size and any size of the images.

    The function raises SpecError for a batch of several images where only single ones will do.
    """
    channels = model.preprocessing.channels
    one_only = model.detector.only_single_images

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *model.preprocessing.shape[:2], channels], tf.float32),
            tf.TensorSpec([None, 2], tf.float32),
        ],
        autograph=False,
    )
    def detect(images: tf.Tensor, sizes: tf.Tensor) -> Detections:
        return model.detector.detect(images, sizes, settings)

    def detect_one(image: tf.Tensor, size: tf.Tensor) -> Detections:
        if len(image) > 1:
            raise SpecError(one_at_a_time(one_only, "batch_size"))
        return detect(image, size)

    return detect_one if one_only else detect


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
            score_threshold=plain(config.object_confidence_thres),
        )
    return found


def iou_thresholds(spec: Spec) -> tuple[float, ...]:
    """``gt_matching_iou_threshold``, or its range; the end of a range is not in it."""
    config = spec.message.evaluation_config
    if config.WhichOneof("iou_threshold_config") != "gt_matching_iou_threshold_range":
        return (plain(config.gt_matching_iou_threshold),)
    bounds = config.gt_matching_iou_threshold_range
    start, end, step = plain(bounds.start), plain(bounds.end), plain(bounds.step)
    return tuple(scoring.threshold_range(start, end, step))


def open_runtime(path: Path, key: str, plugins: Plugins, settings: DetectionSettings) -> Runtime:
    """Whatever detects: a model of ours, or a file that an exporter recognises and can run.

    Args:
        settings: for a model of ours; an exported file has its own in it.

    Raises:
        ModelFileError: the file cannot be read, or no plugin knows it.
        PluginError: its exporter lacks libraries; says what to install.
    """
    for entry in plugins.exporters:
        if entry.component.recognises(path):
            try:
                entry.require()
            except PluginError as error:
                raise PluginError(f"{path} cannot be run: {error}") from error
            return entry.component.load(path, key=key)
    model = open_model(path, key, plugins)
    return Runtime(
        detect_function(model, settings), model.class_names, model.preprocessing, settings
    )
