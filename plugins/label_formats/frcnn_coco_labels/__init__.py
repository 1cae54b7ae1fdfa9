"""COCO labels: one JSON file for all images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frcnn_core import LabelFormat, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from frcnn_core.data import LabelledImage, LabelSet


class CocoLabels(LabelFormat):
    """Holds boxes, crowds (``iscrowd``) and difficult objects (``ignore``, an occlusion of 1).

    Segmentations are passed over.  The file says which images there are: one without annotations
    is an image without objects.
    """

    name = "coco"
    summary = "COCO: one .json for all images, box in pixels"

    @dataclass(frozen=True)
    class Options:
        compact_names: bool = field(
            default=False,
            metadata={
                "help": "Take white space out of class names, as TLT and TAO do: 'traffic light' "
                "becomes 'trafficlight'."
            },
        )

    def open(self, labels: Path, options: Options) -> LabelSet:
        from frcnn_coco_labels.reading import CocoFile, annotation_file

        return CocoFile(annotation_file(labels), compact_names=options.compact_names)

    def write(self, images: Iterable[LabelledImage], output: Path, options: Options) -> list[Path]:
        from frcnn_coco_labels.writing import write

        return write(images, output, compact_names=options.compact_names)

    def recognises(self, labels: Path) -> bool:
        from frcnn_coco_labels.reading import looks_like

        return looks_like(labels)


@hookimpl
def frcnn_register_label_formats() -> list[LabelFormat]:
    return [CocoLabels()]
