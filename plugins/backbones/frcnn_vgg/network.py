"""Layers of VGG 16 and 19, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.  Blocks 1 to 5 see the image, the dense
layers see pooled RoIs.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras

from frcnn_core.detector import Blocks

CONVOLUTIONS = {
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}
"""Convolutions per block."""

FILTERS = (64, 128, 256, 512, 512)
"""Of every convolution of a block."""


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Blocks 1 to 5: (B, H, W, C) to (B, H/16, W/16, 512), rounded up.

    With ``use_pooling`` a pool ends each of blocks 1 to 4, as in the paper; else each of blocks 2
    to 5 begins with a stride of 2.
    """
    x = images
    pooled = blocks.config.use_pooling
    for block, filters in enumerate(FILTERS, start=1):
        for letter in letters(blocks.config.variant, block):
            strided = block > 1 and letter == "a" and not pooled
            x = blocks.conv_bn(
                x,
                filters,
                3,
                name=f"block_{block}{letter}_conv_1",
                block=block,
                strides=2 if strided else 1,
                bn=f"block_{block}{letter}_bn_1",
                activation_name=f"block_{block}{letter}_relu",
            )
        if pooled and block < 5:
            x = blocks.max_pool(x, 2, strides=2, name=f"block{block}_pool")
    return x


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Two dense layers: (B*R, S, S, 512) to (B*R, 4096).

    The kernel of ``fc1`` has 512 * pool_size * pool_size rows: it fits one ``pool_size`` only.
    """
    x = rois
    if blocks.config.pool_size_2x:
        x = blocks.max_pool(x, 2, strides=2, name="classifier_pool")
    x = keras.layers.Flatten(name="classifier_flatten")(x)
    for name in ("fc1", "fc2"):
        x = blocks.dense(x, 4096, name=name, activation="relu")
        x = blocks.dropout(x, name=f"{name}_dropout")
    return x


def letters(variant: str, block: int) -> Iterator[str]:
    """One for each convolution of a block, counted from 1: a, b and so on."""
    return iter("abcd"[: CONVOLUTIONS[variant][block - 1]])
