"""Pascal VOC's XML from objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

from frcnn_core.data import LabelledImage, Object, label_files
from frcnn_core.data.label_files import number


def write(images: Iterable[LabelledImage], output: Path, *, one_based: bool = False) -> list[Path]:
    """A file for each image below ``output``; arguments as ``VocFiles``."""
    images = list(images)
    label_files.refuse_crowds(images, "VOC labels")
    shift = 1.0 if one_based else 0.0
    return label_files.write(images, output, ".xml", lambda image: _document(image, shift))


def _document(image: LabelledImage, shift: float) -> str:
    height, width = image.size
    folder, _, name = image.file.rpartition("/")
    lines = [
        "<annotation>",
        f"  <folder>{escape(folder)}</folder>",
        f"  <filename>{escape(name)}</filename>",
        "  <size>",
        f"    <width>{width}</width>",
        f"    <height>{height}</height>",
        # Readers may insist on a depth, and nobody goes by it.
        "    <depth>3</depth>",
        "  </size>",
        "  <segmented>0</segmented>",
    ]
    for item in image.objects:
        lines += _object(item, shift)
    return "\n".join([*lines, "</annotation>", ""])


def _object(item: Object, shift: float) -> list[str]:
    return [
        "  <object>",
        f"    <name>{escape(item.class_name)}</name>",
        "    <pose>Unspecified</pose>",
        f"    <truncated>{int(item.truncation > 0)}</truncated>",
        f"    <difficult>{int(item.occlusion > 0)}</difficult>",
        "    <bndbox>",
        f"      <xmin>{number(item.x1 + shift)}</xmin>",
        f"      <ymin>{number(item.y1 + shift)}</ymin>",
        f"      <xmax>{number(item.x2)}</xmax>",
        f"      <ymax>{number(item.y2)}</ymax>",
        "    </bndbox>",
        "  </object>",
    ]
