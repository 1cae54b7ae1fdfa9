"""From RPN output to proposals, and the suppression of overlapping boxes.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import tensorflow as tf

from frcnn_core import boxes as geometry
from frcnn_core.structures import Proposals

MIN_SIDE = 1.0
"""Pixels: decoded boxes that are not wider and higher than this are dropped."""


def propose(
    scores: tf.Tensor,
    deltas: tf.Tensor,
    anchors: tf.Tensor,
    sizes: tf.Tensor,
    *,
    pre_nms: int,
    post_nms: int,
    iou: float,
    own: tf.Tensor | None = None,
) -> Proposals:
    """The best-scored boxes of each image that do not overlap each other too much.

    Args:
        scores: (B, N) objectness in [0, 1].
        deltas: (B, N, 4) offsets from the anchors.
        anchors: (N, 4).
        sizes: (B, 2) valid height and width of each image in pixels.
        pre_nms: boxes that enter the suppression (``rpn_pre_nms_top_N``).
        post_nms: P, boxes that leave it (``rpn_nms_max_boxes``); fewer are padded with zeros.
        iou: overlap above which the lower-scored box goes (``rpn_nms_overlap_threshold``).
        own: (B, N) bool, False for anchors that a batch's padding adds to an image
            (``Anchors.places``); they propose nothing.

    Source: Ren et al. 2015, section 3.3.
    """
    boxes = geometry.clip(geometry.decode(deltas, anchors), sizes)
    height, width = boxes[:, :, 2] - boxes[:, :, 0], boxes[:, :, 3] - boxes[:, :, 1]
    usable = (height > MIN_SIDE) & (width > MIN_SIDE)
    scores = tf.where(usable if own is None else usable & own, scores, -1.0)
    scores, order = tf.math.top_k(scores, k=tf.minimum(pre_nms, tf.shape(scores)[1]))
    boxes = tf.gather(boxes, order, batch_dims=1)
    kept = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :],
        scores[:, :, None],
        max_output_size_per_class=post_nms,
        max_total_size=post_nms,
        iou_threshold=iou,
        score_threshold=-0.5,  # below any score, above the -1 of dropped boxes
        clip_boxes=False,
    )
    return Proposals(kept.nmsed_boxes, kept.nmsed_scores)
