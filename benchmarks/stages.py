"""A training step and a detection, cut into stages.

A stage cannot be timed inside a compiled step, so the step is compiled up to each stage's end.
Every program answers with what it computed, or TensorFlow would leave that out.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from frcnn_core.detector import DetectionSettings, FasterRCNN, TrainingSettings, propose
from frcnn_core.structures import Batch

Prefixes = dict[str, Callable[[Batch], object]]
"""Stage -> the step up to its end, in the order that data flows."""


def of_training(detector: FasterRCNN, settings: TrainingSettings) -> Prefixes:
    """A training step up to its gradients; what follows is the optimizer's."""

    def rpn(batch):
        return _rpn(detector, batch, training=True)

    def proposals(batch):
        features, logits, deltas = rpn(batch)
        anchors = detector._anchors(features, detector._canvases(batch.sizes))
        given = (logits, deltas, anchors, batch, _seeds(batch), settings)
        return features, detector._rpn_losses(*given), detector._sample(*given)

    def head(batch):
        return detector.losses(batch, _seeds(batch), settings)

    def backward(batch):
        with tf.GradientTape() as tape:
            loss = head(batch).total
        return tape.gradient(loss, detector.trainable_variables)

    return {
        "features": lambda batch: _features(detector, batch, training=True),
        "RPN": rpn,
        "proposals": proposals,
        "RoI head": head,
        "backward": backward,
    }


def of_detection(detector: FasterRCNN, settings: DetectionSettings) -> Prefixes:
    """A detection up to its proposals; what follows is the head's."""

    def rpn(batch):
        return _rpn(detector, batch, training=False)

    def proposals(batch):
        features, logits, deltas = rpn(batch)
        anchors = detector._anchors(features, detector._canvases(batch.sizes))
        return features, propose(
            tf.sigmoid(logits),
            deltas,
            anchors.boxes,
            batch.sizes,
            own=anchors.own,
            pre_nms=settings.rpn_pre_nms_top_n,
            post_nms=settings.rpn_nms_max_boxes,
            iou=settings.rpn_nms_overlap_threshold,
        )

    return {
        "features": lambda batch: _features(detector, batch, training=False),
        "RPN": rpn,
        "proposals": proposals,
    }


def _features(detector: FasterRCNN, batch: Batch, *, training: bool) -> tf.Tensor:
    canvases = detector._canvases(batch.sizes)
    return detector._features(batch.images, canvases, training=training)


def _rpn(detector: FasterRCNN, batch: Batch, *, training: bool):
    features = _features(detector, batch, training=training)
    canvases = detector._canvases(batch.sizes)
    return features, *detector._rpn(features, canvases, training=training)


def _seeds(batch: Batch) -> tf.Tensor:
    images = tf.range(tf.shape(batch.images)[0])
    return tf.stack([tf.zeros_like(images), images], axis=1)
