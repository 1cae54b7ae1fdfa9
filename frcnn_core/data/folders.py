"""A folder of images and the labels that belong to them, matched by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from frcnn_core.data import image_files, partitions
from frcnn_core.data.labels import LabelSet
from frcnn_core.data.records import Record
from frcnn_core.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledFolder:
    """Where images and labels are, and which images count."""

    root: Path
    """What ``frame/id`` starts from; training knows it as image_directory_path."""
    images: str
    """Folder of the images below root, searched at any depth; empty is root itself."""
    labels: LabelSet
    extension: str | None = None
    """Of the images that count, in whatever case, with or without the dot; None is any."""
    image_list: Path | None = None
    """Text file of the images that count, see ``partitions.read_list``; None is all."""

    @property
    def folder(self) -> Path:
        """Of the images."""
        return self.root / self.images

    def frame_id(self, name: str) -> str:
        """What a record calls the image ``name``."""
        return "/".join(part for part in (self.images.strip("/"), name) if part)

    def find(self) -> tuple[dict[str, Path], list[str]]:
        """Name -> image file in the order of the sorted paths, and what is wrong with the names.

        With labels that list their images, those are the images, and one that is not there is a
        problem.  Else all images are, and labels without one are only warned of.

        Raises:
            DataError: there is no such folder, no image in it, two images of one name, or none
                that has labels.
        """
        images = image_files.find(self.folder, self.extension)
        labelled = self.labels.names
        # Thousands of messages about one mistake would hide it.
        if not any(name in images for name in labelled):
            raise DataError(self._nothing_fits(next(iter(images)), len(images)))
        without_image = [name for name in labelled if name not in images]
        problems: list[str] = []
        if self.labels.lists_images:
            problems = [
                f"{self.labels.place(name)}: there is no such image in {self.folder}."
                for name in without_image
            ]
            listed = set(labelled)
            images = {name: path for name, path in images.items() if name in listed}
        elif without_image:
            logger.warning(
                "%d of %d label files have no image in %s, the first is %s.",
                *(len(without_image), len(labelled), self.folder),
                self.labels.place(without_image[0]),
            )
        if self.image_list is None:
            return images, problems
        wanted = partitions.read_list(self.image_list)
        problems += [
            f"{self.image_list}:{line}: {name!r} has no image in {self.folder}."
            for name, line in wanted.items()
            if name not in images
        ]
        return {name: path for name, path in images.items() if name in wanted}, problems

    def read(self, name: str, path: Path) -> Record:
        """What is known of one image; safe to call from several threads.

        Args:
            name: as in ``find``.
            path: its file.

        Raises:
            DataError: a line for each thing that is wrong with the image or its labels.
        """
        problems: list[str] = []
        size = labels = None
        try:
            size = image_files.size(path)
        except DataError as error:
            problems.append(str(error))
        # Boxes that are fractions of an image of unknown size would be one more problem.
        try:
            labels = self.labels.read(name, size or (1, 1))
        except DataError as error:
            problems += str(error).splitlines()
        if size and labels and labels.size not in (None, size):
            problems.append(
                f"{self.labels.place(name)}: says that the image is {_in_words(labels.size)}"
                f" (height x width), but {path} is {_in_words(size)}."
            )
        if size is None or labels is None or problems:
            raise DataError("\n".join(problems))
        height, width = size
        return Record(self.frame_id(name), height, width, labels.objects)

    def _nothing_fits(self, name: str, count: int) -> str:
        if self.labels.lists_images:
            first = next(iter(self.labels.names), None)
            if first is None:
                return f"{self.folder}: its labels list no images."
            return (
                f"{self.labels.place(first)}: not one of the {len(self.labels.names)} images that"
                f" are listed is in {self.folder}. There is, for example, {name}."
            )
        return (
            f"{self.folder}: not one of the {count} images has a label file. For {name} it would be"
            f" {self.labels.place(name)}."
        )


def common_extension(paths: Iterable[Path]) -> str:
    """The ending of all these files with the dot; empty where they differ, also in case."""
    endings = {path.suffix for path in paths}
    return endings.pop() if len(endings) == 1 else ""


def _in_words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
