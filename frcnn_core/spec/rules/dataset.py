"""Rules of ``dataset_config``."""

from __future__ import annotations

from pathlib import Path

from frcnn_core.spec import paths
from frcnn_core.spec.dataset_pb2 import DatasetConfig, DataSource
from frcnn_core.spec.rules.findings import Findings

PATH = "dataset_config"
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png")


def has_validation(dataset: DatasetConfig) -> bool:
    """Whether some of the data is for validation."""
    return dataset.WhichOneof("dataset_split_type") is not None


def check_dataset(findings: Findings, *, training: bool, with_files: bool) -> None:
    """There are images to train with (if ``training``) and to validate with."""
    dataset: DatasetConfig = findings.spec.message.dataset_config
    _check_extension(findings, dataset)
    _check_classes(findings, dataset)
    _check_in_vain(findings, dataset)
    uses_fold = dataset.WhichOneof("dataset_split_type") == "validation_fold"
    if training or uses_fold:
        _check_sources(findings, dataset, training=training, with_files=with_files)
    if dataset.HasField("validation_data_source"):
        _check_source(
            findings,
            f"{PATH}.validation_data_source",
            dataset.validation_data_source,
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


def _check_extension(findings: Findings, dataset: DatasetConfig) -> None:
    extension = dataset.image_extension
    if extension.lower() not in IMAGE_EXTENSIONS:
        bare = extension.lower().lstrip(".")
        choices = f"{bare!r}" if bare in IMAGE_EXTENSIONS else "'jpg', 'jpeg' or 'png'"
        findings.error(f"{PATH}.image_extension", f"{extension!r} is unknown. Type {choices}.")


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
    once = "has no effect: every record is used once per epoch."
    if dataset.dataloader_mode != DatasetConfig.MULTISOURCE:
        findings.warning(f"{PATH}.dataloader_mode", "has no effect: there is one loader.")
    if dataset.sampling_mode == DatasetConfig.UNIFORM and len(dataset.data_sources) > 1:
        findings.warning(f"{PATH}.sampling_mode", once)
    for index, source in enumerate(dataset.data_sources):
        if source.source_weight not in (0, 1):  # the original reads 0 as 1
            findings.warning(f"{PATH}.data_sources[{index}].source_weight", once)
    if dataset.validation_data_source.source_weight not in (0, 1):
        findings.warning(f"{PATH}.validation_data_source.source_weight", once)


def _check_sources(
    findings: Findings, dataset: DatasetConfig, *, training: bool, with_files: bool
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
        records += _check_source(findings, path, source, with_files=with_files)
    if records and dataset.WhichOneof("dataset_split_type") == "validation_fold":
        _check_fold(findings, dataset.validation_fold, records, training=training)


def _check_source(
    findings: Findings, path: str, source: DataSource, *, with_files: bool
) -> tuple[Path, ...]:
    """The record files of a source, if they and the images are there."""
    for name in ("tfrecords_path", "image_directory_path"):
        if not getattr(source, name):
            findings.error(path, f"{name} is missing.")
    if not with_files:
        return ()
    if source.image_directory_path:
        findings.folder(f"{path}.image_directory_path", source.image_directory_path)
    records = paths.matching(source.tfrecords_path) if source.tfrecords_path else ()
    if source.tfrecords_path and not records:
        findings.error(
            f"{path}.tfrecords_path",
            f"no file matches {paths.searched(source.tfrecords_path)}.\n"
            "  `frcnn dataset_convert` writes such files.",
        )
    return records


def _check_fold(findings: Findings, fold: int, records: list[Path], *, training: bool) -> None:
    field = f"{PATH}.validation_fold"
    known = paths.folds(records)
    inside = [paths.in_fold(record, fold) for record in records]
    if not any(inside):
        folds = f"The folds are {', '.join(map(str, known))}." if known else "None has a fold."
        findings.error(field, f"no record file is of fold {fold}. {folds}")
    if training and all(inside):
        findings.error(field, f"all record files are of fold {fold}: none is left to train with.")
