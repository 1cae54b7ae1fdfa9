"""Which way up the pixels of a JPEG or PNG file are stored, by the EXIF block in it.

Twice by the same rules: ``orientation`` in plain Python for a file at hand,
``orientation_in_graph`` in TensorFlow operations for the input pipeline and for exported models,
where there is no Python.  The rules:

- The orientation is the tag 0x0112 of the first EXIF block, a SHORT or LONG of 1 to 8.  Whatever
  is garbled or contradicts the format counts as 1, upright: viewers do not turn such a picture.
- In a JPEG file the block is an APP1 segment in front of the first scan, in a PNG file a chunk
  ``eXIf`` in front of the image data.
- An orientation that only XMP or a PNG text chunk tells does not count.

Importing this module does not import TensorFlow.

Sources: EXIF 2.32 (JEITA CP-3451E), 4.6 and 4.7.2, for the block; ITU-T T.81, annex B, for the
segments of JPEG; the PNG specification, third edition, 5.3 and 11.3.4.5, for chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import tensorflow as tf

UPRIGHT = 1
"""The orientation of pixels that are stored as they are to be seen."""

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

_EXIF, _CHUNK = b"Exif\0\0", b"eXIf"
"""How an EXIF block begins in a JPEG segment, and the name of the PNG chunk that is one."""
_APP1, _START_OF_SCAN = 0xFFE1, 0xFFDA
_LITTLE_ENDIAN, _BIG_ENDIAN = b"II*\0", b"MM\0*"
_TAG, _SHORT, _LONG = 0x0112, 3, 4
_ENTRY = 12
"""Bytes of an entry: tag, type, count, value."""
_FRAME = 12
"""Bytes around the content of a PNG chunk: length, name, checksum."""


def exchanges_sides(orientation: int) -> bool:
    """Whether the upright image is as high as the stored one is wide."""
    return orientation >= 5


def orientation(data: bytes) -> int:
    """1 to 8, the orientation of a file with this content."""
    if data.startswith(JPEG_START):
        return _of_jpeg(data)
    if data.startswith(PNG_START):
        for name, content in png_chunks(data):
            if name == b"IDAT":
                break
            if name == _CHUNK:
                return of_block(content)
    return UPRIGHT


def _of_jpeg(data: bytes) -> int:
    at = 2
    while at + 10 <= len(data):
        marker, length = (int.from_bytes(data[i : i + 2]) for i in (at, at + 2))
        if marker == _START_OF_SCAN:
            break
        if marker == _APP1 and data[at + 4 : at + 10] == _EXIF:
            return of_block(data[at + 10 : at + 2 + length])
        at += _step(marker, length)
    return UPRIGHT


def _step(marker: int, length: int) -> int:
    """How far it is to the next marker of a JPEG header."""
    if marker < 0xFF01 or marker == 0xFFFF:  # a fill byte, or what should not be there
        return 1
    return 2 + max(length, 2)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a PNG file, as far as they are whole."""
    at = len(PNG_START)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += _FRAME + length


def of_block(exif: bytes) -> int:
    """1 to 8, the orientation in an EXIF block that begins with the mark of its byte order."""
    orders: dict[bytes, Literal["little", "big"]] = {_LITTLE_ENDIAN: "little", _BIG_ENDIAN: "big"}
    order = orders.get(exif[:4])
    if order is None:
        return UPRIGHT

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        at = directory + 2 + _ENTRY * entry
        if at + _ENTRY > len(exif):
            break
        kind = number(at + 2, 2)
        if number(at, 2) == _TAG and number(at + 4, 4) == 1 and kind in (_SHORT, _LONG):
            value = number(at + 8, 2 if kind == _SHORT else 4)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


# The same in TensorFlow -------------------------------------------------------------------------


