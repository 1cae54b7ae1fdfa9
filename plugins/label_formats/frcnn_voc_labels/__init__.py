"""Pascal VOC labels: an XML file for each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frcnn_core import LabelFormat, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from frcnn_core.data import LabelledImage, LabelSet


class VocLabels(LabelFormat):
    """Boxes are taken as written, which is what annotation tools mean today.

    The folder and file name inside of a file are ignored: the file's own name says which image it
    is of.  ``difficult`` becomes an occlusion of 1, which evaluation leaves out.  ``truncated`` and
    ``occluded`` are read by nothing: a yes is no fraction, and objects that are only occluded count
    in VOC's evaluation.
    """

    name = "voc"
    summary = "Pascal VOC: an .xml for each image, box in pixels"

    @dataclass(frozen=True)
    class Options:
        one_based: bool = field(
            default=False,
            metadata={"help": "Pixels count from 1, as in the data sets of PASCAL itself."},
        )

    def open(self, labels: Path, options: Options) -> LabelSet:
        from frcnn_voc_labels.reading import VocFiles

        return VocFiles(labels, one_based=options.one_based)

    def write(self, images: Iterable[LabelledImage], output: Path, options: Options) -> list[Path]:
        from frcnn_voc_labels.writing import write

        return write(images, output, one_based=options.one_based)

    def recognises(self, labels: Path) -> bool:
        from frcnn_core.data.label_files import sample

        return any("<annotation" in text for text in sample(labels, ".xml"))


@hookimpl
def frcnn_register_label_formats() -> list[LabelFormat]:
    return [VocLabels()]
