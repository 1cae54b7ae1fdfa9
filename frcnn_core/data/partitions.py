"""Dealing images to partitions, also called folds; by convention 0 is for validation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from random import Random

from frcnn_core.data import image_files
from frcnn_core.errors import DataError

_ORDER_SEED = 42
"""Of the order of images inside a partition; the original's."""


def split_sorted(names: Sequence[str], fraction: float) -> list[list[str]]:
    """The first ``fraction`` of the names, and the rest: what TLT calls random.

    Neighbours in a sorted list are often frames of one drive, so this tells little about how
    evenly images are dealt, but gives the partitions that TLT gives.
    """
    count = int(fraction * len(names))
    return [list(names[:count]), list(names[count:])]


def split_shuffled(names: Sequence[str], fraction: float, seed: int) -> list[list[str]]:
    """A ``fraction`` of the names drawn at random, and the rest."""
    return split_sorted(in_random_order(names, seed), fraction)


def deal_sequences(sequences: Mapping[str, Sequence[str]], count: int) -> list[list[str]]:
    """Whole sequences dealt in turn to ``count`` partitions, the longest to the last one."""
    partitions: list[list[str]] = [[] for _ in range(count)]
    longest_first = sorted(sequences, key=lambda name: (-len(sequences[name]), name))
    for number, name in enumerate(longest_first):
        partitions[number % count] += sequences[name]
    return partitions[::-1]


def read_sequences(path: Path) -> dict[str, list[str]]:
    """Sequence -> names of its frames, from a JSON file.

    Raises:
        DataError: the file is missing, no such JSON, or lists a frame twice.
    """
    try:
        sequences = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}.") from error
    if not isinstance(sequences, dict) or not all(map(_is_list_of_names, sequences.values())):
        raise DataError(f'{path}: must look like {{"sequence": ["frame", "frame"], ...}}.')
    counts = Counter(chain.from_iterable(sequences.values()))
    if twice := [frame for frame, count in counts.items() if count > 1]:
        raise DataError(
            f"{path}: {', '.join(map(repr, twice))}: a frame may be listed only once, or training"
            " and validation could share it."
        )
    return sequences


def read_list(path: Path) -> dict[str, int]:
    """Name -> line of each image that a text file lists, one a line, in the file's order.

    Names are paths below the image folder, with or without extension.  Blank lines are passed
    over.

    Raises:
        DataError: the file is missing, not text, lists nothing, or an image twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file; lists of images are UTF-8 text.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    names: dict[str, int] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        file = PurePosixPath(line.strip())
        is_file = file.suffix.lower() in image_files.SUFFIXES
        name = str(file.with_suffix("") if is_file else file)
        if names.setdefault(name, number) != number:
            problems.append(f"{path}:{number}: {name!r} is in line {names[name]} already.")
    if problems:
        raise DataError("\n".join(problems))
    if not names:
        raise DataError(f"{path}: lists no images.")
    return names


def in_random_order(names: Sequence[str], seed: int = _ORDER_SEED) -> list[str]:
    """The same names; the order depends on them and the seed alone."""
    names = list(names)
    Random(seed).shuffle(names)
    return names


def _is_list_of_names(frames: object) -> bool:
    return isinstance(frames, list) and all(isinstance(frame, str) for frame in frames)
