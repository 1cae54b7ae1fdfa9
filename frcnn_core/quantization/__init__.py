"""Quantization-aware training: where in a detector numbers are rounded to those of int8."""

from frcnn_core.quantization import insertion
from frcnn_core.quantization.insertion import quantize
from frcnn_core.quantization.ranges import (
    Quantization,
    Ranges,
    quantization,
    quantizers,
    ranges,
)

__all__ = [
    "Quantization",
    "Ranges",
    "insertion",
    "quantization",
    "quantize",
    "quantizers",
    "ranges",
]
