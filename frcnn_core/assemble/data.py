"""What the data sections of a spec say: classes, images, records, augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcnn_core.assemble.values import fields, plain
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.pipeline import Batches, evaluation_batches
from frcnn_core.data.sources import RecordSummary, Source, inspect, split_by_fold
from frcnn_core.preprocessing import Preprocessing
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.spec.model_pb2 import GRAY_SCALE


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
        means=tuple(plain(image.image_channel_mean[key]) for key in keys),
        scale=plain(image.image_scaling_factor),
    )


def augmentation(spec: Spec) -> Augmentation | None:
    """``augmentation_config``, or None where ``enable_augmentation`` is off."""
    if not spec.message.training_config.enable_augmentation:
        return None
    config = spec.message.augmentation_config
    given = fields(config.spatial_augmentation) | fields(config.color_augmentation)
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
