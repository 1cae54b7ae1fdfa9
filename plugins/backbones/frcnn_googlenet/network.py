"""Layers of GoogLeNet, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.  Up to inception 4e they see the image, 5a and
5b see pooled RoIs.  As in TLT every convolution is normalized, and the pools between stages are 2x2
where the paper's are 3x3.
"""

from __future__ import annotations

import keras

from frcnn_core.detector import Blocks

INCEPTIONS = {
    # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each module; table 1 of the paper."""

FREEZE_IDS = {"3a": 1, "3b": 2, "4a": 3, "4b": 4, "4c": 5, "4d": 6, "4e": 7}
"""Of each module that can be frozen; 0 is everything before."""


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stem to inception 4e: (B, H, W, C) to (B, H/16, W/16, 832), rounded up."""
    x = _conv(images, blocks, 64, 7, name="conv1", bn="bn_conv1", block=0, strides=2)
    x = blocks.max_pool(x, 2, strides=2, name="pool1")
    x = _conv(x, blocks, 64, 1, name="conv2_reduce", bn="bn_conv2_reduce", block=0)
    x = _conv(x, blocks, 192, 3, name="conv2", bn="bn_conv2", block=0)
    x = blocks.max_pool(x, 2, strides=2, name="pool2")
    x = _inceptions(x, blocks, "3a", "3b")
    x = blocks.max_pool(x, 2, strides=2, name="pool3")
    return _inceptions(x, blocks, "4a", "4b", "4c", "4d", "4e")


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Inceptions 5a and 5b and the average over each RoI: (B*R, S, S, 832) to (B*R, 1024)."""
    x = rois
    if blocks.config.pool_size_2x:
        x = blocks.max_pool(x, 2, strides=2, name="pool4")
    x = _inceptions(x, blocks, "5a", "5b")
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _inceptions(x: keras.KerasTensor, blocks: Blocks, *modules: str) -> keras.KerasTensor:
    for module in modules:
        x = _inception(x, blocks, module)
    return x


def _inception(x: keras.KerasTensor, blocks: Blocks, module: str) -> keras.KerasTensor:
    """Four branches over one map: (B, h, w, C) to (B, h, w, sum of the branches' filters)."""
    name, block = f"inception_{module}", FREEZE_IDS.get(module)
    one, reduce_3, three, reduce_5, five, projection = INCEPTIONS[module]

    def conv(x: keras.KerasTensor, filters: int, kernel: int, part: str) -> keras.KerasTensor:
        part = f"{name}_{part}"
        return _conv(x, blocks, filters, kernel, name=part, bn=f"{part}_bn", block=block)

    branch_1 = conv(x, one, 1, "1x1")
    branch_2 = conv(conv(x, reduce_3, 1, "3x3_reduce"), three, 3, "3x3")
    branch_3 = conv(conv(x, reduce_5, 1, "5x5_reduce"), five, 5, "5x5")
    pooled = blocks.max_pool(x, 3, strides=1, name=f"{name}_pool")
    branch_4 = conv(pooled, projection, 1, "pool_proj")
    branches = [branch_1, branch_2, branch_3, branch_4]
    return keras.layers.Concatenate(name=f"{name}_output")(branches)


def _conv(
    x: keras.KerasTensor,
    blocks: Blocks,
    filters: int,
    kernel: int,
    *,
    name: str,
    bn: str,
    block: int | None,
    strides: int = 1,
) -> keras.KerasTensor:
    return blocks.conv_bn(
        x,
        filters,
        kernel,
        name=name,
        block=block,
        strides=strides,
        bn=bn,
        activation_name=f"{name}_relu",
    )
