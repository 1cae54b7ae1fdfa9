"""Rules of ``dataset_config``."""

from __future__ import annotations

from pathlib import Path

from frcnn_core.plugin import Plugins
from frcnn_core.spec import paths
from frcnn_core.spec.dataset_pb2 import DatasetConfig, DataSource
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.rules.labels import check_extension, check_format

PATH = "dataset_config"
FOLDS = (0, 1)
"""Partitions that a source with labels is dealt to."""


def has_validation(dataset: DatasetConfig) -> bool:
    """Whether some of the data is for validation."""
    return dataset.WhichOneof("dataset_split_type") is not None


def check_dataset(
    findings: Findings, plugins: Plugins, *, training: bool, with_files: bool
) -> None:
    """There are images to train with (if ``training``) and to validate with."""
    dataset: DatasetConfig = findings.spec.message.dataset_config
    check_extension(findings, f"{PATH}.image_extension", dataset.image_extension, dot=False)
    _check_classes(findings, dataset)
    _check_in_vain(findings, dataset)
    uses_fold = dataset.WhichOneof("dataset_split_type") == "validation_fold"
    if training or uses_fold:
        _check_sources(findings, dataset, plugins, training=training, with_files=with_files)
    if dataset.HasField("validation_data_source"):
        _check_source(
            findings,
            f"{PATH}.validation_data_source",
            dataset.validation_data_source,
            plugins,
            with_files=with_files,
        )
    if not has_validation(dataset):
        if training:
            findings.warning(
                PATH,
                "neither validation_fold nor validation_data_source is set: "
                "training goes on without validation, and no epoch is known to be the best.",
            )
        else:
            findings.error(
                PATH,
                "there is nothing to evaluate on. "
                "Add validation_fold: 0, or a validation_data_source.",
            )


def _check_classes(findings: Findings, dataset: DatasetConfig) -> None:
    path = f"{PATH}.target_class_mapping"
    if not dataset.target_class_mapping:
        findings.error(
            path, "is empty. Add target_class_mapping { key: 'car' value: 'car' } for each class."
        )
    seen: dict[str, tuple[str, str]] = {}
    for key in sorted(dataset.target_class_mapping):
        value = dataset.target_class_mapping[key]
        if not key or not value:
            findings.error(f"{path}[{key}]", "both key and value need a name.")
        if "background" in (key.lower(), value.lower()):
            findings.error(
                f"{path}[{key}]",
                "'background' is what is left when no class fits. Remove this entry.",
            )
        other, target = seen.setdefault(key.lower(), (key, value))
        if target.lower() != value.lower():
            findings.error(
                f"{path}[{key}]",
                f"is the same as {other!r}, as upper and lower case are, "
                f"but is mapped to {value!r} instead of {target!r}. Remove one.",
            )


def _check_in_vain(findings: Findings, dataset: DatasetConfig) -> None:
    if dataset.dataloader_mode != DatasetConfig.MULTISOURCE:
        findings.warning(f"{PATH}.dataloader_mode", "has no effect: there is one loader.")
    reason = ""
    if dataset.sampling_mode != DatasetConfig.USER_DEFINED:
        mode = DatasetConfig.SAMPLING_MODE.Name(dataset.sampling_mode)
        reason = f"has no effect: sampling_mode is {mode}."
    elif len(dataset.data_sources) == 1:
        reason = "has no effect: there is one source."
    for index, source in enumerate(dataset.data_sources):
        if reason and source.source_weight not in (0, 1):  # the original reads 0 as 1
            findings.warning(f"{PATH}.data_sources[{index}].source_weight", reason)
    if dataset.validation_data_source.source_weight not in (0, 1):
        findings.warning(
            f"{PATH}.validation_data_source.source_weight",
            "has no effect: evaluation takes every record once.",
        )


def _check_sources(
    findings: Findings,
    dataset: DatasetConfig,
    plugins: Plugins,
    *,
    training: bool,
    with_files: bool,
) -> None:
    if not dataset.data_sources:
        findings.error(
            PATH,
            "has no data_sources. Add data_sources { tfrecords_path: '...' "
            "image_directory_path: '...' }.",
        )
    records: list[Path] = []
    for index, source in enumerate(dataset.data_sources):
        path = f"{PATH}.data_sources[{index}]"
        records += _check_source(findings, path, source, plugins, with_files=with_files)
    if dataset.WhichOneof("dataset_split_type") == "validation_fold":
        is_dealt = any(source.HasField("labels") for source in dataset.data_sources)
        _check_fold(
            findings, dataset.validation_fold, records, is_dealt=is_dealt, training=training
        )


def _check_source(
    findings: Findings, path: str, source: DataSource, plugins: Plugins, *, with_files: bool
) -> tuple[Path, ...]:
    """The record files of a source, if they and the images are there."""
    findings.ranges(path, source, {"source_weight": "[0, inf)"})
    if source.HasField("image_extension"):
        dot = None if source.HasField("labels") else False
        check_extension(findings, f"{path}.image_extension", source.image_extension, dot=dot)
    if not source.image_directory_path:
        findings.error(path, "image_directory_path is missing.")
    elif with_files:
        findings.folder(f"{path}.image_directory_path", source.image_directory_path)
    if source.HasField("labels"):
        _check_labels(findings, path, source, plugins, with_files=with_files)
        return ()
    findings.without_effect(path, {"image_list": "it belongs to a source with labels"})
    if not source.tfrecords_path:
        findings.error(path, "tfrecords_path is missing, and there are no labels instead.")
    if not with_files or not source.tfrecords_path:
        return ()
    records = paths.matching(source.tfrecords_path)
    if not records:
        findings.error(
            f"{path}.tfrecords_path",
            f"no file matches {paths.searched(source.tfrecords_path)}.\n"
            "  `frcnn dataset_convert` writes such files.",
        )
    return records


def _check_labels(
    findings: Findings, path: str, source: DataSource, plugins: Plugins, *, with_files: bool
) -> None:
    labels = source.labels
    if source.tfrecords_path:
        findings.error(
            f"{path}.tfrecords_path", "the source has labels too. Remove one of the two."
        )
    place = None
    if not labels.path:
        findings.error(
            f"{path}.labels", "path is missing. Type the name of the folder or file of labels."
        )
    elif with_files:
        findings.file_or_folder(f"{path}.labels.path", labels.path)
        place = paths.locate(labels.path)
        place = place if place.exists() else None
    check_format(findings, f"{path}.labels", labels.format, labels.options, plugins, labels=place)
    if source.image_list and with_files:
        findings.file(f"{path}.image_list", source.image_list)


def _check_fold(
    findings: Findings, fold: int, records: list[Path], *, is_dealt: bool, training: bool
) -> None:
    """Fold ``fold`` is not empty, and not all there is.

    Args:
        records: that were found.
        is_dealt: some source has labels, and so the partitions FOLDS.
    """
    field = f"{PATH}.validation_fold"
    inside = [paths.in_fold(record, fold) for record in records]
    if not any(inside) and not (is_dealt and fold in FOLDS) and (records or is_dealt):
        known = sorted({*paths.folds(records), *(FOLDS if is_dealt else ())})
        folds = f"The folds are {', '.join(map(str, known))}." if known else "None has a fold."
        findings.error(field, f"no record file is of fold {fold}. {folds}")
    if training and records and all(inside) and not is_dealt:
        findings.error(field, f"all record files are of fold {fold}: none is left to train with.")
