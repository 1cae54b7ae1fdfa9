"""YOLO labels: a text file for each image, boxes in fractions of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frcnn_core import LabelFormat, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from frcnn_core.data import LabelledImage, LabelSet


class YoloLabels(LabelFormat):
    """Each line is a class number, the box's centre, width and height, and maybe a score.

    Longer lines are polygons, which are read as the box around them.  The names of the classes are
    in ``classes.txt``, ``obj.names``, ``data.yaml`` or ``dataset.yaml``, in the folder of the
    labels or one or two above it.  An image without a label file has no objects.
    """

    name = "yolo"
    summary = "YOLO: a .txt for each image, a class number and fractions of the image a line"

    @dataclass(frozen=True)
    class Options:
        classes: str = field(
            default="",
            metadata={
                "help": "Names of the classes by number, separated by commas, or a file that has "
                "them: one a line, or names: in a .yaml."
            },
        )

    def open(self, labels: Path, options: Options) -> LabelSet:
        from frcnn_yolo_labels import classes
        from frcnn_yolo_labels.reading import YoloFiles

        return YoloFiles(
            labels, classes.given(options.classes) if options.classes else classes.beside(labels)
        )

    def write(self, images: Iterable[LabelledImage], output: Path, options: Options) -> list[Path]:
        from frcnn_yolo_labels import classes
        from frcnn_yolo_labels.writing import write

        return write(images, output, classes.given(options.classes) if options.classes else None)

    def recognises(self, labels: Path) -> bool:
        from frcnn_core.data.label_files import sample
        from frcnn_yolo_labels.reading import OTHERS, looks_like

        return any(map(looks_like, sample(labels, ".txt", others=OTHERS)))


@hookimpl
def frcnn_register_label_formats() -> list[LabelFormat]:
    return [YoloLabels()]
