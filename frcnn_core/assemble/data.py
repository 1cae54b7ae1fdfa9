"""What the data sections of a spec say: classes, images, records, augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from frcnn_core.assemble.direct import ShowProgress, convert_directly
from frcnn_core.assemble.values import fields, plain
from frcnn_core.data import (
    Augmentation,
    BadImages,
    Batches,
    ClassMap,
    Preprocessing,
    RecordSummary,
    Source,
    evaluation_batches,
    inspect,
    split_by_fold,
)
from frcnn_core.errors import DataError
from frcnn_core.plugin import Plugins, installed
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.spec.model_pb2 import GRAY_SCALE


@dataclass(frozen=True)
class EvaluationSet:
    """The images that a detector is measured on."""

    sources: tuple[Source, ...]
    class_map: ClassMap
    summary: RecordSummary

    def batches(
        self,
        preprocessing: Preprocessing,
        batch_size: int,
        bad_images: BadImages | None = None,
        *,
        shard: tuple[int, int] = (0, 1),
    ) -> Batches:
        """Every image once; ``bad_images`` is told which are skipped, None allows none.

        Args:
            shard: (rank, ranks): of several processes, this one's part of the batches.

        Raises:
            DataError: more images are missing than ``bad_images`` allows.
        """
        bad_images = BadImages() if bad_images is None else bad_images
        bad_images.add_missing(self.summary.missing)
        return evaluation_batches(
            self.sources,
            self.class_map,
            preprocessing,
            batch_size=batch_size,
            shard=shard,
            bad_images=bad_images,
        )


def class_map(spec: Spec) -> ClassMap:
    """``dataset_config.target_class_mapping``."""
    return ClassMap.of(dict(spec.message.dataset_config.target_class_mapping))


def preprocessing(spec: Spec) -> Preprocessing:
    """``model_config.input_image_config`` and ``augmentation_config.preprocessing``."""
    image = spec.message.model_config.input_image_config
    output = spec.message.augmentation_config.preprocessing
    gray = image.image_type == GRAY_SCALE
    keys = "l" if gray else "rgb"
    shortest = image.size_min.min  # 0 with a fixed shape
    return Preprocessing(
        height=image.size_height_width.height,
        width=image.size_height_width.width,
        min_side=shortest,
        # 1000 for 600, as in the paper.
        max_side=shortest and (output.output_image_max or shortest * 5 // 3),
        resize=bool(shortest) or output.enable_auto_resize,
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


def sources(
    spec: Spec,
    plugins: Plugins | None = None,
    *,
    max_bad: int = 0,
    progress: ShowProgress | None = None,
) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """``dataset_config.data_sources``, those for training and those for validation.

    Args:
        plugins: read the labels of sources that have some; None is what is installed.
        max_bad: images of each such source that may be bad and are left out.
        progress: shows how far the reading of such a source is.

    Raises:
        DataError: images or labels cannot be read, or no image is in the validation fold.
    """
    config = spec.message.dataset_config
    choice = config.WhichOneof("dataset_split_type")
    fold = config.validation_fold if choice == "validation_fold" else None
    read = partial(_source, config, plugins or installed(), max_bad=max_bad, progress=progress)
    training: list[Source] = []
    validation: list[Source] = []
    for index, source in enumerate(config.data_sources):
        whole = read(source, f"dataset_config.data_sources[{index}]")
        records = split_by_fold(whole.records, fold)
        for part, files in zip((training, validation), records, strict=True):
            if files:
                part.append(replace(whole, records=files))
    if choice == "validation_fold" and not validation:
        raise DataError(
            f"dataset_config.validation_fold: there is no image in fold {fold}. Of very few images"
            " a fifth is none; give a validation_data_source instead."
        )
    if choice == "validation_data_source":
        source = config.validation_data_source
        validation = [read(source, "dataset_config.validation_data_source")]
    return tuple(training), tuple(validation)


def validation_sources(
    spec: Spec,
    plugins: Plugins | None = None,
    *,
    max_bad: int = 0,
    progress: ShowProgress | None = None,
) -> tuple[Source, ...]:
    """Those for validation alone; arguments and errors as ``sources``.

    Labels that only training needs are not read.
    """
    config = spec.message.dataset_config
    if config.WhichOneof("dataset_split_type") != "validation_data_source":
        return sources(spec, plugins, max_bad=max_bad, progress=progress)[1]
    source = _source(
        config,
        plugins or installed(),
        config.validation_data_source,
        "dataset_config.validation_data_source",
        max_bad=max_bad,
        progress=progress,
    )
    return (source,)


def _source(
    dataset: Any, plugins: Plugins, config: Any, where: str, *, max_bad: int, progress: Any
) -> Source:
    """A ``DataSource`` with all of its record files."""
    extension = config.image_extension or dataset.image_extension
    if config.HasField("labels"):
        report = convert_directly(config, plugins, where=where, max_bad=max_bad, progress=progress)
        records = report.records
        extension = report.extension or extension
    else:
        records = paths.matching(config.tfrecords_path)
    return Source(
        records,
        paths.locate(config.image_directory_path),
        extension.removeprefix("."),
        # The original takes a weight of 0 for one that was not set.
        plain(config.source_weight) or 1.0,
    )


def evaluation_set(
    spec: Spec,
    plugins: Plugins | None = None,
    *,
    validation: tuple[Source, ...] | None = None,
    max_missing: int = 0,
    progress: ShowProgress | None = None,
) -> EvaluationSet | None:
    """The validation split of ``dataset_config``, or None where the spec has none.

    Args:
        plugins: as in ``sources``, and so is ``progress``.
        validation: what ``sources`` found, where that was asked already; labels in no records
            would be read once more.
        max_missing: images that may be missing, or bad where labels are read, before it is an
            error.

    Raises:
        DataError: records or images are missing, or nothing in them is of a mapped class.
    """
    if validation is None:
        validation = validation_sources(spec, plugins, max_bad=max_missing, progress=progress)
    if not validation:
        return None
    mapping = class_map(spec)
    return EvaluationSet(validation, mapping, inspect(validation, mapping, max_missing=max_missing))
