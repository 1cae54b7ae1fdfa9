"""The files of ranges that stand beside an int8 export: TensorRT's calibration cache, and JSON.

Source: the text format is TensorRT's; the documentation's ``cal_cache_file`` and
``cal_json_file``.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path

from frcnn_core.detector.quantized_layers import STEPS
from frcnn_core.errors import ModelFileError
from frcnn_core.files import write_whole
from frcnn_core.plugin import Int8Options

TENSORRT = "8.6.1"
"""The version that a cache names where TensorRT is not installed: the last one that calibrates by
itself and does not call that deprecated."""


def files(output: Path, options: Int8Options, *, always: bool = True) -> list[Path]:
    """What ``write_ranges`` writes.

    Args:
        always: the calibration cache is written whether or not it is asked for, as the
            documentation has it.
    """
    return [path for path in _places(output, options, always) if path]


def write_ranges(
    output: Path, options: Int8Options, ranges: Mapping[str, float], *, always: bool = True
) -> list[Path]:
    """Write the calibration cache, and the JSON file if one is asked for.

    Args:
        output: the exported model.
        ranges: by tensor, in the order that data flows.
        always: see ``files``.
    """
    cache, as_json = _places(output, options, always)
    if cache:
        write_whole(cache, cache_text(ranges))
    if as_json:
        write_whole(as_json, json.dumps({"tensor_scales": dict(ranges)}, indent=2) + "\n")
    return files(output, options, always=always)


def _places(output: Path, options: Int8Options, always: bool) -> tuple[Path | None, Path | None]:
    """Of the cache and of the JSON file; None for one that is not written."""
    beside = output.parent / "cal.bin" if always else None
    return options.cal_cache_file or beside, options.cal_json_file


def cache_text(ranges: Mapping[str, float], version: str | None = None) -> str:
    """A calibration cache: for each tensor, the bits of its scale (range / 127) as float32.

    Args:
        version: of TensorRT, e.g. ``8.6.1``; the installed one unless given.
    """
    numbers = [int(number) for number in re.findall(r"\d+", version or _tensorrt())[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    lines = [f"TRT-{major * 1000 + minor * 100 + patch}-EntropyCalibration2"]
    for name, value in ranges.items():
        lines.append(f"{name}: {struct.pack('>f', value / STEPS).hex()}")
    return "\n".join(lines) + "\n"


def read_cache(path: Path) -> dict[str, float]:
    """The ranges in a calibration cache, by tensor.

    Raises:
        ModelFileError: it is none, or it is damaged.
    """
    try:
        head, *lines = path.read_text().splitlines()
        if not re.fullmatch(r"TRT-\d+-\w+", head):
            raise ValueError("its first line does not say which TensorRT made it")
        ranges = {}
        for line in filter(None, lines):
            name, _, code = line.rpartition(": ")
            ranges[name] = struct.unpack(">f", bytes.fromhex(code))[0] * STEPS
        return ranges
    except (OSError, ValueError, struct.error) as error:
        raise ModelFileError(f"{path} is no calibration cache of TensorRT: {error}.") from error


def _tensorrt() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tensorrt")
    except PackageNotFoundError:
        return TENSORRT
