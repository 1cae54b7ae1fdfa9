"""Batches of preprocessed images in an HDF5 file, as ``--cal_data_file`` of TLT and TAO holds them.

::

    attribute count                                   number of batches
    attribute shape                                   (B, C, H, W), of every batch
    _tensorfile_array_key__0/_tensorfile_array_key_   the first batch, float32, gzip
    _tensorfile_array_key__1/_tensorfile_array_key_   the second one, and so on

Source: class ``TensorFile`` of TAO, which writes the tensorfiles of ``--cal_data_file``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from frcnn_core.errors import DataError
from frcnn_core.files import whole

_KEY = "_tensorfile_array_key_"


@dataclass(frozen=True)
class Tensorfile:
    """A tensorfile that exists."""

    path: Path
    num_batches: int
    shape: tuple[int, int, int, int]
    """(B, H, W, C) of the first batch."""

    @classmethod
    def open(cls, path: Path) -> Tensorfile:
        """What ``path`` says of itself.

        Raises:
            DataError: it is no tensorfile, damaged, or empty.
        """
        with _opened(path) as file:
            count = int(file.attrs.get("count", 0))
            if count < 1:
                raise DataError(f"{path} is no tensorfile, or an empty one: it holds no batch.")
            shape = _dataset(file, path, 0).shape
            if len(shape) != 4:
                raise DataError(
                    f"{path}: its batches are of shape {shape}, not (images, channels, height, "
                    "width)."
                )
        batch, channels, height, width = shape
        return cls(path, count, (batch, height, width, channels))

    def batches(self, limit: int) -> Iterator[np.ndarray]:
        """The first ``limit`` batches, (B, H, W, C) float32, one at a time.

        Raises:
            DataError: a batch is missing, damaged, of another shape, or not finite.
        """
        with _opened(self.path) as file:
            for number in range(min(limit, self.num_batches)):
                batch = self._read(file, number)
                if batch.ndim != 4 or _to_nhwc(batch).shape[1:] != self.shape[1:]:
                    raise DataError(
                        f"{self.path}: batch {number} is of shape {batch.shape}, not like the "
                        "first one."
                    )
                if not np.isfinite(batch).all():
                    raise DataError(f"{self.path}: batch {number} has a number that is not finite.")
                yield np.ascontiguousarray(_to_nhwc(batch), np.float32)

    def _read(self, file: h5py.File, number: int) -> np.ndarray:
        try:
            return _dataset(file, self.path, number)[()]
        except OSError as error:
            raise DataError(f"{self.path}: batch {number} cannot be read: {error}") from error


def write(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Write batches (B, H, W, C) of one shape to a tensorfile, whole or not at all.

    Raises:
        FrcnnError: it cannot be written; errors of ``batches`` pass unchanged.
    """
    with whole(path) as temporary, h5py.File(temporary, "w") as file:
        count = 0
        for count, batch in enumerate(batches, start=1):
            stored = np.ascontiguousarray(np.moveaxis(batch, -1, 1), np.float32)
            file.attrs["shape"] = stored.shape
            group = file.create_group(f"{_KEY}_{count - 1}")
            group.create_dataset(_KEY, data=stored, compression="gzip")
        file.attrs["count"] = count


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is no tensorfile, or damaged: {error}") from error


def _dataset(file: h5py.File, path: Path, number: int) -> h5py.Dataset:
    found = file.get(f"{_KEY}_{number}/{_KEY}")
    if not isinstance(found, h5py.Dataset):
        raise DataError(
            f"{path}: batch {number} is missing: it is no tensorfile, or was not written whole."
        )
    return found


def _to_nhwc(batch: np.ndarray) -> np.ndarray:
    return np.moveaxis(batch, 1, -1)
