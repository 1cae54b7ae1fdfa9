"""The blocks of each EfficientNet: one table, scaled in depth and width.

Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946, table 1 and section 3.3.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Stage(NamedTuple):
    kernel: int
    repeats: int
    filters: int
    expansion: int
    strides: int


STAGES = {
    1: Stage(3, 1, 16, 1, 1),
    2: Stage(3, 2, 24, 6, 2),
    3: Stage(5, 2, 40, 6, 2),
    4: Stage(3, 3, 80, 6, 2),
    5: Stage(5, 3, 112, 6, 1),
    6: Stage(5, 4, 192, 6, 2),
    7: Stage(3, 1, 320, 6, 1),
}
"""b0's: the paper's table 1, where they are numbered from 2."""

STEM_FILTERS = 32
TOP_FILTERS = 1280

SCALES = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
"""What width and depth are multiplied by."""


class Block(NamedTuple):
    """One inverted residual block."""

    prefix: str
    """Of the names of its layers, e.g. ``block2a_``."""
    stage: int
    kernel: int
    filters: int
    expansion: int
    strides: int
    depth: float
    """Blocks before it, as a part of all blocks of the network."""


def scaled_blocks(variant: str) -> list[Block]:
    """All blocks of a variant, of stages 1 to 7."""
    _, depth = SCALES[variant]
    repeats = {number: math.ceil(depth * stage.repeats) for number, stage in STAGES.items()}
    total = sum(repeats.values())
    blocks: list[Block] = []
    for number, stage in STAGES.items():
        for repeat in range(repeats[number]):
            blocks.append(
                Block(
                    prefix=f"block{number}{chr(ord('a') + repeat)}_",
                    stage=number,
                    kernel=stage.kernel,
                    filters=scaled_filters(stage.filters, variant),
                    expansion=stage.expansion,
                    strides=stage.strides if repeat == 0 else 1,
                    depth=len(blocks) / total,
                )
            )
    return blocks


def scaled_filters(filters: int, variant: str) -> int:
    """Scaled in width, to the nearest multiple of 8 that is not below 90 % of it."""
    width, _ = SCALES[variant]
    exact = filters * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded
