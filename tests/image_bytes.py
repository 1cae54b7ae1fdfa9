"""Image files as bytes, also of kinds that PIL does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(height=40, width=56, channels=3) -> np.ndarray:
    """A smooth uint8 image (H, W, C) that no turn and no mirror leaves as it is."""
    y, x = np.mgrid[:height, :width]
    planes = [3 * y + x, y + 2 * x + 20, 200 - y - x, 90 + x - y]
    return np.clip(np.stack(planes[:channels], axis=-1), 0, 255).astype(np.uint8)


def encoded(pixels, format, **options) -> bytes:
    """A file that PIL writes of an array or an image."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels.squeeze())
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def exif_block(orientation: int, order="<", kind=3, before=0) -> bytes:
    """An EXIF block with the orientation as SHORT (3) or LONG (4), after ``before`` other tags."""
    value = struct.pack(order + ("Hxx" if kind == 3 else "I"), orientation)
    entries = [struct.pack(order + "HHI", 0x100 + i, 4, 1) + bytes(4) for i in range(before)]
    entries.append(struct.pack(order + "HHI", 0x0112, kind, 1) + value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(order + "H", len(entries))
    return mark + struct.pack(order + "I", 8) + count + b"".join(entries) + bytes(4)


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def app1(block: bytes) -> bytes:
    """The JPEG segment of an EXIF block."""
    return segment(0xE1, b"Exif\0\0" + block)


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG file with these segments right after its start, in front of JFIF."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def after_jfif(jpeg: bytes, *segments: bytes) -> bytes:
    assert jpeg[2:4] == b"\xff\xe0"
    end = 4 + int.from_bytes(jpeg[4:6])
    return jpeg[:end] + b"".join(segments) + jpeg[end:]


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(pixels: np.ndarray, *, bits: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG file of samples (H, W, C) as they are, e.g. with 16 bits.

    Args:
        colour_type: 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha.
        extra: chunks in front of the pixels.
    """
    height, width = pixels.shape[:2]
    samples = pixels.astype(">u2" if bits == 16 else np.uint8)
    if bits < 8:
        rows = [_packed(row.ravel(), bits) for row in samples]
    else:
        rows = [row.tobytes() for row in samples]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def _packed(row: np.ndarray, bits: int) -> bytes:
    places = np.unpackbits(row[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(places.ravel()).tobytes()
