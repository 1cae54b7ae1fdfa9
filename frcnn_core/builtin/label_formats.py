"""The label format of the TLT spec: KITTI text; a plugin like any other."""

from __future__ import annotations

from frcnn_core import LabelFormat, hookimpl


class Kitti(LabelFormat):
    """A text file for each image, an object a line, 15 or 16 fields.

    Holds all of an ``Object`` but crowds.  The words of a class name are joined by ``_``.
    """

    name = "kitti"
    summary = "KITTI: a .txt for each image, an object a line, box in pixels"

    def open(self, labels, options):
        from frcnn_core.data import kitti
        from frcnn_core.data.label_files import LabelFiles, decode

        class KittiLabels(LabelFiles):
            suffix = ".txt"

            def parse(self, data, place, size):
                return kitti.labels(decode(data, place), place)

        return KittiLabels(labels)

    def write(self, images, output, options):
        from frcnn_core.data import kitti, label_files

        images = list(images)
        label_files.refuse_crowds(images, "KITTI labels")
        return label_files.write(
            images, output, ".txt", lambda image: kitti.format_text(image.objects, exact=True)
        )

    def recognises(self, labels):
        from frcnn_core.data import kitti
        from frcnn_core.data.label_files import sample

        return any(map(kitti.looks_like, sample(labels, ".txt")))


@hookimpl
def frcnn_register_label_formats():
    return [Kitti()]
