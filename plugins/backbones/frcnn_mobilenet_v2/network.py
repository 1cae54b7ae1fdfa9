"""Layers of MobileNet V2 at full width, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import keras

from frcnn_core.detector import Blocks

STEM_FILTERS = 32

BLOCKS = (
    (1, 16, 1),  # 0
    (6, 24, 2),  # 1
    (6, 24, 1),  # 2
    (6, 32, 2),  # 3
    (6, 32, 1),  # 4
    (6, 32, 1),  # 5
    (6, 64, 2),  # 6
    (6, 64, 1),  # 7
    (6, 64, 1),  # 8
    (6, 64, 1),  # 9
    (6, 96, 1),  # 10
    (6, 96, 1),  # 11
    (6, 96, 1),  # 12
    (6, 160, 2),  # 13
    (6, 160, 1),  # 14
    (6, 160, 1),  # 15
    (6, 320, 1),  # 16
)
"""Expansion, filters and stride of each bottleneck: the paper's table 2, unrolled."""

HEAD = 13
"""The first bottleneck that sees pooled RoIs.  It has its stride only where they are doubled."""

TOP_FILTERS = 1280


def prefix(index: int) -> str:
    """What the names of a bottleneck's layers begin with."""
    return f"block_{index}_" if index else "expanded_conv_"


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stem and bottlenecks 0 to 12: (B, H, W, C) to (B, H/16, W/16, 96), rounded up."""
    padding = blocks.config.options.padding
    x = blocks.conv(images, STEM_FILTERS, 3, name="conv1", block=0, strides=2, padding=padding)
    x = _relu(_norm(x, blocks, name="bn_conv1"), blocks, name="conv1_relu")
    for index, (expansion, filters, strides) in enumerate(BLOCKS[:HEAD]):
        # The stem has freezing id 0, so a bottleneck's is one more than its index.
        x = _bottleneck(x, blocks, expansion, filters, strides, index=index, block=index + 1)
    return x


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Bottlenecks 13 to 16, a last convolution, and the average over each RoI: (B*R, S, S, C) to
    (B*R, 1280)."""
    x = rois
    for index, (expansion, filters, strides) in enumerate(BLOCKS[HEAD:], start=HEAD):
        strides = strides if blocks.config.pool_size_2x else 1
        x = _bottleneck(x, blocks, expansion, filters, strides, index=index, block=None)
    x = blocks.conv(x, TOP_FILTERS, 1, name="conv_1", block=None)
    x = _relu(_norm(x, blocks, name="conv_1_bn"), blocks, name="conv_1_relu")
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _bottleneck(
    x: keras.KerasTensor,
    blocks: Blocks,
    expansion: int,
    filters: int,
    strides: int,
    *,
    index: int,
    block: int | None,
) -> keras.KerasTensor:
    """Expand, filter each channel, project without an activation; around it an identity."""
    name, inputs, channels = prefix(index), x, x.shape[-1]
    if expansion != 1:
        x = blocks.conv(x, expansion * channels, 1, name=f"{name}expand", block=block)
        x = _norm(x, blocks, name=f"{name}expand_bn")
        x = _relu(x, blocks, name=f"{name}expand_relu")
    padding = blocks.config.options.padding
    x = blocks.depthwise(
        x, 3, name=f"{name}depthwise", block=block, strides=strides, padding=padding
    )
    x = _norm(x, blocks, name=f"{name}depthwise_bn")
    x = _relu(x, blocks, name=f"{name}depthwise_relu")
    x = blocks.conv(x, filters, 1, name=f"{name}project", block=block)
    x = _norm(x, blocks, name=f"{name}project_bn")
    if channels != filters or strides != 1:
        return x
    if blocks.config.all_projections:
        inputs = blocks.conv(inputs, filters, 1, name=f"{name}projected_inputs", block=block)
    return keras.layers.Add(name=f"{name}add")([inputs, x])


def _norm(x: keras.KerasTensor, blocks: Blocks, *, name: str) -> keras.KerasTensor:
    return blocks.norm(x, name=name, epsilon=1e-3, momentum=0.999)


def _relu(x: keras.KerasTensor, blocks: Blocks, *, name: str) -> keras.KerasTensor:
    kind = "relu6" if blocks.config.options.relu6 else "relu"
    return blocks.activation(x, kind, name=name)
