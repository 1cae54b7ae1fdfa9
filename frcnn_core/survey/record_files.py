"""Record files as labelled images, read one record at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frcnn_core.data import Labels, Source, index, records
from frcnn_core.data.records import Record
from frcnn_core.errors import DataError
from frcnn_core.survey.findings import Finding
from frcnn_core.survey.labelled_files import LabelledFile, Split

_HEADER = 12
"""Bytes before a record's own in a TFRecord file: its length and a checksum."""


@dataclass(frozen=True)
class _RecordFiles:
    """The images of record files, in the order of the records."""

    sources: tuple[tuple[Source, tuple[Path, ...]], ...]
    """Each source with those of its files that can be read."""

    def __iter__(self) -> Iterator[LabelledFile]:
        for source, paths in self.sources:
            for path in paths:
                for number, record in enumerate(_read(path)):
                    yield _labelled_file(source, path, number, record)


def split(name: str, sources: tuple[Source, ...]) -> Split:
    """The images of record sources; files that cannot be read become findings."""
    usable: list[tuple[Source, tuple[Path, ...]]] = []
    findings: list[Finding] = []
    count = 0
    for source in sources:
        sound = []
        for path in source.records:
            # The index may be from before the file was damaged.
            problem = index.damaged([path])
            if problem is None:
                sound.append(path)
                count += index.of(path).count
            else:
                reason = str(problem).removeprefix(f"{path}: ")
                findings.append(Finding("unusable-source", str(path), reason))
        usable.append((source, tuple(sound)))
    return Split(name, count, _RecordFiles(tuple(usable)), tuple(findings))


def _read(path: Path) -> Iterator[Record]:
    """The records of a file that was checked.

    Raises:
        DataError: one does not describe an image's objects.
    """
    where = zip(index.offsets(path).tolist(), index.of(path).lengths, strict=True)
    with open(path, "rb") as file:
        for number, (offset, length) in enumerate(where):
            file.seek(offset + _HEADER)
            try:
                yield records.from_example(file.read(length))
            except DataError as error:
                raise DataError(f"{path}: record {number}: {error}") from error


def _labelled_file(source: Source, path: Path, number: int, record: Record) -> LabelledFile:
    # Counted from 0, as in the messages of the index.
    place = f"{path}: record {number} ({record.frame_id})"
    places = tuple(f"{place}, object {index}" for index in range(len(record.objects)))
    size = (record.height, record.width)
    labels = Labels(record.objects, places, size)
    image = Path(source.image_path(record.frame_id, record.extension))
    return LabelledFile(image, place, lambda size: labels, stated_size=size)
