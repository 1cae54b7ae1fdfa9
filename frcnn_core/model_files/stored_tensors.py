"""Numbers as files store them, raw bytes, as arrays, and tensors as views of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from frcnn_core.errors import ModelFileError

BFLOAT16 = "bfloat16"  # the upper half of a float32; numpy has no such type


def numbers(data: bytes | memoryview, kind: str, *, big_endian: bool = False) -> np.ndarray:
    """Raw bytes as numbers, half and bfloat16 as float32; in one row.

    Args:
        kind: numpy's name of their type, or ``BFLOAT16``.
    """
    data = data[: len(data) // bytes_each(kind) * bytes_each(kind)]
    order = ">" if big_endian else "<"
    if kind == BFLOAT16:
        return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    numbers = np.frombuffer(data, f"{order}{kind}")
    return numbers.astype("f4" if kind == "f2" else kind, copy=False)


def bytes_each(kind: str) -> int:
    """Bytes that a number takes in a file."""
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def view(key: str, numbers: np.ndarray, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A tensor, without copying it.

    Args:
        key: the tensor's, for errors.
        numbers: its storage.
        offset: where its first number is.
        size: its shape.
        stride: how far it is to the next number, by axis.

    Raises:
        ModelFileError: it does not lie within its storage.
    """
    lists = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not lists or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise ModelFileError(f"it is damaged: size or strides of {key} make no sense.")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(numbers):
        raise ModelFileError(
            f"it is cut short or damaged: {key} needs {last + 1:,} numbers and its storage has "
            f"{len(numbers):,}."
        )
    try:
        return np.lib.stride_tricks.as_strided(
            numbers[offset:], size, [step * numbers.itemsize for step in stride], writeable=False
        )
    except (ValueError, OverflowError) as error:
        raise ModelFileError(f"it is damaged: the size of {key} makes no sense.") from error
