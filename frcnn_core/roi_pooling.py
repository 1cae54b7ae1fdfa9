"""Crops of the feature map, one per RoI, all of one size.

Shape letters are those of ``frcnn_core.components``.
"""

from __future__ import annotations

import tensorflow as tf


def crop_and_resize(
    features: tf.Tensor, rois: tf.Tensor, image_size: tf.Tensor, *, side: int
) -> tf.Tensor:
    """The feature map under each RoI, sampled bilinearly at ``side`` x ``side`` points.

    A RoI is normalised by the image's size less one pixel and looked up in the map's size less
    one cell: the original's and TensorRT's rule, so that exported networks compute the same.

    Args:
        features: (B, h, w, C) feature map.
        rois: (B, R, 4) in pixels of the image; no gradient flows into them.
        image_size: (2,) height and width of the batch's images, padding included.
        side: S.

    Returns:
        (B*R, S, S, C), images in order, of the feature map's dtype.
    """
    num_rois = tf.shape(rois)[1]
    image_of = tf.repeat(tf.range(tf.shape(rois)[0]), num_rois)
    limits = tf.tile(tf.cast(image_size, tf.float32) - 1.0, [2])
    corners = tf.stop_gradient(tf.reshape(rois, [-1, 4]) / limits)
    # tf.image.crop_and_resize answers in float32 whatever the map's type is.
    crops = tf.image.crop_and_resize(tf.cast(features, tf.float32), corners, image_of, [side, side])
    return tf.cast(crops, features.dtype)
