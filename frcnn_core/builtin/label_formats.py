"""The label format of the TLT spec: KITTI text; a plugin like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frcnn_core import LabelFormat, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from frcnn_core.data import LabelledImage, Labels, LabelSet
    from frcnn_core.plugin import NoOptions


class Kitti(LabelFormat):
    """A text file for each image, an object a line, 15 or 16 fields.

    Holds all of an ``Object`` but crowds.  The words of a class name are joined by ``_``.
    """

    name = "kitti"
    summary = "KITTI: a .txt for each image, an object a line, box in pixels"

    def open(self, labels: Path, options: NoOptions) -> LabelSet:
        from frcnn_core.data import kitti
        from frcnn_core.data.label_files import LabelFiles, decode

        class KittiLabels(LabelFiles):
            suffix = ".txt"

            def parse(self, data: bytes, place: str, size: tuple[int, int] | None) -> Labels:
                return kitti.labels(decode(data, place), place)

        return KittiLabels(labels)

    def write(
        self, images: Iterable[LabelledImage], output: Path, options: NoOptions
    ) -> list[Path]:
        from frcnn_core.data import kitti, label_files

        images = list(images)
        label_files.refuse_crowds(images, "KITTI labels")
        return label_files.write(
            images, output, ".txt", lambda image: kitti.format_text(image.objects, exact=True)
        )

    def recognises(self, labels: Path) -> bool:
        from frcnn_core.data import kitti
        from frcnn_core.data.label_files import sample

        return any(map(kitti.looks_like, sample(labels, ".txt")))


@hookimpl
def frcnn_register_label_formats() -> list[LabelFormat]:
    return [Kitti()]
