"""What is in a record file, kept beside it, so that a set of 100,000 images starts in seconds.

The index of ``folder/NAME`` is ``folder/.frcnn-index/NAME.json``.  Patterns such as
``tfrecords/kitti*`` and ``tfrecords/*`` match neither file nor folder, in TLT's tools no more
than here.  An index that is missing, damaged or older than its records is made anew, and where
the folder cannot be written, everything works without one.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frcnn_core.data import records
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.files import write_whole

logger = logging.getLogger(__name__)

FOLDER = ".frcnn-index"
_VERSION = 1
_FRAME = 16
"""Bytes that the TFRecord format puts around a record: its length and two checksums."""


class Kind(NamedTuple):
    """What an object is, as far as it is counted."""

    label: str
    """Class name as in the record, before the class map."""
    occlusion: int
    crowd: bool


@dataclass(frozen=True)
class RecordIndex:
    """What a record file holds, before any class map."""

    lengths: list[int] = field(default_factory=list)
    """Bytes of each record, in order."""
    frame_ids: dict[str, list[str]] = field(default_factory=dict)
    """``frame/extension`` of records, often empty -> their ``frame/id``, in order."""
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images per (height, width), as the records state it."""
    kinds: list[Kind] = field(default_factory=list)
    """Those that occur."""
    num_objects: list[int] = field(default_factory=list)
    """Of each image, in order."""
    objects: list[int] = field(default_factory=list)
    """The kind of each object, as a place in ``kinds``; image after image."""

    @property
    def count(self) -> int:
        """Images."""
        return len(self.lengths)


def of(path: Path) -> RecordIndex:
    """The index of a record file; what is beside the file, or made now and kept there.

    Raises:
        DataError: the file is missing, damaged, or its records were not written by
            ``dataset_convert``.
    """
    try:
        state = _state(path)
    except OSError as error:
        raise DataError(f"{path}: there is no such file.") from error
    try:
        return _from_json(json.loads(location(path).read_bytes()), state)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        pass  # there is none, or none that can be trusted
    index = _scan(path)
    try:
        # A converter that is still writing would leave an index of half a file.
        if _state(path) == state:
            write_whole(location(path), json.dumps(_as_json(index, state), separators=(",", ":")))
    except (OSError, FrcnnError) as error:
        logger.info("No index is kept of %s, so that every start reads all of it: %s", path, error)
    return index


def location(path: Path) -> Path:
    """Where the index of a record file is kept."""
    return path.parent / FOLDER / f"{path.name}.json"


def offsets(path: Path) -> np.ndarray:
    """(N,) int64: where in the file each record begins.

    Raises:
        DataError: as ``of``.
    """
    try:
        return _offsets(path, *_state(path))
    except OSError as error:
        raise DataError(f"{path}: there is no such file.") from error


@lru_cache(maxsize=4096)
def _offsets(path: Path, size: int, mtime_ns: int) -> np.ndarray:
    """Of a file in this state; kept, since every epoch asks: 8 bytes a record."""
    frames = np.array(of(path).lengths, np.int64) + _FRAME
    return np.cumsum(frames) - frames


