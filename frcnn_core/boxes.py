"""Geometry of boxes: areas, overlaps, and the offsets between two boxes.

Boxes are float32 ``(y1, x1, y2, x2)`` in pixels, continuous coordinates: a box from 0 to 10 is
10 wide.  Offsets are ``(dx, dy, dw, dh)``, the order that the original's weights and exported
graphs use.  The original adds 1 to some widths and not to others (docs/conventions.md).
"""

from __future__ import annotations

import math

import tensorflow as tf

MAX_LOG_SCALE = math.log(1000.0 / 16.0)
"""Largest dw and dh that decode() follows: exp() turns a 16 px anchor into 1000 px at most."""


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Areas (...,) in square pixels of boxes (..., 4)."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    return (y2 - y1) * (x2 - x1)


def iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection over union of every box with every other one.

    Args:
        boxes: (..., N, 4).
        others: (..., G, 4).

    Returns:
        (..., N, G) in [0, 1]; 0 where either box is empty.
    """
    y1, x1, y2, x2 = (c[..., :, None] for c in tf.unstack(boxes, axis=-1))
    v1, u1, v2, u2 = (c[..., None, :] for c in tf.unstack(others, axis=-1))
    height = tf.maximum(tf.minimum(y2, v2) - tf.maximum(y1, v1), 0.0)
    width = tf.maximum(tf.minimum(x2, u2) - tf.maximum(x1, u1), 0.0)
    shared = height * width
    union = (y2 - y1) * (x2 - x1) + (v2 - v1) * (u2 - u1) - shared
    return tf.math.divide_no_nan(shared, union)


def clip(boxes: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """Boxes cut at the border of their image.

    Args:
        boxes: (B, N, 4).
        sizes: (B, 2) height and width in pixels.
    """
    limits = tf.tile(sizes, [1, 2])[:, None, :]
    return tf.clip_by_value(boxes, 0.0, limits)


def encode(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Offsets that turn each anchor into its box; decode() is the inverse.

    Args:
        boxes: (..., 4) target boxes.
        anchors: (..., 4) anchors or RoIs with positive height and width.

    Returns:
        (..., 4) offsets (dx, dy, dw, dh), unitless; finite also for empty boxes (padding).

    Source: Ren et al. 2015, equation 2.
    """
    height, width, y, x = _centred(anchors)
    box_height, box_width, box_y, box_x = _centred(boxes)
    return tf.stack(
        [
            (box_x - x) / width,
            (box_y - y) / height,
            tf.math.log(tf.maximum(box_width, _TINY) / width),
            tf.math.log(tf.maximum(box_height, _TINY) / height),
        ],
        axis=-1,
    )


def decode(offsets: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Boxes (..., 4) that offsets (..., 4) make of anchors (..., 4).

    dw and dh are cut at MAX_LOG_SCALE, so a wild offset cannot overflow.

    Source: Ren et al. 2015, equation 2.
    """
    height, width, y, x = _centred(anchors)
    dx, dy, dw, dh = tf.unstack(offsets, axis=-1)
    y, x = y + dy * height, x + dx * width
    half_height = 0.5 * height * tf.exp(tf.minimum(dh, MAX_LOG_SCALE))
    half_width = 0.5 * width * tf.exp(tf.minimum(dw, MAX_LOG_SCALE))
    return tf.stack([y - half_height, x - half_width, y + half_height, x + half_width], axis=-1)


_TINY = 1e-6  # pixels; keeps the logarithm of a padding box finite


def _centred(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Height, width, centre y and centre x."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    return y2 - y1, x2 - x1, 0.5 * (y1 + y2), 0.5 * (x1 + x2)
