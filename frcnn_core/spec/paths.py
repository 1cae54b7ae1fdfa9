"""Where the files a spec names are.

One rule for all of them: a relative path starts at the working directory; where nothing is found
there and the environment variable DATA_BASE_PATH is set, at the folder it names.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

BASE = "DATA_BASE_PATH"


def locate(path: str) -> Path:
    """The file or folder a spec calls ``path``; it need not exist."""
    candidates = _candidates(path)
    return next((found for found in candidates if found.exists()), candidates[0])


def matching(pattern: str) -> tuple[Path, ...]:
    """The files a pattern such as ``tfrecords/kitti*`` matches, sorted by name."""
    for candidate in _candidates(pattern):
        found = (Path(name) for name in glob.glob(str(candidate), recursive=True))
        if files := tuple(sorted(path for path in found if path.is_file())):
            return files
    return ()


def searched(path: str) -> str:
    """Where ``locate`` and ``matching`` look, for messages."""
    return " and ".join(str(candidate.absolute()) for candidate in _candidates(path))


def in_fold(record: Path, fold: int) -> bool:
    """Whether a record file belongs to partition ``fold``; its name says so."""
    return f"fold-{fold:03d}-of-" in record.name


def folds(records: Iterable[Path]) -> list[int]:
    """The partitions that the names of record files tell of."""
    matches = (re.search(r"fold-(\d{3})-of-", record.name) for record in records)
    return sorted({int(match[1]) for match in matches if match})


def _candidates(path: str) -> list[Path]:
    own = Path(path).expanduser()
    base = os.environ.get(BASE)
    return [own, Path(base) / own] if base and not own.is_absolute() else [own]