def upright(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """An image as it is to be seen.

    Args:
        image: (H, W, C) uint8, as stored.
        data: () string, the content of its file.
    """
    import tensorflow as tf

    data = tf.convert_to_tensor(data)
    # Most files of most data sets have no such block, and to search for its name costs less than
    # one step through the file.  tf.strings has no find; the number of pieces tells as much.
    name = tf.where(tf.io.is_jpeg(data), _EXIF, _CHUNK)
    pieces = tf.raw_ops.StringSplitV2(input=data[None], sep=name, maxsplit=1).values
    return tf.cond(
        tf.size(pieces) > 1,
        lambda: turned(image, orientation_in_graph(data)),
        lambda: image,
    )


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image (H, W, C) uint8, stored with an orientation, () int32, as it is to be seen."""
    import tensorflow as tf

    def turn() -> tf.Tensor:
        # Which sides of the picture the first row and column are: EXIF 2.32, 4.6.5.
        bottom = tf.reduce_any(tf.equal(orientation, (3, 4, 7, 8)))
        right = tf.reduce_any(tf.equal(orientation, (2, 3, 6, 7)))
        turned = tf.cond(orientation >= 5, lambda: _transposed(image), lambda: image)
        turned = tf.cond(bottom, lambda: tf.reverse(turned, [0]), lambda: turned)
        return tf.cond(right, lambda: tf.reverse(turned, [1]), lambda: turned)

    return tf.cond(tf.equal(orientation, UPRIGHT), lambda: image, turn)


def _transposed(image: tf.Tensor) -> tf.Tensor:
    """An image (H, W, C) uint8 as (W, H, C)."""
    import tensorflow as tf

    # TensorFlow 2.21 is slower at transposing uint8 than float32, and writes an error about it to
    # stderr.  abs changes nothing but keeps its optimizer from moving the casts to where it would
    # transpose uint8 after all.
    transposed = tf.transpose(tf.abs(tf.cast(image, tf.float32)), (1, 0, 2))
    return tf.cast(tf.abs(transposed), tf.uint8)


def orientation_in_graph(data: tf.Tensor) -> tf.Tensor:
    """() int32, 1 to 8: ``orientation`` of a () string."""
    import tensorflow as tf

    start, length = tf.cond(
        tf.io.is_jpeg(data), lambda: _block_in_jpeg(data), lambda: _block_in_png(data)
    )
    return _of_block_in_graph(tf.strings.substr(data, start, length))


def _block_in_jpeg(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and length of the EXIF block; the length is 0 if there is none."""
    import tensorflow as tf

    size = tf.strings.length(data)

    def going(at: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return at + 10 <= size

    def step(
        at: tf.Tensor, start: tf.Tensor, length: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        marker, segment = tf.unstack(_numbers(tf.strings.substr(data, at, 4), 2), num=2)
        is_exif = (marker == _APP1) & (tf.strings.substr(data, at + 4, 6) == _EXIF)
        is_fill = (marker < 0xFF01) | (marker == 0xFFFF)
        following = at + tf.where(is_fill, 1, 2 + tf.maximum(segment, 2))
        return (
            tf.where(is_exif | (marker == _START_OF_SCAN), size, following),
            tf.where(is_exif, at + 10, start),
            tf.where(is_exif, tf.maximum(segment - 8, 0), length),
        )

    start = (tf.constant(2), size, tf.constant(0))
    _, start, length = tf.while_loop(going, step, start, parallel_iterations=1)
    return start, length


def _block_in_png(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same, of a PNG file or of anything that is none."""
    import tensorflow as tf

    size = tf.strings.length(data)

    def going(at: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return at + 8 <= size

    def step(
        at: tf.Tensor, start: tf.Tensor, length: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        high, low = tf.unstack(_numbers(tf.strings.substr(data, at, 4), 2), num=2)
        content = tf.minimum(_long(high, low, size), size - at)
        name = tf.strings.substr(data, at + 4, 4)
        is_exif = name == _CHUNK
        return (
            tf.where(is_exif | (name == b"IDAT"), size, at + _FRAME + content),
            tf.where(is_exif, at + 8, start),
            tf.where(is_exif, content, length),
        )

    is_png = tf.strings.substr(data, 0, len(PNG_START)) == PNG_START
    start = (tf.where(is_png, len(PNG_START), size), size, tf.constant(0))
    _, start, length = tf.while_loop(going, step, start, parallel_iterations=1)
    return start, length


def _of_block_in_graph(exif: tf.Tensor) -> tf.Tensor:
    """() int32, ``of_block`` of a () string."""
    import tensorflow as tf

    order, size = tf.strings.substr(exif, 0, 4), tf.strings.length(exif)
    is_little = order == _LITTLE_ENDIAN

    def numbers(at: int | tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
        found = _numbers(tf.strings.substr(exif, tf.minimum(at, size), 2 * count), count)
        return tf.where(is_little, found // 256 + tf.math.floormod(found, 256) * 256, found)

    def long(halves: Sequence[tf.Tensor]) -> tf.Tensor:
        first, last = halves
        high, low = tf.where(is_little, last, first), tf.where(is_little, first, last)
        return _long(high, low, size)

    directory = tf.minimum(long(tf.unstack(numbers(4, 2), num=2)), size)
    first = tf.minimum(directory + 2, size)
    count = tf.minimum(numbers(directory, 1)[0], (size - first) // _ENTRY)
    # The operation reads one number or more; an entry that is not there would be all zeros.
    entries = tf.reshape(numbers(first, 6 * tf.maximum(count, 1)), (-1, 6))
    entries = entries[:count]
    tag, kind, *halves = tf.unstack(entries, axis=1)
    is_short = kind == _SHORT
    matches = (tag == _TAG) & (is_short | (kind == _LONG)) & (long(halves[:2]) == 1)
    values = tf.where(is_short, halves[2], long(halves[2:]))
    found = tf.concat([values[matches], [UPRIGHT]], 0)[0]
    known = is_little | (order == _BIG_ENDIAN)
    return tf.where(known & (found >= 1) & (found <= 8), found, UPRIGHT)


def _long(high: tf.Tensor, low: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """() int32, the number of two halves, or ``size`` instead of one that is beyond any file."""
    import tensorflow as tf

    return tf.where(high < 0x7000, high * 0x10000 + low, size)


def _numbers(data: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """(count,) int32 of a () string of numbers of two bytes, the first of which counts more."""
    import tensorflow as tf

    numbers = tf.io.decode_raw(data, tf.uint16, little_endian=False, fixed_length=2 * count)
    return tf.cast(numbers, tf.int32)
