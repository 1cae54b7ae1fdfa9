"""The labels of a folder of images from one format to another."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from frcnn_core.data import image_files
from frcnn_core.data.folders import LabelledFolder
from frcnn_core.data.labels import LabelledImage, LabelSet
from frcnn_core.errors import DataError


@dataclass(frozen=True)
class LabelConversion:
    """What was converted."""

    num_images: int
    objects: Counter[str]
    """Class name -> objects written."""
    num_crowds: int
    """Crowd boxes left out."""
    num_not_listed: int
    """Images left out because labels that list their images do not have them."""
    files: tuple[Path, ...]


def convert_labels(
    folder: Path,
    labels: LabelSet,
    write: Callable[[Iterable[LabelledImage], Path], list[Path]],
    output: Path,
    *,
    skip_crowds: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelConversion:
    """Read the labels of all images and write them in another format, or nothing if any is bad.

    Args:
        folder: of the images.
        labels: of these images.
        write: labels in the other format, as ``LabelFormat.write``, to ``output``.
        output: folder or file to write; does not exist yet.
        skip_crowds: leave crowds out, for formats that cannot hold them.
        progress: called with the number of images read and their total.

    Raises:
        DataError: a line for each bad label, each image that cannot be read, each size that is not
            the image's, and each image that is listed and not there.
        FrcnnError: ``output`` exists or cannot be written.
    """
    source = LabelledFolder(folder, "", labels)
    images, problems = source.find()
    read: list[LabelledImage] = []
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda item: _read(source, *item), images.items())
        for number, result in enumerate(results, start=1):
            if isinstance(result, LabelledImage):
                read.append(result)
            else:
                problems += result
            progress(number, len(images))
    if problems:
        raise DataError("\n".join([*problems, f"{len(problems)} problem(s); nothing was written."]))
    num_crowds = sum(item.crowd for image in read for item in image.objects)
    if skip_crowds:
        read = [_without_crowds(image) for image in read]
    return LabelConversion(
        num_images=len(read),
        objects=Counter(item.class_name for image in read for item in image.objects),
        num_crowds=num_crowds if skip_crowds else 0,
        num_not_listed=len(image_files.find(folder)) - len(images),
        files=tuple(write(read, output)),
    )


def _read(source: LabelledFolder, name: str, path: Path) -> LabelledImage | list[str]:
    """An image with its objects, or everything that is wrong with it."""
    try:
        record = source.read(name, path)
    except DataError as error:
        return str(error).splitlines()
    file = path.relative_to(source.folder).as_posix()
    return LabelledImage(file, (record.height, record.width), record.objects)


def _without_crowds(image: LabelledImage) -> LabelledImage:
    objects = tuple(item for item in image.objects if not item.crowd)
    return dataclasses.replace(image, objects=objects)
