"""What a dataset spec says: images, labels, and what to make of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frcnn_core.data import ConversionPlan, LabelledFolder, LabelSet
from frcnn_core.data.sample_modifier import SampleModifier
from frcnn_core.plugin import Plugins
from frcnn_core.plugin import options as component_options
from frcnn_core.plugin.label_formats import recognise
from frcnn_core.spec import paths

logger = logging.getLogger(__name__)


def conversion_plan(
    message: Any, plugins: Plugins, output: Path, validation_fold: int | None = None
) -> ConversionPlan:
    """The plan that a ``DatasetExportConfig`` describes.

    Args:
        message: checked, defaults filled in.
        output: beginning of the record files' names.
        validation_fold: partition that ``sample_modifier_config`` leaves alone.

    Raises:
        DataError: labels cannot be opened.
    """
    shared = {
        "output": output,
        "modifier": _sample_modifier(message),
        "validation_fold": validation_fold,
    }
    if message.HasField("coco_config"):
        return _of_coco(message.coco_config, plugins, shared)
    if message.HasField("source"):
        return _of_source(message.source, plugins, shared)
    return _of_kitti(message.kitti_config, plugins, shared)


def open_labels(
    labels: Path, name: str, options: Mapping[str, str], plugins: Plugins, *, where: str
) -> LabelSet:
    """The labels in a folder or file.

    Args:
        name: of their format; empty: told by looking at them.
        options: of the format, by name.
        where: the spec's block that has ``format`` and ``options``, for messages.

    Raises:
        DataError: there is nothing of this format.
        SpecError: there is no such format, or it has no such options.
    """
    if name:
        component = plugins.label_formats.get(name, where=f"{where}.format")
    else:
        component = recognise(labels, plugins.label_formats)
    given: Any = component_options.parse(component.Options, options, where=f"{where}.options")
    return component.open(labels, given)


def partitioning(source: Any) -> dict[str, Any]:
    """Fields of a plan that ``source`` has numbers for: how ``"shuffled"`` images are dealt."""
    return {
        "val_fraction": source.val_split / 100,
        "seed": source.split_seed,
        "num_shards": (source.num_shards,),
    }


def _of_kitti(kitti: Any, plugins: Plugins, shared: dict[str, Any]) -> ConversionPlan:
    root = paths.locate(kitti.root_directory_path)
    labels = open_labels(root / kitti.label_dir_name, "kitti", {}, plugins, where="kitti_config")
    folder = LabelledFolder(root, kitti.image_dir_name, labels, kitti.image_extension)
    sequences = kitti.kitti_sequence_to_frames_file
    return ConversionPlan(
        folders=(folder,),
        mode=kitti.partition_mode,
        sequences=root / sequences if sequences else None,
        num_partitions=kitti.num_partitions,
        **partitioning(kitti),
        **shared,
    )


def _of_coco(coco: Any, plugins: Plugins, shared: dict[str, Any]) -> ConversionPlan:
    root = paths.locate(coco.root_directory_path)
    given = {"compact_names": str(coco.compact_names)}
    labels = {
        file: open_labels(root / file, "coco", given, plugins, where="coco_config")
        for file in coco.annotation_files
    }
    _warn_of_other_categories(labels)
    folders = tuple(
        LabelledFolder(root, images, labels[file])
        for images, file in zip(coco.img_dir_names, coco.annotation_files, strict=True)
    )
    return ConversionPlan(
        folders=folders, mode="folders", num_shards=tuple(coco.num_shards), **shared
    )


def _warn_of_other_categories(labels: Mapping[str, LabelSet]) -> None:
    """Name the categories that some annotation files have and others have not.

    Ids may differ: names are what counts.
    """
    declared = {file: set(one.declared_classes or ()) for file, one in labels.items()}
    for file, classes in declared.items():
        for other, others in declared.items():
            if missing := sorted(others - classes):
                logger.warning(
                    "coco_config: %s has no category %s, which %s has.",
                    *(file, " or ".join(map(repr, missing)), other),
                )


def _of_source(source: Any, plugins: Plugins, shared: dict[str, Any]) -> ConversionPlan:
    if source.root_directory_path:
        root, images = paths.locate(source.root_directory_path), source.images
    else:
        folder = paths.locate(source.images).absolute()
        root, images = folder.parent, folder.name

    def place(name: str) -> Path:
        return root / name if source.root_directory_path else paths.locate(name)

    labels = open_labels(
        place(source.labels), source.format, source.options, plugins, where="source"
    )
    sequences = source.sequence_to_frames_file
    return ConversionPlan(
        folders=(LabelledFolder(root, images, labels, source.image_extension or None),),
        mode=source.partition_mode or ("lists" if source.image_lists else "shuffled"),
        sequences=place(sequences) if sequences else None,
        num_partitions=source.num_partitions,
        lists=tuple(map(place, source.image_lists)),
        **partitioning(source),
        **shared,
    )


def _sample_modifier(message: Any) -> SampleModifier | None:
    if not message.HasField("sample_modifier_config"):
        return None
    config = message.sample_modifier_config
    mapping = config.source_to_target_class_mapping
    return SampleModifier(
        filter_samples_containing_only=frozenset(
            name.lower() for name in config.filter_samples_containing_only
        ),
        dominant_target_classes=frozenset(name.lower() for name in config.dominant_target_classes),
        minimum_target_class_imbalance={
            name.lower(): ratio for name, ratio in config.minimum_target_class_imbalance.items()
        },
        num_duplicates=config.num_duplicates,
        max_training_samples=config.max_training_samples,
        source_to_target_class_mapping={
            source.lower(): target.lower() for source, target in mapping.items()
        },
    )
