"""A few records of a data set as a data set of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from frcnn_core.data import index
from frcnn_core.data.sources import Source
from frcnn_core.errors import DataError


def excerpt(
    sources: Sequence[Source], count: int, folder: Path, *, seed: int
) -> tuple[Source, ...]:
    """Sources with ``count`` records drawn from all of those given, or with all if there are fewer.

    Args:
        folder: for the record files; they are needed as long as the result is.

    Raises:
        DataError: there are no records, or their files cannot be read.
    """
    files = [(source, path) for source in sources for path in source.records]
    counts = [len(index.offsets(path)) for _, path in files]
    if not sum(counts):
        raise DataError(f"There are no records in {', '.join(str(path) for _, path in files)}.")
    drawn = np.random.default_rng(seed).permutation(sum(counts))[:count]
    starts = np.cumsum([0, *counts])
    excerpts = []
    for number, (source, path) in enumerate(files):
        mine = np.sort(drawn[(drawn >= starts[number]) & (drawn < starts[number + 1])])
        if len(mine):
            copy = folder / f"records-{number:05d}"
            copy.write_bytes(_frames(path, mine - starts[number]))
            excerpts.append(replace(source, records=(copy,), weight=1.0))
    return tuple(excerpts)


def _frames(path: Path, numbers: np.ndarray) -> bytes:
    """Some records of a file as they are, with what TFRecord puts around each."""
    begin = index.offsets(path)
    end = [*begin[1:], path.stat().st_size]
    with path.open("rb") as file:
        frames = []
        for number in numbers:
            file.seek(begin[number])
            frames.append(file.read(end[number] - begin[number]))
    return b"".join(frames)
