"""What stands between and after the three parts of a detector, in operators that TensorFlow Lite
has itself.

The steps and their order are those of ``FasterRCNN.detect``, and so are the numbers, up to
rounding.  Two operations have no counterpart and are written out:

* ``tf.image.crop_and_resize`` is four gathers of cells and their weighted sum.
* ``tf.image.combined_non_max_suppression`` is ``NON_MAX_SUPPRESSION_V4`` for each class, and the
  best of what they leave.

All of it stays in floating point when the parts become int8.  The converter would make int8 of any
sigmoid and softmax that it recognises, for it knows what comes out, and scores would be multiples
of 1/256.  So they are written in pieces that it does not put together (``apart``).

There is one image, so shapes have no B: TensorFlow Lite suppresses the boxes of one image at a
time.  Shape letters are otherwise those of ``frcnn_core.plugin.components``.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import tensorflow as tf

from frcnn_core import boxes as geometry
from frcnn_core.detector import MIN_SIDE, DetectionSettings

NEVER = -1.0
"""The score of what is no candidate: below every score, and every threshold."""


class Found(NamedTuple):
    """Detections of one image, best first; rows beyond the count are zeros, their class -1."""

    boxes: tf.Tensor
    """(D, 4) float32 in network pixels."""
    scores: tf.Tensor
    """(D,) float32."""
    classes: tf.Tensor
    """(D,) int32."""
    count: tf.Tensor  # type: ignore[assignment]  # as tuples have a method of that name
    """() int32."""


def apart(tensor: tf.Tensor) -> tf.Tensor:
    """The same tensor, made by an operator that the converter neither fuses with what is before or
    after it nor computes in int8: the only row of a further axis, in reverse order."""
    return tf.reverse(tensor[None], axis=[0])[0]


def propose(
    logits: tf.Tensor,
    deltas: tf.Tensor,
    anchors: tf.Tensor,
    size: tf.Tensor,
    settings: DetectionSettings,
) -> tf.Tensor:
    """Boxes (P, 4) in network pixels, best first; rows of zeros are padding.

    Args:
        logits: (N,) objectness.
        deltas: (N, 4) offsets from the anchors.
        anchors: (N, 4), of static shape.
        size: (2,) float32 valid height and width of the image in pixels.
        settings: of which those of the RPN are used.
    """
    boxes = geometry.clip(geometry.decode(deltas, anchors)[None], size[None])[0]
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    usable = (height > MIN_SIDE) & (width > MIN_SIDE)
    scores = tf.where(usable, _sigmoid(logits), NEVER)
    scores, order = tf.math.top_k(
        scores, k=min(settings.rpn_pre_nms_top_n, cast("int", anchors.shape[0]))
    )
    boxes, _ = _suppress(
        tf.gather(boxes, order),
        scores,
        most=settings.rpn_nms_max_boxes,
        iou=settings.rpn_nms_overlap_threshold,
        threshold=0.5 * NEVER,
    )
    return boxes


def crop_and_resize(
    features: tf.Tensor, rois: tf.Tensor, image_size: tuple[int, int], *, side: int
) -> tf.Tensor:
    """The feature map under each RoI, sampled bilinearly at ``side`` x ``side`` points.

    Points beyond the last cell are 0, as ``tf.image.crop_and_resize`` has it.

    Args:
        features: (h, w, C), of static shape.
        rois: (P, 4) in network pixels.
        image_size: height and width of the network's input in pixels.
        side: S.

    Returns:
        (P, S, S, C).
    """
    height, width, channels = cast("tuple[int, ...]", features.shape)
    limits = tf.constant([side - 1.0 for side in image_size] * 2)
    corners = rois / limits
    rows, row_shares = _samples(corners[:, 0], corners[:, 2], height, side)
    columns, column_shares = _samples(corners[:, 1], corners[:, 3], width, side)
    cells = tf.reshape(features, [height * width, channels])
    weighted = [
        (row_share[:, :, None] * column_share[:, None, :])[:, :, :, None]
        * tf.gather(cells, row[:, :, None] * width + column[:, None, :])  # (P, S, S, C)
        for row, row_share in zip(rows, row_shares, strict=True)
        for column, column_share in zip(columns, column_shares, strict=True)
    ]
    # Not add_n: only the sum of two is an operator that the CPU's fast library has.
    return (weighted[0] + weighted[1]) + (weighted[2] + weighted[3])


def detect(
    logits: tf.Tensor,
    deltas: tf.Tensor,
    rois: tf.Tensor,
    size: tf.Tensor,
    settings: DetectionSettings,
    *,
    regression_scale: tuple[float, float, float, float],
) -> Found:
    """The head's answer after decoding and suppression.

    Args:
        logits: (P, K+1), background last, of static shape.
        deltas: (P, 4K).
        rois: (P, 4) in network pixels.
        size: (2,) float32 valid height and width of the image in pixels.
        settings: of which those of the classifier are used.
        regression_scale: what deltas are divided by (``training_config.classifier_regr_std``).
    """
    num_rois, num_logits = cast("tuple[int, ...]", logits.shape)
    num_classes = num_logits - 1
    scores = _softmax(logits)[:, :-1]  # (P, K)
    # A padding row of the proposals is a detection of nothing.
    scores = tf.where(geometry.area(rois)[:, None] > 0.0, scores, 0.0)
    deltas = tf.reshape(deltas, [num_rois, num_classes, 4])
    boxes = geometry.decode(deltas / regression_scale, rois[:, None, :])  # (P, K, 4)
    boxes = geometry.clip(tf.reshape(boxes, [1, -1, 4]), size[None])
    boxes = tf.reshape(boxes, [num_rois, num_classes, 4])
    most = settings.classifier_nms_max_boxes
    kept = [
        _suppress(
            boxes[:, index],
            scores[:, index],
            most=min(most, num_rois),
            iou=settings.classifier_nms_overlap_threshold,
            threshold=settings.object_confidence_thres,
        )
        for index in range(num_classes)
    ]
    candidates = tf.concat([boxes for boxes, _ in kept], axis=0)  # (K*min(D, P), 4)
    scores = tf.concat([scores for _, scores in kept], axis=0)
    missing = max(0, most - cast("int", scores.shape[0]))
    candidates = tf.pad(candidates, [[0, missing], [0, 0]])
    scores, order = tf.math.top_k(tf.pad(scores, [[0, missing]], constant_values=NEVER), k=most)
    found = scores > 0.5 * NEVER
    return Found(
        boxes=tf.gather(candidates, order),
        scores=tf.where(found, scores, 0.0),
        classes=tf.where(found, order // min(most, num_rois), -1),
        count=tf.reduce_sum(tf.cast(found, tf.int32)),
    )


def _suppress(
    boxes: tf.Tensor, scores: tf.Tensor, *, most: int, iou: float, threshold: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """What greedy suppression leaves of boxes (N, 4) with scores (N,) above the threshold.

    Returns:
        Boxes (most, 4) and scores (most,), best first; beyond the last one zeros, and ``NEVER``.
    """
    kept, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes,
        scores=scores,
        max_output_size=most,
        iou_threshold=iou,
        score_threshold=threshold,
        pad_to_max_output_size=True,
    )
    kept = tf.ensure_shape(kept, [most])
    is_kept = tf.range(most) < count
    return (
        tf.where(is_kept[:, None], tf.gather(boxes, kept), 0.0),
        tf.where(is_kept, tf.gather(scores, kept), NEVER),
    )


def _sigmoid(logits: tf.Tensor) -> tf.Tensor:
    return 1.0 / (1.0 + apart(tf.exp(-logits)))


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    """Over the last axis."""
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    powers = apart(tf.exp(logits - largest))
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def _samples(
    first: tf.Tensor, last: tf.Tensor, num_cells: int, side: int
) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Where ``side`` points from ``first`` to ``last`` are on one axis of the feature map.

    Args:
        first, last: (P,) in fractions of the way from the first cell to the last.
        num_cells: of the axis.

    Returns:
        The cells before and after each point, both (P, S) int32, and how much each counts there,
        both (P, S) float32; nothing where the point is beyond the last cell.
    """
    extent = num_cells - 1.0
    if side == 1:
        places = (0.5 * (first + last) * extent)[:, None]
    else:
        step = (last - first) * extent / (side - 1.0)
        places = (first * extent)[:, None] + tf.range(side, dtype=tf.float32) * step[:, None]
    before = tf.math.floor(places)
    inside = tf.cast(places <= extent, tf.float32)
    share = places - before
    cell = tf.cast(before, tf.int32)
    cells = tf.minimum(cell, num_cells - 1), tf.minimum(cell + 1, num_cells - 1)
    return cells, ((1.0 - share) * inside, share * inside)
