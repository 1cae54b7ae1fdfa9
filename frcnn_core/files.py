"""Writes files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from frcnn_core.errors import FrcnnError


def require_free(paths: Iterable[Path]) -> None:
    """Nothing is replaced that this run did not write.

    Raises:
        FrcnnError: some of the paths are taken.
    """
    if taken := [str(path) for path in paths if path.exists()]:
        raise FrcnnError(f"{', '.join(taken)} exists. Give another name, or move it away.")


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


@contextmanager
def set_aside(paths: Iterable[Path]) -> Iterator[None]:
    """Move files and folders out of the way of a block that writes others in their place.

    They are removed when the block ends well.  When it raises they come back, and what the block
    wrote in their place is removed.  Meanwhile they are hidden files beside their places, where
    they can be found should the computer stop.

    Args:
        paths: those that do not exist are passed over.

    Raises:
        FrcnnError: one cannot be moved; errors of the block pass unchanged.
    """
    moved: dict[Path, Path] = {}
    try:
        for path in map(Path, paths):
            if path.exists():
                aside = path.with_name(f".{uuid4().hex[:8]}.replaced.{path.name}")
                try:
                    os.replace(path, aside)
                except OSError as error:
                    raise FrcnnError(f"{path} cannot be replaced: {error.strerror}.") from error
                moved[path] = aside
        yield
    except BaseException:
        for path, aside in moved.items():
            _discard(path)
            os.replace(aside, path)
        raise
    for aside in moved.values():
        _discard(aside)


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
