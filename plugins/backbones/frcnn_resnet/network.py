"""Layers of the ResNet family, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.  Stages 1 to 3 see the image, stage 4 sees
pooled RoIs.  The stride of a stage sits on the first convolution of its first unit, which in
bottlenecks is the 1x1 (the paper's layout, not torchvision's).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from frcnn_core.detector import Blocks

UNITS = {
    "10": (1, 1, 1, 1),
    "18": (2, 2, 2, 2),
    "34": (3, 4, 6, 3),
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
}
"""Residual units per stage."""

BOTTLENECKS = ("50", "101")


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stem and stages 1 to 3: (B, H, W, C) to (B, H/16, W/16, 256 or 1024), rounded up."""
    x = blocks.conv_bn(
        images, 64, 7, name="conv1", block=0, strides=2, bn="bn_conv1", activation_name="relu_conv1"
    )
    if blocks.config.use_pooling:
        x = blocks.max_pool(x, 3, strides=2, name="pool1")
    x = _stage(x, blocks, 1, strides=1 if blocks.config.use_pooling else 2)
    x = _stage(x, blocks, 2, strides=2)
    return _stage(x, blocks, 3, strides=2)


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stage 4 and the average over each RoI: (B*R, S, S, C) to (B*R, 512 or 2048)."""
    x = _stage(rois, blocks, 4, strides=2 if blocks.config.pool_size_2x else 1)
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _stage(x: keras.KerasTensor, blocks: Blocks, stage: int, *, strides: int) -> keras.KerasTensor:
    width = 64 * 2 ** (stage - 1)
    convolutions: Sequence[tuple[int, int]]
    if blocks.config.variant in BOTTLENECKS:
        convolutions = ((1, width), (3, width), (1, 4 * width))
    else:
        convolutions = ((3, width), (3, width))
    for unit in range(UNITS[blocks.config.variant][stage - 1]):
        x = _unit(
            x,
            blocks,
            convolutions,
            name=f"block_{stage}{letters(unit)}",
            block=stage,
            strides=strides if unit == 0 else 1,
            project=unit == 0 or blocks.config.all_projections,
        )
    return x


def _unit(
    x: keras.KerasTensor,
    blocks: Blocks,
    convolutions: Sequence[tuple[int, int]],
    *,
    name: str,
    block: int,
    strides: int,
    project: bool,
) -> keras.KerasTensor:
    """Convolutions ((kernel, filters), ...) and the shortcut around them."""
    shortcut, last = x, len(convolutions)
    for j, (kernel, filters) in enumerate(convolutions, start=1):
        x = blocks.conv_bn(
            x,
            filters,
            kernel,
            name=f"{name}_conv_{j}",
            block=block,
            strides=strides if j == 1 else 1,
            bn=f"{name}_bn_{j}",
            activation="relu" if j < last else None,
            activation_name=f"{name}_relu_{j}",
        )
    if project:
        shortcut = blocks.conv_bn(
            shortcut,
            filters,
            1,
            name=f"{name}_conv_shortcut",
            block=block,
            strides=strides,
            bn=f"{name}_bn_shortcut",
            activation=None,
        )
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return blocks.activation(x, "relu", name=f"{name}_relu")


def letters(index: int) -> str:
    """a to z, then aa, ab and so on."""
    last = chr(ord("a") + index % 26)
    return last if index < 26 else letters(index // 26 - 1) + last
