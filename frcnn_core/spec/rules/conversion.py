"""Rules of the dataset spec that ``frcnn dataset_convert`` reads."""

from __future__ import annotations

from frcnn_core.spec import paths
from frcnn_core.spec.dataset_export_pb2 import DatasetExportConfig, KITTIConfig
from frcnn_core.spec.rules.dataset import IMAGE_EXTENSIONS
from frcnn_core.spec.rules.findings import Findings

PATH = "kitti_config"
PARTITION_MODES = ("shuffled", "random", "sequence")


def check_conversion(findings: Findings, *, with_files: bool) -> None:
    """Labels can be read and dealt to partitions."""
    config: DatasetExportConfig = findings.spec.message
    findings.without_effect(
        "",
        {
            "image_directory_path": "images are read from kitti_config.root_directory_path",
            "target_class_mapping": "classes are mapped by the experiment spec",
        },
    )
    findings.ranges(
        "sample_modifier_config",
        config.sample_modifier_config,
        {"minimum_target_class_imbalance": "(0, inf)"},
    )
    if config.HasField("coco_config"):
        findings.error("coco_config", "is not supported yet. Type kitti_config for KITTI labels.")
        return
    kitti = config.kitti_config
    findings.without_effect(
        PATH,
        {
            "point_clouds_dir": "only images are used",
            "calibrations_dir": "only images are used",
        },
    )
    _check_folders(findings, kitti, with_files=with_files)
    _check_partitions(findings, kitti, with_files=with_files)
    extension = kitti.image_extension.lower()
    if extension not in [f".{known}" for known in IMAGE_EXTENSIONS]:
        choices = f"'.{extension}'" if extension in IMAGE_EXTENSIONS else "'.png' or '.jpg'"
        findings.error(
            f"{PATH}.image_extension", f"{kitti.image_extension!r} is unknown. Type {choices}."
        )


def _check_folders(findings: Findings, kitti: KITTIConfig, *, with_files: bool) -> None:
    for name in ("root_directory_path", "image_dir_name", "label_dir_name"):
        if not getattr(kitti, name):
            findings.error(PATH, f"{name} is missing. Type the name of a folder.")
    if not with_files or not kitti.root_directory_path:
        return
    findings.folder(f"{PATH}.root_directory_path", kitti.root_directory_path)
    root = paths.locate(kitti.root_directory_path)
    for name in ("image_dir_name", "label_dir_name"):
        if root.is_dir() and getattr(kitti, name):
            findings.folder(f"{PATH}.{name}", str(root / getattr(kitti, name)))


def _check_partitions(findings: Findings, kitti: KITTIConfig, *, with_files: bool) -> None:
    mode = kitti.partition_mode
    findings.ranges(PATH, kitti, {"num_partitions": "[1, inf)", "val_split": "[0, 100)"})
    if mode not in PARTITION_MODES:
        findings.error(
            f"{PATH}.partition_mode",
            f"{mode!r} is unknown. Type 'shuffled', 'random' or 'sequence'.",
        )
    elif mode == "sequence":
        _check_sequences(findings, kitti, with_files=with_files)
    elif kitti.num_partitions != 2:
        findings.error(
            f"{PATH}.num_partitions",
            f"{kitti.num_partitions} is not allowed with partition_mode {mode!r}. Type 2.",
        )
    if mode != "shuffled":
        findings.without_effect(PATH, {"split_seed": f"partition_mode is {mode!r}"})


def _check_sequences(findings: Findings, kitti: KITTIConfig, *, with_files: bool) -> None:
    file = kitti.kitti_sequence_to_frames_file
    if not file and kitti.num_partitions > 1:
        findings.error(
            PATH, "kitti_sequence_to_frames_file is missing: partition_mode 'sequence' needs it."
        )
    elif file and with_files:
        root = paths.locate(kitti.root_directory_path)
        findings.file(f"{PATH}.kitti_sequence_to_frames_file", str(root / file))
    findings.without_effect(PATH, {"val_split": "sequences are dealt to partitions whole"})
