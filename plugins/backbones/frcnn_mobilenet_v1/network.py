"""Layers of MobileNet V1 at full width, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import keras

from frcnn_core.detector import Blocks

STEM_FILTERS = 32

BLOCKS = {
    1: (64, 1),
    2: (128, 2),
    3: (128, 1),
    4: (256, 2),
    5: (256, 1),
    6: (512, 2),
    7: (512, 1),
    8: (512, 1),
    9: (512, 1),
    10: (512, 1),
    11: (512, 1),
    12: (1024, 2),
    13: (1024, 1),
}
"""Filters and stride of each separable convolution: the paper's table 1."""

HEAD = 12
"""The first block that sees pooled RoIs.  It has its stride only where they are doubled."""


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stem and blocks 1 to 11: (B, H, W, C) to (B, H/16, W/16, 512), rounded up."""
    padding = blocks.config.options.padding
    x = blocks.conv(images, STEM_FILTERS, 3, name="conv1", block=0, strides=2, padding=padding)
    x = _bn_relu(x, blocks, name="conv1")
    for block in range(1, HEAD):
        filters, strides = BLOCKS[block]
        x = _separable(x, blocks, filters, index=block, block=block, strides=strides)
    return x


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Blocks 12 and 13 and the average over each RoI: (B*R, S, S, C) to (B*R, 1024)."""
    x = rois
    for block in (HEAD, HEAD + 1):
        filters, strides = BLOCKS[block]
        strides = strides if blocks.config.pool_size_2x else 1
        x = _separable(x, blocks, filters, index=block, block=None, strides=strides)
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _separable(
    x: keras.KerasTensor,
    blocks: Blocks,
    filters: int,
    *,
    index: int,
    block: int | None,
    strides: int,
) -> keras.KerasTensor:
    """One filter for each channel, then a mix of the channels."""
    x = blocks.depthwise(
        x,
        3,
        name=f"conv_dw_{index}",
        block=block,
        strides=strides,
        padding=blocks.config.options.padding,
        pad_name=f"conv_pad_{index}",
    )
    x = _bn_relu(x, blocks, name=f"conv_dw_{index}")
    x = blocks.conv(x, filters, 1, name=f"conv_pw_{index}", block=block)
    return _bn_relu(x, blocks, name=f"conv_pw_{index}")


def _bn_relu(x: keras.KerasTensor, blocks: Blocks, *, name: str) -> keras.KerasTensor:
    x = blocks.norm(x, name=f"{name}_bn")
    kind = "relu6" if blocks.config.options.relu6 else "relu"
    return blocks.activation(x, kind, name=f"{name}_relu")
