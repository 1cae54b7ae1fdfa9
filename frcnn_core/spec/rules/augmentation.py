"""Rules of ``augmentation_config``."""

from __future__ import annotations

import math

from frcnn_core.spec.augmentation_pb2 import AugmentationConfig, Preprocessing
from frcnn_core.spec.model_pb2 import GRAY_SCALE
from frcnn_core.spec.rules.findings import Findings

PATH = "augmentation_config"

_HALF_TURN = 3.1416  # radians, rounded up so that pi may be written with any number of digits

_SPATIAL_RANGES = {
    "hflip_probability": "[0, 1]",
    "vflip_probability": "[0, 1]",
    "zoom_min": "(0, inf)",
    "zoom_max": "(0, inf)",
    "translate_max_x": "[0, inf)",
    "translate_max_y": "[0, inf)",
    "rotate_probability": "[0, 1]",
}
_COLOR_RANGES = {
    "color_shift_stddev": "[0, inf)",
    "hue_rotation_max": "[0, 360]",
    "saturation_shift_max": "[0, 1]",
    "contrast_scale_max": "[0, inf)",
    "contrast_center": "[0, 1]",
}


def check_augmentation(findings: Findings) -> None:
    """Images can be brought to size and varied."""
    augmentation: AugmentationConfig = findings.spec.message.augmentation_config
    spatial = augmentation.spatial_augmentation
    _check_preprocessing(findings, augmentation.preprocessing)
    findings.ranges(f"{PATH}.spatial_augmentation", spatial, _SPATIAL_RANGES)
    findings.ranges(f"{PATH}.color_augmentation", augmentation.color_augmentation, _COLOR_RANGES)
    _check_rotation(findings, spatial.rotate_rad_max)
    if spatial.zoom_min > spatial.zoom_max:
        findings.error(
            f"{PATH}.spatial_augmentation.zoom_min",
            f"{spatial.zoom_min:g} is above zoom_max ({spatial.zoom_max:g}). "
            "Type a smaller number.",
        )
    if not findings.spec.message.training_config.enable_augmentation:
        off = "training_config.enable_augmentation is False"
        findings.without_effect(PATH, {"spatial_augmentation": off, "color_augmentation": off})


def _check_rotation(findings: Findings, angle: float) -> None:
    """In radians, as the name says; TAO took it for degrees, and so specs may mean degrees."""
    field = f"{PATH}.spatial_augmentation.rotate_rad_max"
    if angle > _HALF_TURN:
        findings.error(
            field,
            f"{angle:g} is more than half a turn, in radians. "
            f"Type {math.radians(angle):.4g} for {angle:g} degrees.",
        )
    elif angle < 0:
        findings.range(field, angle, "[0, inf)")


def _check_dynamic_shape(findings: Findings, preprocessing: Preprocessing, shortest: int) -> None:
    """What is said about the output agrees with ``size_min``, and can be.

    Args:
        shortest: ``size_min``, the short side of an image in network pixels.
    """
    path = f"{PATH}.preprocessing"
    if preprocessing.output_image_min not in (0, shortest):
        findings.error(
            f"{path}.output_image_min",
            f"{preprocessing.output_image_min} differs from model_config's size_min ({shortest}). "
            f"Type {shortest}, or leave it out.",
        )
    if 0 < preprocessing.output_image_max < shortest:
        findings.error(
            f"{path}.output_image_max",
            f"{preprocessing.output_image_max} is the limit of the longer side, and below "
            f"model_config's size_min ({shortest}). Type a larger number, or leave it out.",
        )
    for name in ("output_image_width", "output_image_height"):
        if value := getattr(preprocessing, name):
            findings.error(
                f"{path}.{name}",
                f"{value} asks for a fixed shape, but model_config's size_min for a dynamic one. "
                "Type 0, or leave it out.",
            )
    findings.without_effect(
        path, {"enable_auto_resize": "with size_min every image is resized, keeping its aspect"}
    )


def _check_preprocessing(findings: Findings, preprocessing: Preprocessing) -> None:
    path = f"{PATH}.preprocessing"
    image = findings.spec.message.model_config.input_image_config
    size = image.size_height_width
    channels = 1 if image.image_type == GRAY_SCALE else 3
    for name, needed, source in (
        ("output_image_height", size.height, "size_height_width"),
        ("output_image_width", size.width, "size_height_width"),
        ("output_image_channel", channels, "image_type"),
    ):
        value = getattr(preprocessing, name)
        if value and needed and value != needed:
            findings.error(
                f"{path}.{name}",
                f"{value} differs from model_config's {source} ({needed}). "
                f"Type {needed}, or leave it out.",
            )
    if image.WhichOneof("image_size_config") == "size_min":
        _check_dynamic_shape(findings, preprocessing, image.size_min.min)
    else:
        for name in ("output_image_min", "output_image_max"):
            if value := getattr(preprocessing, name):
                findings.error(
                    f"{path}.{name}",
                    f"{value} asks for a dynamic shape, but the shape is fixed by model_config's "
                    "size_height_width.\n"
                    "  Type 0, or write model_config { input_image_config { "
                    f"size_min {{ min: {preprocessing.output_image_min or 600} }} }} }} in its "
                    "place.",
                )
    for name, neutral in (
        ("crop_left", 0),
        ("crop_top", 0),
        ("crop_right", size.width),
        ("crop_bottom", size.height),
    ):
        if getattr(preprocessing, name) not in (0, neutral):
            findings.warning(
                f"{path}.{name}",
                "has no effect: images are cut at the right and at the bottom, "
                "or stretched with enable_auto_resize.",
            )
    for name in ("scale_width", "scale_height"):
        if getattr(preprocessing, name) not in (0, 1):
            findings.warning(f"{path}.{name}", "has no effect: see enable_auto_resize.")
    findings.ranges(
        path, preprocessing, {"min_bbox_width": "[0, inf)", "min_bbox_height": "[0, inf)"}
    )
