"""The four losses of Faster R-CNN.

Each is divided by the configured number of samples per image, not by the number of samples
found: an image with few objects weighs less, as in the original.  Shape letters are those of
``frcnn_core.plugin.components``; M is the number of sampled anchors.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

RPN_SIGMA, HEAD_SIGMA = 3.0, 1.0


class Losses(NamedTuple):
    """Scalars, weighted by the spec's lambdas; their sum is what training minimises."""

    rpn_class: tf.Tensor
    rpn_box: tf.Tensor
    head_class: tf.Tensor
    head_box: tf.Tensor
    regularization: tf.Tensor

    @property
    def total(self) -> tf.Tensor:
        """The sum of the five terms."""
        return tf.add_n(list(self))


def smooth_l1(errors: tf.Tensor, *, sigma: float) -> tf.Tensor:
    """Half the square near zero, the absolute value less half beyond 1 / sigma^2.

    Source: Girshick 2015, equation 3, with the sharpness sigma of py-faster-rcnn.
    """
    size, knee = tf.abs(errors), 1.0 / sigma**2
    return tf.where(size <= knee, 0.5 * sigma**2 * errors**2, size - 0.5 * knee)


def rpn_class_loss(logits: tf.Tensor, positive: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Binary cross entropy of objectness: the mean over images, divided by M.

    Args:
        logits: (B, M) of the sampled anchors.
        positive: (B, M) bool.
        valid: (B, M) bool; padding does not count.
    """
    labels = tf.cast(positive, logits.dtype)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return _mean_over_images(entropy * tf.cast(valid, logits.dtype))


def rpn_box_loss(deltas: tf.Tensor, targets: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    """Smooth L1 of the positive anchors' offsets: the mean over images, divided by M.

    Args:
        deltas: (B, M, 4) of the sampled anchors.
        targets: (B, M, 4).
        positive: (B, M) bool.
    """
    loss = tf.reduce_sum(smooth_l1(deltas - targets, sigma=RPN_SIGMA), axis=-1)
    return _mean_over_images(tf.where(positive, loss, 0.0))


def head_class_loss(logits: tf.Tensor, classes: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Cross entropy over K classes and background: the mean over images, divided by R.

    Args:
        logits: (B, R, K+1); the last one is background.
        classes: (B, R) int32 in 0..K.
        valid: (B, R) bool; padding does not count.
    """
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)
    return _mean_over_images(entropy * tf.cast(valid, logits.dtype))


def head_box_loss(
    deltas: tf.Tensor, targets: tf.Tensor, classes: tf.Tensor, positive: tf.Tensor
) -> tf.Tensor:
    """Smooth L1 of the positive RoIs' offsets for their class: mean over images, divided by R.

    Args:
        deltas: (B, R, K, 4), a box per class.
        targets: (B, R, 4).
        classes: (B, R) int32 in 0..K; background has no box.
        positive: (B, R) bool.
    """
    own = tf.one_hot(classes, tf.shape(deltas)[2], dtype=deltas.dtype)  # zeros for background
    deltas = tf.reduce_sum(deltas * own[..., None], axis=2)
    loss = tf.reduce_sum(smooth_l1(deltas - targets, sigma=HEAD_SIGMA), axis=-1)
    return _mean_over_images(tf.where(positive, loss, 0.0))


def _mean_over_images(losses: tf.Tensor) -> tf.Tensor:
    """(B, M) losses summed over the samples, divided by M, averaged over the images."""
    return tf.reduce_mean(losses)
