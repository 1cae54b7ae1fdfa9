"""Image files on disk: finding them, checking them by their headers, looking at their pixels."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from frcnn_core.data import exif
from frcnn_core.data.label_files import visible_files
from frcnn_core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Lower-case endings of image files."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What PIL raises for one damaged file or another."""
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""EXIF orientation -> the ``PIL.Image.Transpose`` that makes the image upright."""
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Any but those that are part of a scan: escaped 0xFF and restarts."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of each colour type.  Source: the PNG specification, third edition, 11.2.1."""


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
    for path in sorted(visible_files(folder)):
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


def size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of the upright image in a PNG or JPEG file, not decoding it.

    Raises:
        DataError: it is neither, or is damaged or cut short as far as that shows.
    """
    with _opened(path) as (image, data):
        width, height = image.size
        if image.format == "PNG":
            image.verify()
        turned = exif.exchanges_sides(exif.orientation(data))
    return (width, height) if turned else (height, width)


def decode(path: Path) -> np.ndarray:
    """The pixels of the upright image in a PNG or JPEG file; safe to call from several threads.

    What ``Preprocessing.decode`` shows the network, but without TensorFlow, for checking files
    and looking at them.  Where CMYK becomes RGB the two differ by rounding, nowhere else.

    Returns:
        (H, W, 1) uint8 of grayscale files, (H, W, 3) RGB of all others and of those that have 16
        bits and transparency.  As for the network, the upper 8 of 16 bits count, and a
        transparent pixel has the colour that is stored under it.

    Raises:
        DataError: it is neither PNG nor JPEG, or is damaged or cut short.
    """
    import numpy as np
    from PIL import Image

    with _opened(path) as (image, data):
        if image.format == "PNG":
            _require_all_rows(path, data)
        stored = _eight_bits(image)
        turn = _TURNS.get(exif.orientation(data))
    pixels = np.asarray(stored.transpose(Image.Transpose[turn]) if turn else stored)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _eight_bits(image: Image) -> Image:
    """The image decoded, in mode L or RGB."""
    import numpy as np
    from PIL import Image, ImageChops

    if image.mode.startswith("I"):  # 16 bits, of which PIL itself would take the lower ones
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Adobe stores how little ink there is.  PIL takes every file for one of Adobe's.
        image = ImageChops.invert(image)
    return image.convert("RGB")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Image, bytes]]:
    """The image with its header read, and the content of the file.

    Raises:
        DataError: it is no PNG or JPEG file or seems damaged, also when that shows in the block.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.format == "PNG":
                whole = _PNG_END in data
                _refuse_late_orientation(path, data)
            else:
                whole = _has_jpeg_end(data)
            if not whole:
                raise DataError(f"{path}: the file is cut short; copy it again.")
            yield image, data
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a PNG or JPEG file, whatever its name says.") from error
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}.") from error


def _has_jpeg_end(data: bytes) -> bool:
    """Whether the end marker of the image is there; those of thumbnails do not count."""
    at = 2
    while match := _JPEG_MARKER.search(data, at):
        marker, at = data[match.end() - 1], match.end()
        if marker == 0xD9:
            return True
        if marker not in (0x01, 0xD8):  # the two that no length follows
            at += max(2, int.from_bytes(data[at : at + 2]))
    return False


def _require_all_rows(path: Path, data: bytes) -> None:
    """See that a PNG file has as many pixels as it says, as TensorFlow does: PIL takes fewer.

    Interlaced files, which are rare, are passed over.

    Raises:
        DataError: it has not.
        zlib.error: they cannot be unpacked.
    """
    chunks = list(exif.png_chunks(data))
    header = next((content for name, content in chunks if name == b"IHDR"), b"")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    if interlaced:
        return
    stream = b"".join(content for name, content in chunks if name == b"IDAT")
    # A filter byte before each row.
    expected = height * (1 + -(-width * bits * _PNG_CHANNELS[colour] // 8))
    if len(zlib.decompressobj().decompress(stream, expected)) < expected:
        raise DataError(f"{path}: cannot be read: its pixels end early.")


def _refuse_late_orientation(path: Path, data: bytes) -> None:
    """See that no EXIF block follows the pixels: viewers obey it, ``exif`` does not look there.

    Raises:
        DataError: one does, and asks for a turn.
    """
    names, contents = zip(*exif.png_chunks(data), strict=True)
    if b"IDAT" not in names:
        return
    pixels = names.index(b"IDAT")
    for name, content in zip(names[pixels:], contents[pixels:], strict=True):
        if name == b"eXIf" and (orientation := exif.of_block(content)) != exif.UPRIGHT:
            raise DataError(
                f"{path}: EXIF orientation {orientation}, told only after the pixels. Some viewers"
                " turn it and some do not. Rewrite it upright, e.g. with Pillow's"
                " ImageOps.exif_transpose, and check its labels."
            )
