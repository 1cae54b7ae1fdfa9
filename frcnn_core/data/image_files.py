"""Image files on disk: finding them, and checking them by their headers."""

from __future__ import annotations

import os
import struct
from collections import Counter
from pathlib import Path

from frcnn_core.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Lower-case endings of image files."""

_ORIENTATION = 0x0112
"""Number of the EXIF tag."""


def find(folder: Path, extension: str | None = None) -> dict[str, Path]:
    """Name -> image file, at any depth, in the order of the sorted paths.

    A name is the path below ``folder`` without extension, parts joined by ``/``.  Hidden files
    and folders, whose names begin with a dot, are passed over.

    Args:
        extension: of the files that count, in whatever case, with or without the dot; None is
            any of ``SUFFIXES``.

    Raises:
        DataError: there is no such folder, no such image, or two of one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder.")
    suffixes = SUFFIXES if extension is None else ("." + extension.lower().lstrip("."),)
    others: Counter[str] = Counter()
    images: dict[str, Path] = {}
    for path in _files(folder):
        if path.suffix.lower() not in suffixes:
            others[path.suffix] += 1
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in images:
            raise DataError(f"{path}: there is {images[name].name} too; rename one of them.")
        images[name] = path
    if not images:
        found = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5) if suffix)
        raise DataError(
            f"{folder}: no file ends in {' or '.join(suffixes)}. Files there: {found or 'none'};"
            " set image_extension to theirs."
        )
    return images


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def size(path: Path) -> tuple[int, int]:
    """Height and width of a PNG or JPEG file in pixels, without decoding it.

    Raises:
        DataError: it is neither, is damaged or cut short, or is to be shown turned.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            width, height = image.size
            orientation = _orientation(image)
            if image.format == "PNG":
                image.verify()
            elif not _has_jpeg_end(path.read_bytes()):
                raise DataError(f"{path}: the JPEG file is cut short; copy it again.")
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a PNG or JPEG file, whatever its name says.") from error
    # PIL reports a damaged file by any of these.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error
    if orientation != 1:
        raise DataError(
            f"{path}: EXIF orientation {orientation}: viewers show it turned, TensorFlow does not,"
            " and its labels fit only one of the two. Rewrite the pixels upright, e.g. with"
            " `exiftran -ai` or Pillow's ImageOps.exif_transpose, and check the labels."
        )
    return height, width


def _orientation(image) -> int:
    from PIL import Image

    # image.getexif() would decode a whole PNG in search of it.
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif"))
        return exif.get(_ORIENTATION, 1)
    except (SyntaxError, OSError, ValueError, struct.error):
        # A garbled EXIF block turns the picture in no viewer.
        return 1


def _has_jpeg_end(data: bytes) -> bool:
    """Whether an end marker follows the last start-of-scan marker; a thumbnail's comes before."""
    return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
