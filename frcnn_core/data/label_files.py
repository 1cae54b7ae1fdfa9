"""Labels that are a file for each image, in folders like those of the images."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from frcnn_core.data.labels import LabelledImage, Labels, LabelSet
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.files import whole

_SAMPLE = 20
"""Files that ``sample`` looks into: the first images of a set may well be empty."""


class LabelFiles(LabelSet):
    """The label files in a folder, at any depth; each format says how one is read.

    Args:
        folder: where they are.
        others: names of files there, in lower case, that hold no image's labels.

    Raises:
        DataError: there is no such folder, no such file in it, or two of one name.
    """

    suffix: ClassVar[str]
    """Ending of the files with the dot, in lower case; in the folder it may be in any case."""

    def __init__(self, folder: Path, *, others: Collection[str] = ()):
        self.folder = folder
        self._files = find(folder, self.suffix, others=others)

    @property
    def names(self) -> Collection[str]:
        return self._files.keys()

    def place(self, name: str) -> str:
        return str(self._files.get(name) or self.folder / f"{name}{self.suffix}")

    def read(self, name: str, size: tuple[int, int] | None) -> Labels:
        path = self._files.get(name)
        if path is None:
            return self.missing(self.place(name))
        return self.parse(read_bytes(path), str(path), size)

    @abstractmethod
    def parse(self, data: bytes, place: str, size: tuple[int, int] | None) -> Labels:
        """The labels in a file's content; ``place`` is the file, for messages."""

    def missing(self, place: str) -> Labels:
        """The labels of an image without a file, unless that is an error.

        Raises:
            DataError: it is.
        """
        raise DataError(
            f"{place}: there is no such label file; make an empty one if the image has no objects."
        )


def find(folder: Path, suffix: str, *, others: Collection[str] = ()) -> dict[str, Path]:
    """Name -> label file, in the order of the sorted paths; hidden files are passed over.

    A name is the path below ``folder`` without ``suffix``, parts joined by ``/``.

    Raises:
        DataError: there is no such folder, no such file in it, or two of one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder.")
    found: dict[str, Path] = {}
    endings: Counter[str] = Counter()
    for path in visible_files(folder):
        if path.suffix.lower() != suffix or path.name.lower() in others:
            endings[path.suffix] += 1
            continue
        name = path.relative_to(folder).as_posix()[: -len(suffix)]
        if name in found:
            raise DataError(f"{path}: there is {found[name].name} too; remove one of them.")
        found[name] = path
    if not found:
        there = ", ".join(f"{count} {end}" for end, count in endings.most_common(5) if end)
        raise DataError(
            f"{folder}: no label file ends in {suffix}. Files there: {there or 'none'}."
        )
    return found


def sample(labels: Path, suffix: str, *, others: Collection[str] = ()) -> Iterator[str]:
    """Text of some files that are not blank, to tell a format by; none where it is no folder."""
    if not labels.is_dir():
        return
    looked_at = 0
    for path in visible_files(labels):
        if path.suffix.lower() == suffix and path.name.lower() not in others:
            looked_at += 1
            try:
                text = path.read_text(encoding="utf-8-sig", errors="replace")
            except OSError:
                continue
            if text.strip():
                yield text
        if looked_at == _SAMPLE:
            return


def visible_files(folder: Path) -> Iterator[Path]:
    """Files at any depth; names that begin with a dot, of folders too, are passed over."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def decode(data: bytes, place: str) -> str:
    """The text in a file's content, which may begin with a byte order mark.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not a text file; labels are UTF-8 text.") from error


def number(value: float) -> str:
    """The shortest text that reads as the same number; whole ones have no point."""
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)


def refuse_existing(output: Path) -> None:
    """Nothing is replaced that another run wrote.

    Raises:
        FrcnnError: ``output`` exists.
    """
    if output.exists():
        raise FrcnnError(f"{output} exists. Give another name, or remove it first.")


def refuse_crowds(images: Iterable[LabelledImage], words: str) -> None:
    """For formats that have no crowds: one would come back as an object to learn from.

    Args:
        words: what to call the format, e.g. ``KITTI labels``.

    Raises:
        DataError: a line for each image that has crowds.
    """
    problems = [
        f"{image.file}: {count} crowd box(es), which {words} cannot hold; leave them out."
        for image in images
        if (count := sum(item.crowd for item in image.objects))
    ]
    if problems:
        raise DataError("\n".join(problems))


def write(
    images: Iterable[LabelledImage],
    output: Path,
    suffix: str,
    text: Callable[[LabelledImage], str],
    *,
    others: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a label file for each image into a new folder, all of them or none.

    Args:
        output: the folder; does not exist yet.
        text: what to write for an image.
        others: files beside the labels: name -> content.

    Returns:
        The files written, ``others`` last.

    Raises:
        DataError: two images have one name, or one that leads out of the folder.
        FrcnnError: ``output`` exists or cannot be written.
    """
    refuse_existing(output)
    others = others or {}
    written: dict[str, str] = dict.fromkeys(others, "")
    with whole(output) as folder:
        folder.mkdir()
        for image in images:
            name = f"{image.name}{suffix}"
            if name in written:
                taken = written[name] or "a file of the format's own"
                raise DataError(f"{image.file}: {name} is taken by {taken}; rename the image.")
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise DataError(f"{image.file}: is not in the image folder.")
            written[name] = image.file
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(image), encoding="utf-8", newline="\n")
        for name, content in others.items():
            (folder / name).write_text(content, encoding="utf-8", newline="\n")
    return [output / name for name in (*(n for n in written if n not in others), *others)]
