"""Which number format the layers compute in."""

from __future__ import annotations

import logging
from pathlib import Path

import tensorflow as tf

logger = logging.getLogger(__name__)

CPU_FLAGS = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def policy(*, use_amp: bool) -> str:
    """The Keras dtype policy for training.

    Mixed precision is float16 on a GPU, whose loss must then be scaled, and bfloat16 on a CPU.
    Weights, boxes, scores and losses stay float32 in either.
    """
    if not use_amp:
        return "float32"
    if tf.config.get_visible_devices("GPU"):
        return "mixed_float16"
    if not _multiplies_bfloat16():
        logger.warning(
            "--use_amp: this CPU does not compute in bfloat16 by itself, so training will be "
            "slower than without."
        )
    return "mixed_bfloat16"


def _multiplies_bfloat16() -> bool:
    """Whether the CPU says so; where it says nothing, it gets the benefit of the doubt."""
    try:
        words = CPU_FLAGS.read_text().split()
    except OSError:
        return True
    return bool(BFLOAT16_FLAGS & set(words)) or "flags" not in words
