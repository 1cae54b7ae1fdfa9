"""Reads the convolutions of a Darknet weights file, which has an order but no names.

A header, then float32 numbers, layer after layer as in the network's ``.cfg``; all little-endian::

    int32 x 3       major version, minor version, revision
    int64           images seen in training; int32 before version 0.2
    float32...      of a convolution: biases (n), then with batch_normalize scales (n), rolling
                    means (n) and rolling variances (n), then weights (n, c, h, w)

Source: ``load_weights_upto`` and ``load_convolutional_weights`` of Darknet's ``src/parser.c``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frcnn_core.errors import ModelFileError

# Every release is of version 0.  Above 1000 Darknet reads dense layers transposed, for files of
# its first days.
_LARGEST_VERSION = 1000


@dataclass(frozen=True)
class DarknetConvolution:
    """One convolution's arrays, in Keras's layout and float32."""

    kernel: np.ndarray
    """(size, size, channels, filters)"""
    beta: np.ndarray
    """(filters,) the bias: of the normalization, or of the convolution where there is none."""
    gamma: np.ndarray | None = None
    """(filters,) Darknet's scales; ``None`` without normalization, like those that follow."""
    mean: np.ndarray | None = None
    """(filters,)"""
    variance: np.ndarray | None = None
    """(filters,)"""


def is_darknet(head: bytes) -> bool:
    """Whether the first bytes of a file, 20 or more, can be a Darknet header.

    That is a weak sign, three small numbers: ask only where the name says so too.
    """
    return _start(head) > 0


class DarknetFile:
    """A weights file, read from front to back.

    Raises:
        ModelFileError: there is no such file, or it is no Darknet file.
    """

    def __init__(self, path: Path):
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise ModelFileError(f"{path}: there is no such file.") from None
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
        start = _start(data)
        if not start or len(data) == start:
            raise ModelFileError(f"{path} is no Darknet file: it does not begin like one.")
        if (len(data) - start) % 4:
            raise ModelFileError(
                f"{path} is cut short, or no Darknet file: it ends within a number."
            )
        self._numbers = np.frombuffer(data, "<f4", offset=start)
        self._position = 0

    @property
    def remaining(self) -> int:
        """How many numbers have not been read."""
        return len(self._numbers) - self._position

    def convolution(
        self, filters: int, channels: int, size: int, *, normalized: bool
    ) -> DarknetConvolution:
        """The next convolution.

        Args:
            filters: output channels.
            channels: input channels that a filter sees, so those of one group.
            size: height and width of the kernel.
            normalized: whether its section in the ``.cfg`` says ``batch_normalize=1``.

        Raises:
            ModelFileError: the file ends before, or these numbers cannot be such a convolution.
                Which layer of which file it is, the caller knows and should add.
        """
        weights = filters * channels * size * size
        needed = weights + filters * (4 if normalized else 1)
        if missing := max(0, needed - self.remaining):
            raise ModelFileError(f"{missing:,} of its {needed:,} numbers are missing.")
        beta = self._take(filters)
        norm = [self._take(filters) for _ in range(3 if normalized else 0)]
        kernel = self._take(weights).reshape(filters, channels, size, size)
        if normalized and not np.all(norm[2] >= 0):
            # With no names or shapes in the file, this is what tells that a layer before had
            # another shape.
            raise ModelFileError(
                "it has variances below 0, so the file is damaged or of another network."
            )
        return DarknetConvolution(np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)), beta, *norm)

    def _take(self, count: int) -> np.ndarray:
        self._position += count
        return self._numbers[self._position - count : self._position].astype(np.float32)


def _start(data: bytes) -> int:
    """Where the numbers begin, after the header; 0 if there is none."""
    if len(data) < 20:
        return 0
    version = struct.unpack_from("<3i", data)
    if not all(0 <= part < _LARGEST_VERSION for part in version):
        return 0
    major, minor, _ = version
    return 20 if major * 10 + minor >= 2 else 16