def _state(path: Path) -> tuple[int, int]:
    """What tells whether a file has changed."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _as_json(index: RecordIndex, state: tuple[int, int]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "size": state[0],
        "mtime_ns": state[1],
        "lengths": index.lengths,
        "frame_ids": index.frame_ids,
        "image_sizes": [[*size, count] for size, count in index.image_sizes.items()],
        "kinds": index.kinds,
        "num_objects": index.num_objects,
        "objects": index.objects,
    }


def _from_json(content: Any, state: tuple[int, int]) -> RecordIndex:
    """The inverse; raises one of several errors where it is not the index of such a file."""
    if [content[key] for key in ("version", "size", "mtime_ns")] != [_VERSION, *state]:
        raise ValueError("stale")
    index = RecordIndex(
        lengths=content["lengths"],
        frame_ids=content["frame_ids"],
        image_sizes=Counter({(h, w): count for h, w, count in content["image_sizes"]}),
        kinds=[Kind(str(label), int(n), bool(crowd)) for label, n, crowd in content["kinds"]],
        num_objects=content["num_objects"],
        objects=content["objects"],
    )
    counts = (
        sum(map(len, index.frame_ids.values())),
        index.image_sizes.total(),
        len(index.num_objects),
    )
    if (
        sum(index.lengths) + _FRAME * index.count != state[0]
        or set(counts) != {index.count}
        or sum(index.num_objects) != len(index.objects)
        or not set(index.objects) <= set(range(len(index.kinds)))
    ):
        raise ValueError("damaged")
    return index


def _scan(path: Path) -> RecordIndex:
    """Read every record once, without its image."""
    import tensorflow as tf

    from frcnn_core.data.threads import PARALLEL_CALLS, untuned

    @tf.autograph.experimental.do_not_convert
    def facts(serialized: tf.Tensor) -> tuple[tf.Tensor, records.ParsedRecord]:
        return tf.strings.length(serialized), records.parse(serialized)

    index = RecordIndex()
    numbers: dict[Kind, int] = {}
    serialized = untuned(tf.data.TFRecordDataset(str(path)))
    parsed = serialized.map(facts, num_parallel_calls=PARALLEL_CALLS)
    try:
        # Python sees a thousand images at a time: one by one would take minutes for large sets.
        for lengths, chunk in parsed.ragged_batch(1000):  # type: ignore[attr-defined]  # a Dataset
            index.lengths.extend(lengths.numpy().tolist())
            index.image_sizes.update(map(tuple, chunk.size.numpy().tolist()))
            names = (_decoded(column) for column in (chunk.extension, chunk.frame_id))
            for extension, frame_id in zip(*names, strict=True):
                index.frame_ids.setdefault(extension, []).append(frame_id)
            index.num_objects.extend(chunk.class_names.row_lengths().numpy().tolist())
            index.objects.extend(numbers.setdefault(kind, len(numbers)) for kind in _kinds(chunk))
    except tf.errors.OpError as error:
        raise _unreadable(path, error) from error
    # TensorFlow takes less than the beginning of a record for the end of the file.
    if surplus := path.stat().st_size - sum(index.lengths) - _FRAME * index.count:
        raise DataError(
            f"{path}: no TFRecord file, or one that is cut short: {surplus} bytes follow its last "
            "record."
        )
    index.kinds.extend(numbers)
    return index


def _kinds(chunk: records.ParsedRecord) -> Iterable[Kind]:
    """Of each object of a thousand images."""
    columns = (chunk.class_names, chunk.occlusion, chunk.crowd)
    labels, occlusion, crowd = (column.flat_values for column in columns)
    return map(Kind, _decoded(labels), occlusion.numpy().tolist(), crowd.numpy().tolist())


def _decoded(column: Any) -> list[str]:
    return [value.decode() for value in column.numpy().tolist()]


def _unreadable(path: Path, error: Exception) -> DataError:
    """What is wrong with a record file, and with which record; TensorFlow does not say."""
    import tensorflow as tf

    from frcnn_core.data.threads import untuned

    try:
        for number, record in enumerate(untuned(tf.data.TFRecordDataset(str(path)))):
            try:
                records.from_example(record.numpy())
            except DataError as problem:
                return DataError(f"{path}: record {number}: {problem}")
    except tf.errors.OpError as problem:
        return DataError(f"{path}: no TFRecord file, or a damaged one: {problem.message}")
    return DataError(f"{path}: cannot be read: {error}")


def damaged(paths: Iterable[Path]) -> DataError | None:
    """What is wrong with the first record file that cannot be read now, if there is one."""
    for path in paths:
        try:
            _scan(path)
        except DataError as problem:
            return problem
    return None
