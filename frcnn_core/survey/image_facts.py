"""What is known of an image once its file was read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frcnn_core.data import exif, image_files
from frcnn_core.errors import DataError


class ImageFacts(NamedTuple):
    """A readable image file."""

    size: tuple[int, int]
    """(height, width) in pixels, upright."""
    orientation: int
    """EXIF, 1 to 8: how it is stored."""
    digest: bytes
    """16 bytes that are the same for images of the same content, and for no others."""

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) in pixels, as stored."""
        height, width = self.size
        return (width, height) if exif.exchanges_sides(self.orientation) else (height, width)


def examine(path: Path, *, quick: bool = False) -> ImageFacts:
    """What is in an image file; safe to call from several threads.

    Args:
        quick: look at its header only, so that damage of the pixels may go unseen, and take
            the bytes of the file for its content: the same pixels stored otherwise are others.

    Raises:
        DataError: it is missing, no PNG or JPEG file, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    orientation = exif.orientation(data)
    if quick:
        return ImageFacts(image_files.size(path), orientation, _digest(data))
    pixels = image_files.decode(path)
    if _is_gray(pixels):
        pixels = pixels[..., :1]  # a gray picture is the same stored as RGB
    height, width, channels = pixels.shape
    shape = f"{height} {width} {channels} ".encode()
    return ImageFacts((height, width), orientation, _digest(shape, np.ascontiguousarray(pixels)))


def _is_gray(pixels: np.ndarray) -> bool:
    """Whether all channels of (H, W, C) are the same."""

    def same(part: np.ndarray) -> bool:
        return bool((part[..., :1] == part).all())

    # A few pixels tell most pictures that have colours.
    return same(pixels[::16, ::16]) and same(pixels)


def _digest(*parts: bytes | np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)  # type: ignore[arg-type]  # numpy does not say that arrays are buffers
    return digest.digest()
