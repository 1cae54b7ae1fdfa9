"""The graphs of a detector, drawn with fresh weights.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

from typing import Protocol

import keras

from frcnn_core.detector.layers import BackboneConfig, Blocks


class Drawing(Protocol):
    """What draws a backbone's two halves; every ``frcnn_core.Backbone`` does."""

    def features(self, images: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        """Images (B, H, W, 1 or 3) to a stride-16 map (B, ceil(H/16), ceil(W/16), C)."""

    def head(self, rois: keras.KerasTensor, blocks: Blocks) -> keras.KerasTensor:
        """Pooled RoIs (B*R, S, S, C) to one vector per RoI (B*R, D)."""


def draw(
    backbone: Drawing,
    config: BackboneConfig,
    *,
    channels: int,
    anchors_per_cell: int,
    num_classes: int,
) -> tuple[keras.Model, keras.Model, keras.Model]:
    """The three graphs of a detector, with fresh weights.

    Args:
        backbone: draws the feature extractor and the head's body.
        config: the spec's ``model_config``.
        channels: of the images, 1 or 3.
        anchors_per_cell: A.
        num_classes: K, background not counted.

    Returns:
        features, rpn and head, as FasterRCNN takes them.
    """
    blocks = Blocks(config)
    features = draw_features(backbone, blocks, channels=channels)

    depth = features.output.shape[-1]
    cells = keras.Input((None, None, depth), name="feature_map")
    x = blocks.conv(cells, 512, 3, name="rpn_conv1", block=None, use_bias=True, activation="relu")
    objectness = blocks.conv(
        x, anchors_per_cell, 1, name="rpn_out_class", block=None, use_bias=True
    )
    deltas = blocks.conv(
        x, 4 * anchors_per_cell, 1, name="rpn_out_regress", block=None, use_bias=True
    )
    rpn = keras.Model(cells, [objectness, deltas], name="rpn")

    body = draw_head(backbone, blocks, depth=depth)
    rois, vector = body.inputs[0], body.outputs[0]
    classes = blocks.dense(vector, num_classes + 1, name="dense_class")
    refinements = blocks.dense(vector, 4 * num_classes, name="dense_regress")
    head = keras.Model(rois, [classes, refinements], name="head")
    return features, rpn, head


def draw_backbone(
    backbone: Drawing, config: BackboneConfig, *, channels: int = 3
) -> tuple[keras.Model, keras.Model]:
    """A backbone's two graphs, with fresh weights, apart from a detector."""
    blocks = Blocks(config)
    features = draw_features(backbone, blocks, channels=channels)
    return features, draw_head(backbone, blocks, depth=features.output.shape[-1])


def draw_features(backbone: Drawing, blocks: Blocks, *, channels: int) -> keras.Model:
    """Images (B, H, W, channels) to a map (B, h, w, C), with fresh weights."""
    images = keras.Input((None, None, channels), name="input_image")
    return keras.Model(images, backbone.features(images, blocks), name="features")


def draw_head(backbone: Drawing, blocks: Blocks, *, depth: int) -> keras.Model:
    """Pooled RoIs (B*R, S, S, depth) to vectors (B*R, D), with fresh weights."""
    side = blocks.config.roi_side
    rois = keras.Input((side, side, depth), name="pooled_rois")
    return keras.Model(rois, backbone.head(rois, blocks), name="head")
