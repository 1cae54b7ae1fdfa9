"""What this processor can, where a test depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest


def _flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


needs_exact_int8 = pytest.mark.skipif(
    "avx2" in _flags() and not {"avx512_vnni", "avx_vnni", "amx_int8"} & _flags(),
    reason="without VNNI ONNX Runtime adds two products of int8 in 16 bits, and cuts them off",
)
"""For a test in which ONNX Runtime has to add products of int8 exactly.

Source: ONNX Runtime's documentation, Quantize ONNX models, on U8S8 with AVX2.
"""
