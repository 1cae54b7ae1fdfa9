"""A folder of images with labels, dealt to partitions, as labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from frcnn_core.data import LabelledFolder, image_files
from frcnn_core.data.conversion import DealtImage
from frcnn_core.survey.findings import Finding
from frcnn_core.survey.labelled_files import LabelledFile, Split


@dataclass(frozen=True)
class _FolderFiles:
    dealt: Sequence[DealtImage]

    def __iter__(self) -> Iterator[LabelledFile]:
        for folder, name, path in self.dealt:
            labels = folder.labels
            # COCO's `names` are a view of a dict, a folder's too: asking is quick.
            yield LabelledFile(
                path, labels.place(name), partial(labels.read, name), name in labels.names
            )


def split(name: str, dealt: Sequence[DealtImage], findings: Sequence[Finding] = ()) -> Split:
    """The images of one partition, sorted, so that what is found does not depend on the deal."""
    ordered = sorted(dealt, key=lambda image: image.path)
    return Split(name, len(ordered), _FolderFiles(ordered), tuple(findings))


def stray_files(folder: LabelledFolder) -> list[Finding]:
    """Labels without an image, and images that the labels do not list.

    Raises:
        DataError: the folder of the images cannot be used, see ``image_files.find``.
    """
    labels = folder.labels
    images = image_files.find(folder.folder, folder.extension)
    if labels.lists_images:
        listed = set(labels.names)
        return [
            Finding("unlisted-image", str(path), f"is not in {labels.place(name)}.", str(path))
            for name, path in images.items()
            if name not in listed
        ]
    reason = f"there is no such image in {folder.folder}."
    return [
        Finding("unused-label", labels.place(name), reason)
        for name in labels.names
        if name not in images
    ]
