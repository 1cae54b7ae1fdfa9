"""Kernels as int8 codes, with a scale for each output channel."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from frcnn_core.detector import graphs
from frcnn_core.detector.quantized_layers import (
    SMALLEST_RANGE,
    STEPS,
    QuantizedDepthwiseConv2D,
    QuantizedKernel,
)


def largest_codes(parts: Mapping[str, keras.Model]) -> dict[str, np.ndarray]:
    """The largest absolute code of each output channel of kernels that were trained in int8.

    Where a kernel has one range for all channels, only its largest channel reaches 127.  In the
    converted graph a batch normalization is folded into the kernel, which changes the scale of a
    channel but none of its codes; so from the largest code and the largest value there, the codes
    are found again (``quantized``).

    Returns:
        By ``part/layer``, (output channels,); nothing for kernels that were not quantized.
    """
    codes = {}
    for name, part in parts.items():
        for path, layer in graphs.leaves(part, name):
            if isinstance(layer, QuantizedKernel):
                codes[path] = _largest_codes(layer)
    return codes


def _largest_codes(layer: QuantizedKernel) -> np.ndarray:
    kernel = np.asarray(layer.kernel.value)
    scale = np.maximum(np.asarray(layer.kernel_range()), np.float32(SMALLEST_RANGE)) / np.float32(
        STEPS
    )
    # Depthwise kernels are (k, k, C, m), and their outputs C*m; others end in their outputs.
    last = 2 if isinstance(layer, QuantizedDepthwiseConv2D) else 1
    channels = int(np.prod(kernel.shape[-last:]))
    return np.abs(np.rint(kernel.reshape(-1, channels) / scale)).max(axis=0)


def quantized(
    kernel: np.ndarray, *, axis: int, largest: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales of a kernel.

    Args:
        kernel: float32, of any shape.
        axis: of its output channels, C of them.
        largest: (C,) the largest absolute code of each; 127 unless given.

    Returns:
        Codes, int8 of the kernel's shape in -127..127, and scales (C,) float32: code * scale is
        the kernel, rounded.
    """
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    values = np.abs(kernel).max(axis=others)
    codes = np.full(len(values), STEPS) if largest is None else np.maximum(largest, 1)
    # A channel of zeros has codes of 0, whatever its scale.
    scales = np.where(values > 0, values / codes, 1.0).astype(np.float32)
    shape = [1] * kernel.ndim
    shape[axis] = -1
    rounded = np.rint(kernel / scales.reshape(shape))
    return np.clip(rounded, -STEPS, STEPS).astype(np.int8), scales
