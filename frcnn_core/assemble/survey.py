"""The images and labels that a spec names, for looking at them before anything is done with them.

What keeps a source from being opened becomes a finding, so that all sources are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frcnn_core.assemble.conversion import conversion_plan
from frcnn_core.assemble.data import augmentation, class_map, preprocessing
from frcnn_core.assemble.direct import direct_plan
from frcnn_core.assemble.values import plain
from frcnn_core.data import ConversionPlan, Source, conversion, split_by_fold
from frcnn_core.detector import Anchors
from frcnn_core.errors import DataError
from frcnn_core.plugin import Plugins
from frcnn_core.spec import paths
from frcnn_core.spec.check import check, require_dataset_spec
from frcnn_core.spec.load import Spec
from frcnn_core.spec.problems import Problem, refuse
from frcnn_core.survey import label_folders, record_files
from frcnn_core.survey.findings import Finding
from frcnn_core.survey.labelled_files import Split, joined
from frcnn_core.survey.places import place_and_reason
from frcnn_core.survey.view import NetworkView

_DATA = ("dataset_config", "augmentation_config.preprocessing", "model_config.input_image_config")
_ANCHORS = (
    *_DATA,
    "model_config.anchor_box_config",
    "training_config.rpn_max_overlap",
    "augmentation_config.spatial_augmentation",
)
"""Sections that the commands need; what is wrong with the others does not hold them up."""


@dataclass(frozen=True)
class SurveyedData:
    """The data of a spec."""

    splits: tuple[Split, ...]
    view: NetworkView | None
    """How the network sees it; None of a dataset spec, which says nothing of a network."""
    warnings: tuple[Problem, ...] = ()
    """Of the spec."""

    def require_sources(self) -> None:
        """See that all sources could be opened.

        Raises:
            DataError: a line for each that could not.
        """
        broken = [
            f"{finding.place}: {finding.reason}"
            for split in self.splits
            for finding in split.findings
            if finding.code == "unusable-source"
        ]
        if broken:
            raise DataError("\n".join(dict.fromkeys(broken)))


def of_dataset_spec(spec: Spec, plugins: Plugins) -> SurveyedData:
    """The partitions that ``frcnn dataset_convert`` would write.

    Raises:
        SpecError: the spec cannot be converted.
    """
    warnings = tuple(require_dataset_spec(spec, plugins))
    try:
        plan = conversion_plan(spec.message, plugins, Path("records"))
    except DataError as error:
        return SurveyedData((Split("all", 0, (), _unusable(error)),), None, warnings)
    return SurveyedData(tuple(_partitions(plan, lambda fold: f"fold {fold}")), None, warnings)


def of_experiment(spec: Spec, plugins: Plugins) -> SurveyedData:
    """Training and validation data as an experiment spec has them.

    Raises:
        SpecError: what the spec says of data, or of the network's input, makes no sense.
    """
    warnings = _require(spec, plugins, _DATA)
    config = spec.message.dataset_config
    choice = config.WhichOneof("dataset_split_type")
    fold = config.validation_fold if choice == "validation_fold" else None
    training: list[Split] = []
    validation: list[Split] = []
    for index, source in enumerate(config.data_sources):
        where = f"dataset_config.data_sources[{index}]"
        for_training, for_validation = _source(config, source, where, fold, plugins)
        training.append(for_training)
        validation.append(for_validation)
    if choice == "validation_data_source":
        where = "dataset_config.validation_data_source"
        source = config.validation_data_source
        validation = [_source(config, source, where, None, plugins)[0]]
    splits = [joined("training", training)]
    if choice is not None:
        splits.append(_not_empty(joined("validation", validation, trains=False), fold))
    return SurveyedData(_without_repeats(splits), network_view(spec), warnings)


def network_view(spec: Spec) -> NetworkView:
    """How images and objects of an experiment spec come to the network."""
    least = spec.message.augmentation_config.preprocessing
    return NetworkView(
        preprocessing=preprocessing(spec),
        class_map=class_map(spec),
        min_box_size=(plain(least.min_bbox_height), plain(least.min_bbox_width)),
        max_objects=spec.message.model_config.input_image_config.max_objects_num_per_image,
    )


@dataclass(frozen=True)
class AnchorSettings:
    """What an experiment spec says of anchors."""

    anchors: Anchors
    threshold: float
    """``rpn_max_overlap``."""
    zoom: tuple[float, float]
    """Range of the zoom ratio in training; (1, 1) where there is none."""


def anchor_settings(spec: Spec, plugins: Plugins) -> AnchorSettings:
    """What an experiment spec says of anchors.

    Raises:
        SpecError: it makes no sense.
    """
    _require(spec, plugins, _ANCHORS)
    config = spec.message.model_config.anchor_box_config
    changes = augmentation(spec)
    return AnchorSettings(
        anchors=Anchors(tuple(map(plain, config.scale)), tuple(map(plain, config.ratio))),
        threshold=plain(spec.message.training_config.rpn_max_overlap),
        zoom=(changes.zoom_min, changes.zoom_max) if changes else (1.0, 1.0),
    )


def _require(spec: Spec, plugins: Plugins, sections: tuple[str, ...]) -> tuple[Problem, ...]:
    """The warnings about some sections of a spec; raises SpecError with the errors."""
    problems = [problem for problem in check(spec, plugins) if problem.field.startswith(sections)]
    return tuple(refuse(problems))


def _source(
    dataset: Any, config: Any, where: str, fold: int | None, plugins: Plugins
) -> tuple[Split, Split]:
    """The images of a ``DataSource`` for training and for validation."""
    if not config.HasField("labels"):
        return _records(dataset, config, fold)
    try:
        plan = direct_plan(config, plugins, Path("records"), where=where)
    except DataError as error:
        return Split("", 0, (), _unusable(error)), Split("", 0, ())
    partitions = _partitions(plan, str)
    is_validation = [fold is not None and part.name == str(fold) for part in partitions]
    chosen = zip(partitions, is_validation, strict=True)
    training: list[Split] = []
    validation: list[Split] = []
    for part, validates in chosen:
        (validation if validates else training).append(part)
    return joined("", training), joined("", validation)


def _records(dataset: Any, config: Any, fold: int | None) -> tuple[Split, Split]:
    files = paths.matching(config.tfrecords_path)
    if not files:
        reason = f"no file matches {paths.searched(config.tfrecords_path)}."
        finding = Finding("unusable-source", config.tfrecords_path, reason)
        return Split("", 0, (), (finding,)), Split("", 0, ())
    extension = (config.image_extension or dataset.image_extension).removeprefix(".")
    images = paths.locate(config.image_directory_path)
    training, validation = (
        record_files.split("", (Source(part, images, extension),))
        for part in split_by_fold(files, fold)
    )
    return training, validation


def _partitions(plan: ConversionPlan, name: Callable[[int], str]) -> list[Split]:
    """The images of each partition of a plan; stray files are found in the first."""
    findings: list[Finding] = []
    try:
        dealt, problems = conversion.deal(plan)
        for folder in plan.folders:
            findings += label_folders.stray_files(folder)
    except DataError as error:
        return [Split(name(0), 0, (), (*findings, *_unusable(error)))]
    shared = {str(image.path) for images in dealt for image in images}
    for problem in problems:
        place, reason = place_and_reason(problem)
        if place not in shared:  # that an image is in two partitions is found by its content
            findings.append(Finding("missing-image", place, reason))
    return [
        label_folders.split(name(fold), images, findings if fold == 0 else ())
        for fold, images in enumerate(dealt)
    ]


def _unusable(error: DataError) -> tuple[Finding, ...]:
    return tuple(
        Finding("unusable-source", *place_and_reason(line)) for line in str(error).splitlines()
    )


def _without_repeats(splits: list[Split]) -> tuple[Split, ...]:
    """The same; what is found twice, as in a folder that two splits share, is told once."""
    seen: set[Finding] = set()
    told = []
    for split in splits:
        findings = dict.fromkeys(one for one in split.findings if one not in seen)
        seen |= findings.keys()
        told.append(replace(split, findings=tuple(findings)))
    return tuple(told)


def _not_empty(split: Split, fold: int | None) -> Split:
    """The same, with a finding if it has no image and nothing else says why."""
    if split.count or any(one.code == "unusable-source" for one in split.findings):
        return split
    reason = f"there is no image in fold {fold}." if fold is not None else "there is no image."
    finding = Finding("unusable-source", split.name, reason)
    return replace(split, findings=(*split.findings, finding))
