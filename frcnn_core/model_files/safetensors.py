"""Tensors by key from safetensors files.

Such a file is the length of a header, a uint64, the header in JSON, and the numbers.

Source: the format section of safetensors' README.
"""

from __future__ import annotations

import json
import math
import os
from typing import BinaryIO

import numpy as np

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files import stored_tensors

_TYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": stored_tensors.BFLOAT16,
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins like this is a safetensors file."""
    return head[4:9] == b"\0\0\0\0{"  # no header takes 4 GiB


def read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    """Tensors by key, half and bfloat16 as float32.

    Raises:
        ModelFileError: it is cut short or damaged, or holds numbers of a type that is not read.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > os.fstat(file.fileno()).st_size - 8:
        raise ModelFileError("it is cut short, within its header: copy or download it again.")
    header = file.read(length)
    data = memoryview(file.read())
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        return {key: _entry(key, data, **entry) for key, entry in entries.items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ModelFileError(f"it is damaged: its header makes no sense ({error}).") from error


def _entry(
    key: str, data: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
    """One tensor of a safetensors file; the keywords are the header's."""
    if dtype not in _TYPES:
        raise ModelFileError(f"{key} is of a type that is not read here, {dtype}.")
    begin, end = data_offsets
    if not 0 <= begin <= end <= len(data):
        raise ModelFileError(
            f"it is cut short or damaged: the numbers of {key} end at byte {end:,} of "
            f"{len(data):,}. Copy or download it again."
        )
    numbers = stored_tensors.numbers(data[begin:end], _TYPES[dtype])
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return stored_tensors.view(key, numbers, 0, tuple(shape), tuple(strides))
