"""Layers of DarkNet 19 and 53, named as in TLT.

Shape letters are those of ``frcnn_core.structures``.  Stages 1 to 4 see the image, stage 5 sees
pooled RoIs.  Unlike other heads, stage 5 can be frozen.
"""

from __future__ import annotations

import keras

from frcnn_core.detector import Blocks

DARKNET_19 = (
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
"""Filters and kernels of stages 1 to 5; table 6 of YOLO9000."""

DARKNET_53 = (1, 2, 8, 8, 4)
"""Residual units of stages 1 to 5, each 64 to 1024 filters wide; table 1 of YOLOv3."""


def features(images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """First convolution and stages 1 to 4: (B, H, W, C) to (B, H/16, W/16, 512), rounded up."""
    x = _conv(images, blocks, 32, 3, name="conv1", block=0)
    for stage in range(1, 5):
        if blocks.config.variant == "19":
            x = blocks.max_pool(x, 2, strides=2, name=f"maxpool_{stage}")
            x = _plain_stage(x, blocks, stage, strides=1)
        else:
            x = _residual_stage(x, blocks, stage, strides=2)
    return x


def head(rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
    """Stage 5 and the average over each RoI: (B*R, S, S, 512) to (B*R, 1024).

    RoI pooling takes the place of what shrinks the map before stage 5: DarkNet 19's last pool, and
    the stride of DarkNet 53.
    """
    stage = _plain_stage if blocks.config.variant == "19" else _residual_stage
    x = stage(rois, blocks, 5, strides=2 if blocks.config.pool_size_2x else 1)
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _plain_stage(
    x: keras.KerasTensor, blocks: Blocks, stage: int, *, strides: int
) -> keras.KerasTensor:
    """Convolutions in a row, the first with the stride."""
    for number, (filters, kernel) in enumerate(DARKNET_19[stage - 1], start=1):
        x = _conv(
            x,
            blocks,
            filters,
            kernel,
            name=f"b{stage}_conv{number}",
            block=stage,
            strides=strides if number == 1 else 1,
        )
    return x


def _residual_stage(
    x: keras.KerasTensor, blocks: Blocks, stage: int, *, strides: int
) -> keras.KerasTensor:
    """A convolution with the stride, then residual units, linear after their sum."""
    filters = 32 * 2**stage
    x = _conv(x, blocks, filters, 3, name=f"conv{stage + 1}", block=stage, strides=strides)
    for unit in range(1, DARKNET_53[stage - 1] + 1):
        name, shortcut = f"b{stage}_conv{unit}", x
        x = _conv(x, blocks, filters // 2, 1, name=f"{name}_1", block=stage)
        x = _conv(x, blocks, filters, 3, name=f"{name}_2", block=stage)
        x = keras.layers.Add(name=f"b{stage}_add{unit}")([shortcut, x])
    return x


def _conv(
    x: keras.KerasTensor,
    blocks: Blocks,
    filters: int,
    kernel: int,
    *,
    name: str,
    block: int | None,
    strides: int = 1,
) -> keras.KerasTensor:
    """A convolution, its normalization, and a ReLU that lets a tenth of what is negative pass."""
    x = blocks.conv(x, filters, kernel, name=name, block=block, strides=strides)
    x = blocks.norm(x, name=f"{name}_bn")
    return keras.layers.LeakyReLU(negative_slope=0.1, name=f"{name}_lrelu")(x)
