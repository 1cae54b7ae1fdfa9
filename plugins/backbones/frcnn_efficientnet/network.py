"""Layers of the EfficientNet family, named as in TLT and in keras.applications.

Shape letters are those of ``frcnn_core.structures``.  Stages 1 to 5 see the image, 6 and 7 see
pooled RoIs.  Zeros go where TensorFlow puts them, as in the network the authors published.
"""

from __future__ import annotations

from typing import Any

import keras

from frcnn_core.detector import Blocks
from frcnn_efficientnet.scaling import (
    STEM_FILTERS,
    TOP_FILTERS,
    Block,
    scaled_blocks,
    scaled_filters,
)

HEAD_STAGE = 6
"""The first stage that sees pooled RoIs.  It has its stride only where they are doubled."""

TOP = 8
"""Freezing id of the last convolution.  The stem's is 0, a stage's is its number."""


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stem and stages 1 to 5: (B, H, W, C) to (B, H/16, W/16, 112 in b0), rounded up."""
    variant = blocks.config.variant
    filters = scaled_filters(STEM_FILTERS, variant)
    x = _conv(images, blocks, filters, 3, name="stem_conv", block=0, strides=2)
    x = blocks.norm(x, name="stem_bn")
    x = _activation(x, blocks, name="stem_activation")
    for block in scaled_blocks(variant):
        if block.stage < HEAD_STAGE:
            x = _inverted_residual(x, blocks, block)
    return x


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stages 6 and 7, a last convolution, and the average over each RoI: (B*R, S, S, C) to
    (B*R, 1280 in b0)."""
    variant, x = blocks.config.variant, rois
    for block in scaled_blocks(variant):
        if block.stage >= HEAD_STAGE:
            strides = block.strides if blocks.config.pool_size_2x else 1
            x = _inverted_residual(x, blocks, block._replace(strides=strides))
    x = _conv(x, blocks, scaled_filters(TOP_FILTERS, variant), 1, name="top_conv", block=TOP)
    x = blocks.norm(x, name="top_bn")
    x = _activation(x, blocks, name="top_activation")
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return blocks.dropout(x, name="top_dropout")


def _inverted_residual(x: keras.KerasTensor, blocks: Blocks, block: Block) -> keras.KerasTensor:
    """Expand, filter each channel, excite, project without an activation; around it an identity."""
    name, stage, inputs, channels = block.prefix, block.stage, x, x.shape[-1]
    if block.expansion != 1:
        x = _conv(x, blocks, block.expansion * channels, 1, name=f"{name}expand_conv", block=stage)
        x = blocks.norm(x, name=f"{name}expand_bn")
        x = _activation(x, blocks, name=f"{name}expand_activation")
    x = blocks.depthwise(
        x,
        block.kernel,
        name=f"{name}dwconv",
        block=stage,
        strides=block.strides,
        padding="tensorflow",
        initializer=_initializer(),
    )
    x = blocks.norm(x, name=f"{name}bn")
    x = _activation(x, blocks, name=f"{name}activation")
    x = _excited(x, blocks, max(1, channels // 4), name=name, block=stage)
    x = _conv(x, blocks, block.filters, 1, name=f"{name}project_conv", block=stage, use_bias=False)
    x = blocks.norm(x, name=f"{name}project_bn")
    if channels != block.filters or block.strides != 1:
        return x
    # The deeper a block, the more often it drops; never more often than the spec says.  The
    # original divides by b0's 16 blocks in every variant, and so exceeds the spec in deeper ones.
    x = blocks.drop_branch(x, blocks.config.drop_connect_rate * block.depth, name=f"{name}drop")
    return keras.layers.Add(name=f"{name}add")([x, inputs])


def _excited(
    x: keras.KerasTensor, blocks: Blocks, filters: int, *, name: str, block: int | None
) -> keras.KerasTensor:
    """Channels weighted by what an image or RoI holds as a whole; Hu et al. 2017,
    https://arxiv.org/abs/1709.01507."""
    x_mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}se_squeeze")(x)
    weights = _conv(
        x_mean,
        blocks,
        filters,
        1,
        name=f"{name}se_reduce",
        block=block,
        use_bias=True,
        activation=_kind(blocks),
    )
    weights = _conv(
        weights,
        blocks,
        x.shape[-1],
        1,
        name=f"{name}se_expand",
        block=block,
        use_bias=True,
        activation="sigmoid",
    )
    return keras.layers.Multiply(name=f"{name}se_excite")([x, weights])


def _conv(
    x: keras.KerasTensor, blocks: Blocks, filters: int, kernel: int, **kwargs: Any
) -> keras.KerasTensor:
    return blocks.conv(
        x, filters, kernel, padding="tensorflow", initializer=_initializer(), **kwargs
    )


def _activation(x: keras.KerasTensor, blocks: Blocks, *, name: str) -> keras.KerasTensor:
    return blocks.activation(x, _kind(blocks), name=name)


def _kind(blocks: Blocks) -> str:
    return blocks.config.activation or "swish"


def _initializer() -> keras.initializers.Initializer:
    # An instance draws the same numbers again each time it is used, so each layer has its own.
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")
