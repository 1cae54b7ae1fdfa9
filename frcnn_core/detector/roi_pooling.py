"""Crops of the feature map, one per RoI, all of one size.

Shape letters are those of ``frcnn_core.structures``.
"""

from __future__ import annotations

import tensorflow as tf

from frcnn_core.detector.stride import STRIDE


def crop_and_resize(
    features: tf.Tensor, rois: tf.Tensor, image_size: tf.Tensor, *, side: int
) -> tf.Tensor:
    """The feature map under each RoI, sampled bilinearly at ``side`` x ``side`` points.

    A RoI is normalised by the image's size less one pixel and looked up in the map's size less
    one cell: the original's and TensorRT's rule, so that exported networks compute the same.

    In a batch that pads images of different sizes both sizes are those of the image's own canvas,
    and RoIs end at its last pixel, as in the original.  So the crop does not depend on the batch.

    Args:
        features: (B, h, w, C) feature map.
        rois: (B, R, 4) in pixels of the image; no gradient flows into them.
        image_size: (2,) height and width of the batch's images, padding included; or (B, 2) of
            each image's own canvas, multiples of 16.
        side: S.

    Returns:
        (B*R, S, S, C), images in order, of the feature map's dtype.
    """
    num_rois = tf.shape(rois)[1]
    image_of = tf.repeat(tf.range(tf.shape(rois)[0]), num_rois)
    limits = tf.tile(tf.cast(image_size, tf.float32) - 1.0, [1] * (image_size.shape.rank - 1) + [2])
    if image_size.shape.rank == 1:
        corners = tf.reshape(rois, [-1, 4]) / limits
    else:
        corners = tf.reshape(_on_canvas(features, rois / limits[:, None, :], image_size), [-1, 4])
    corners = tf.stop_gradient(corners)
    # tf.image.crop_and_resize answers in float32 whatever the map's type is.
    crops = tf.image.crop_and_resize(tf.cast(features, tf.float32), corners, image_of, [side, side])
    return tf.cast(crops, features.dtype)


def _on_canvas(features: tf.Tensor, corners: tf.Tensor, canvases: tf.Tensor) -> tf.Tensor:
    """Fractions (B, R, 4) of each image's own part of the map as fractions of the whole map."""
    # A hair before the last own cell: rounding must not take what is beyond for a part of it.
    corners = tf.minimum(corners, 1.0 - 1e-6)
    own = tf.cast(canvases // STRIDE, tf.float32) - 1.0  # (B, 2)
    whole = tf.cast(tf.shape(features)[1:3], tf.float32) - 1.0  # (2,)
    return corners * tf.tile(tf.math.divide_no_nan(own, whole), [1, 2])[:, None, :]
