"""Int8 of a float model from a calibration cache, as TensorRT up to 10 does it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from frcnn_core.errors import FrcnnError


def from_cache(package: ModuleType, cache: Path, batch_size: int) -> Any:
    """A calibrator that shows TensorRT a cache and no images.

    Args:
        cache: written by ``frcnn export --data_type int8`` or by TensorRT.
        batch_size: that the cache was written with.

    Raises:
        FrcnnError: there is no such file, or it is no cache.
    """
    try:
        data = cache.read_bytes()
    except OSError as error:
        raise FrcnnError(f"{cache} cannot be read: {error.strerror}.") from error
    if not data.startswith(b"TRT-"):
        raise FrcnnError(
            f"{cache} is no calibration cache: its first line is not like "
            "TRT-8600-EntropyCalibration2."
        )

    class FromCache(package.IInt8EntropyCalibrator2):  # type: ignore[name-defined]  # whichever is here
        def __init__(self) -> None:
            package.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return batch_size

        def get_batch(self, names: list[str]) -> list[int]:
            return []  # no images: the cache has all that is known

        def read_calibration_cache(self) -> bytes:
            return data

        def write_calibration_cache(self, cache: Any) -> None:
            pass  # the file is the user's

    return FromCache()
