"""Rules of the dataset spec that ``frcnn dataset_convert`` reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from frcnn_core.plugin import Plugins
from frcnn_core.spec import paths
from frcnn_core.spec.dataset_export_pb2 import (
    COCOConfig,
    DatasetExportConfig,
    KITTIConfig,
    SourceConfig,
)
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.rules.labels import check_extension, check_format

KITTI = "kitti_config"
COCO = "coco_config"
SOURCE = "source"
PARTITION_MODES = ("shuffled", "random", "sequence")


def check_conversion(findings: Findings, plugins: Plugins, *, with_files: bool) -> None:
    """Labels can be read and dealt to partitions."""
    config: DatasetExportConfig = findings.spec.message
    findings.without_effect(
        "",
        {
            "image_directory_path": "images are read from root_directory_path",
            "target_class_mapping": "classes are mapped by the experiment spec",
        },
    )
    findings.ranges(
        "sample_modifier_config",
        config.sample_modifier_config,
        {"minimum_target_class_imbalance": "(0, inf)"},
    )
    if config.HasField("coco_config"):
        _check_coco(findings, config.coco_config, with_files=with_files)
    elif config.HasField("source"):
        _check_source(findings, config.source, plugins, with_files=with_files)
    else:
        _check_kitti(findings, config.kitti_config, with_files=with_files)


def _check_kitti(findings: Findings, kitti: KITTIConfig, *, with_files: bool) -> None:
    findings.without_effect(
        KITTI,
        {
            "point_clouds_dir": "only images are used",
            "calibrations_dir": "only images are used",
        },
    )
    for name in ("root_directory_path", "image_dir_name", "label_dir_name"):
        if not getattr(kitti, name):
            findings.error(KITTI, f"{name} is missing. Type the name of a folder.")
    if with_files and (root := _root(findings, KITTI, kitti.root_directory_path)):
        for name in ("image_dir_name", "label_dir_name"):
            if getattr(kitti, name):
                findings.folder(f"{KITTI}.{name}", str(root / getattr(kitti, name)))
    _check_partitions(findings, KITTI, kitti, kitti.partition_mode, PARTITION_MODES)
    if kitti.partition_mode == "sequence":
        _check_sequences(
            findings,
            KITTI,
            "kitti_sequence_to_frames_file",
            kitti.kitti_sequence_to_frames_file,
            kitti.num_partitions,
            paths.locate(kitti.root_directory_path) if with_files else None,
        )
    check_extension(findings, f"{KITTI}.image_extension", kitti.image_extension, dot=True)


def _check_source(
    findings: Findings, source: SourceConfig, plugins: Plugins, *, with_files: bool
) -> None:
    root = None
    if source.root_directory_path:
        root = _root(findings, SOURCE, source.root_directory_path) if with_files else None
        _check_below_root(findings, f"{SOURCE}.images", source.images)
    elif not source.images:
        findings.error(SOURCE, "images is missing. Type the name of the folder with the images.")
    if not source.labels:
        findings.error(
            SOURCE, "labels is missing. Type the name of the folder or file with the labels."
        )
    # Below a root that is not there, everything else would be missing too.
    look = with_files and (root is not None or not source.root_directory_path)
    labels = _place(root, source.labels) if look and source.labels else None
    if look and source.images:
        findings.folder(f"{SOURCE}.images", str(_place(root, source.images)))
    if labels is not None:
        findings.file_or_folder(f"{SOURCE}.labels", str(labels))
        labels = labels if labels.exists() else None
    check_format(findings, SOURCE, source.format, source.options, plugins, labels=labels)
    if source.HasField("image_extension"):
        check_extension(findings, f"{SOURCE}.image_extension", source.image_extension, dot=None)
    mode = source.partition_mode or ("lists" if source.image_lists else "shuffled")
    _check_partitions(findings, SOURCE, source, mode, (*PARTITION_MODES, "lists"))
    if mode == "sequence":
        file = source.sequence_to_frames_file
        place = (root or Path()) if look else None
        name = "sequence_to_frames_file"
        _check_sequences(findings, SOURCE, name, file, source.num_partitions, place)
    else:
        reason = f"partition_mode is {mode!r}"
        findings.without_effect(SOURCE, {"sequence_to_frames_file": reason})
    if mode == "lists":
        if not source.image_lists:
            findings.error(SOURCE, "image_lists is missing: partition_mode 'lists' needs it.")
        for index, name in enumerate(source.image_lists if look else ()):
            findings.file(f"{SOURCE}.image_lists[{index}]", str(_place(root, name)))
    elif source.image_lists:
        findings.warning(
            f"{SOURCE}.image_lists[0]",
            f"has no effect: partition_mode is {source.partition_mode!r}.",
        )


def _check_coco(findings: Findings, coco: COCOConfig, *, with_files: bool) -> None:
    for name in ("root_directory_path", "img_dir_names", "annotation_files"):
        if not getattr(coco, name):
            findings.error(COCO, f"{name} is missing.")
    count = len(coco.annotation_files)
    if coco.img_dir_names and count and len(coco.img_dir_names) != count:
        findings.error(
            f"{COCO}.img_dir_names[0]",
            f"{len(coco.img_dir_names)} folder(s) of images, but {count} annotation file(s). "
            "Type one of each for each partition.",
        )
    if count and coco.HasField("num_partitions") and coco.num_partitions != count:
        findings.error(
            f"{COCO}.num_partitions",
            f"{coco.num_partitions} is not the number of annotation_files. Type {count}.",
        )
    if count and len(coco.num_shards) not in (1, count):
        findings.error(
            f"{COCO}.num_shards[0]",
            f"{len(coco.num_shards)} numbers for {count} partition(s). Type one, or {count}.",
        )
    for index, name in enumerate(coco.img_dir_names):
        _check_below_root(findings, f"{COCO}.img_dir_names[{index}]", name)
    if not with_files or (root := _root(findings, COCO, coco.root_directory_path)) is None:
        return
    for index, name in enumerate(coco.img_dir_names):
        findings.folder(f"{COCO}.img_dir_names[{index}]", str(root / name))
    for index, name in enumerate(coco.annotation_files):
        findings.file(f"{COCO}.annotation_files[{index}]", str(root / name))


def _root(findings: Findings, path: str, name: str) -> Path | None:
    """The folder that other names start from, if it is there."""
    if not name:
        return None
    findings.folder(f"{path}.root_directory_path", name)
    root = paths.locate(name)
    return root if root.is_dir() else None


def _place(root: Path | None, name: str) -> Path:
    """The file or folder of that name below a root, or anywhere."""
    return paths.locate(name) if root is None else root / name


def _check_below_root(findings: Findings, field: str, name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        findings.error(
            field,
            f"{name!r} is not below root_directory_path, so no record could say where its images "
            "are. Type a name that starts there.",
        )


def _check_partitions(
    findings: Findings,
    path: str,
    config: KITTIConfig | SourceConfig,
    mode: str,
    modes: Collection[str],
) -> None:
    findings.ranges(path, config, {"num_partitions": "[1, inf)", "val_split": "[0, 100)"})
    if mode not in modes:
        findings.error(f"{path}.partition_mode", f"{mode!r} is unknown. Type {_either(modes)}.")
    elif mode == "lists":
        findings.without_effect(path, {"num_partitions": "each list is a partition"})
    elif mode != "sequence" and config.num_partitions != 2:
        findings.error(
            f"{path}.num_partitions",
            f"{config.num_partitions} is not allowed with partition_mode {mode!r}. Type 2.",
        )
    if mode != "shuffled":
        findings.without_effect(path, {"split_seed": f"partition_mode is {mode!r}"})
    if mode in ("sequence", "lists"):
        findings.without_effect(path, {"val_split": f"{mode} are dealt to partitions whole"})


def _check_sequences(
    findings: Findings, path: str, field: str, file: str, num_partitions: int, root: Path | None
) -> None:
    """The file of ``"sequence"`` is there, below ``root`` unless that is None."""
    if not file and num_partitions > 1:
        findings.error(path, f"{field} is missing: partition_mode 'sequence' needs it.")
    elif file and root is not None:
        findings.file(f"{path}.{field}", str(root / file))


def _either(words: Iterable[str]) -> str:
    *first, last = map(repr, words)
    return f"{', '.join(first)} or {last}"
