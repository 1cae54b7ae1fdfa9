"""Writes files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from frcnn_core.errors import FrcnnError


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` to ``path``, replacing what was there only once all of it is on disk.

    Args:
        path: the file; its folder is made when missing.
        data: text is written as UTF-8, without translating line ends.

    Raises:
        FrcnnError: the folder cannot be written or the disk is full.
    """
    with whole(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it becomes ``path`` when the block ends well.

    The temporary file or folder is beside ``path``, so that the move is one rename, and ends in
    the same suffix, for writers that go by it.  It is removed when the block raises.

    Raises:
        FrcnnError: it cannot be written or moved; other errors of the block pass unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid4().hex[:8]}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise FrcnnError(f"{path} cannot be written: {error}") from error
    finally:
        _discard(temporary)


def _flush(path: Path) -> None:
    """Wait until a file is on disk: a rename may otherwise survive a power cut that its data
    does not."""
    if path.is_file():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
