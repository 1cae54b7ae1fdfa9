"""Faster R-CNN: two methods over one set of layers.

Shape letters are those of ``frcnn_core.structures``; M is the number of sampled anchors.  The
main path runs in the layers' own precision; boxes, scores and losses are always float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar, cast

import keras
import tensorflow as tf
from keras.src.models.functional import Functional  # nothing else tells it from its subclasses

from frcnn_core import boxes as geometry
from frcnn_core.detector import extents, folding, graphs, losses, matching
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.canvases import Canvases
from frcnn_core.detector.losses import Losses
from frcnn_core.detector.proposals import propose
from frcnn_core.detector.roi_pooling import crop_and_resize
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.detector.stride import canvas
from frcnn_core.structures import Batch, Detections

P = ParamSpec("P")
R = TypeVar("R")


def _beside_the_head(
    method: Callable[Concatenate[FasterRCNN, P], R],
) -> Callable[Concatenate[FasterRCNN, P], R]:
    """A detector's method, run on the device of the head's first layer but for the layers."""

    @functools.wraps(method)
    def placed(self: FasterRCNN, *args: P.args, **kwargs: P.kwargs) -> R:
        first = next(graphs.nodes(self.head)).operation
        with folding.on_device(self.devices, first):
            return method(self, *args, **kwargs)

    return placed  # type: ignore[return-value]  # mypy takes what wraps gives for no function


class _Rois(NamedTuple):
    """Sampled RoIs and what each should learn."""

    boxes: tf.Tensor  # (B, R, 4)
    classes: tf.Tensor  # (B, R) in 0..K
    targets: tf.Tensor  # (B, R, 4)
    positive: tf.Tensor  # (B, R)
    valid: tf.Tensor  # (B, R)


class _Anchors(NamedTuple):
    """The anchors of a batch's feature map, and which of them are whose.

    ``own`` and ``places`` are None where all of the batch is every image's own.
    """

    boxes: tf.Tensor  # (N, 4)
    own: tf.Tensor | None  # (B, N) bool
    places: tf.Tensor | None  # (B, N) int32, in the order that the image's own map would have


class FasterRCNN:
    """A detector made of three Keras graphs.

    Args:
        features: images (B, H, W, C) to a feature map (B, h, w, C), stride 16.
        rpn: feature map to objectness logits (B, h, w, A) and deltas (B, h, w, 4A).
        head: pooled RoIs (B*R, S, S, C) to class logits (B*R, K+1) and deltas (B*R, 4K).
        anchors: the anchors that the RPN was drawn for.
        regression_scale: factors of the head's targets (dx, dy, dw, dh)
            (``training_config.classifier_regr_std``).
        dynamic_shape: images of a batch have sizes of their own (``Preprocessing.is_dynamic``).
            What is beyond an image's canvas then does not exist for it, so that no image's result
            depends on the others of its batch.  Otherwise padding is part of an image.
        devices: of every layer, where they are on several (``frcnn_core.detector.placement``).

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497.
    """

    def __init__(
        self,
        features: keras.Model,
        rpn: keras.Model,
        head: keras.Model,
        *,
        anchors: Anchors,
        regression_scale: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
        dynamic_shape: bool = False,
        devices: Mapping[keras.Operation, str] | None = None,
    ):
        self.features = features
        self.rpn = rpn
        self.head = head
        self.anchors = anchors
        self.regression_scale = regression_scale
        self.dynamic_shape = dynamic_shape
        self.devices = dict(devices or {})
        self._obstacle = _obstacle(features, rpn) if dynamic_shape else ""

    @property
    def parts(self) -> dict[str, keras.Model]:
        """The three graphs by name, in the order that data flows."""
        return {"features": self.features, "rpn": self.rpn, "head": self.head}

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Of all three parts, in the order that data flows."""
        return [v for part in self.parts.values() for v in part.trainable_variables]

    @property
    def moving_variables(self) -> list[keras.Variable]:
        """What a training step moves beside the gradient, in the order that data flows.

        These are the moving statistics of normalizations that are not frozen, and whatever other
        layers name in a property ``moving_variables``.
        """
        return [
            variable
            for part in self.parts.values()
            for layer in part._flatten_layers(include_self=False)
            for variable in _moving_variables(layer)
        ]

    @property
    def num_classes(self) -> int:
        """K, background not counted."""
        return self.head.outputs[0].shape[-1] - 1

    @property
    def only_single_images(self) -> str:
        """Why batches must have one image, as a sentence without its full stop; empty where any
        number will do.

        That is so with a dynamic shape, where a layer may mix an image with a batch's padding.
        """
        return self._obstacle

    @_beside_the_head
    def losses(self, batch: Batch, seeds: tf.Tensor, settings: TrainingSettings) -> Losses:
        """The five terms that training minimises, for one batch.

        Args:
            batch: images and their ground truth.
            seeds: (B, 2) int32, one stateless random stream per image, for sampling.
            settings: from the spec's ``training_config``.
        """
        canvases = self._canvases(batch.sizes)
        features = self._features(batch.images, canvases, training=True)  # (B, h, w, C)
        logits, deltas = self._rpn(features, canvases, training=True)  # (B, N), (B, N, 4)
        anchors = self._anchors(features, canvases)  # (N, 4), and which are whose
        rpn_class, rpn_box = self._rpn_losses(logits, deltas, anchors, batch, seeds, settings)
        rois = self._sample(logits, deltas, anchors, batch, seeds, settings)  # (B, R, 4), targets
        class_logits, refinements = self._classify(
            features, rois.boxes, _image_size(batch.images, canvases), training=True
        )
        return Losses(
            rpn_class=settings.lambda_rpn_class * rpn_class,
            rpn_box=settings.lambda_rpn_regr * rpn_box,
            head_class=settings.lambda_cls_class
            * losses.head_class_loss(class_logits, rois.classes, rois.valid),
            head_box=settings.lambda_cls_regr
            * losses.head_box_loss(refinements, rois.targets, rois.classes, rois.positive),
            regularization=self._regularization(),
        )

    @_beside_the_head
    def detect(
        self, images: tf.Tensor, sizes: tf.Tensor, settings: DetectionSettings
    ) -> Detections:
        """What is in each image; any batch size, in any order.

        Args:
            images: (B, H, W, C) float32, preprocessed; with a dynamic shape, H and W are multiples
                of 16.
            sizes: (B, 2) valid height and width of each image in pixels.
            settings: from the spec's ``evaluation_config`` or ``inference_config``.
        """
        canvases = self._canvases(sizes)
        features = self._features(images, canvases, training=False)  # (B, h, w, C)
        logits, deltas = self._rpn(features, canvases, training=False)  # (B, N), (B, N, 4)
        anchors = self._anchors(features, canvases)  # (N, 4), and which are whose
        proposals = propose(
            tf.sigmoid(logits),
            deltas,
            anchors.boxes,
            sizes,
            own=anchors.own,
            pre_nms=settings.rpn_pre_nms_top_n,
            post_nms=settings.rpn_nms_max_boxes,
            iou=settings.rpn_nms_overlap_threshold,
        )
        class_logits, refinements = self._classify(
            features, proposals.boxes, _image_size(images, canvases), training=False
        )
        scores = tf.nn.softmax(class_logits)[:, :, :-1]  # (B, P, K)
        # A padding row of the proposals is a detection of nothing.
        scores = tf.where(geometry.area(proposals.boxes)[:, :, None] > 0.0, scores, 0.0)
        boxes = geometry.decode(
            refinements / self.regression_scale, proposals.boxes[:, :, None, :]
        )  # (B, P, K, 4)
        num_images, num_boxes = tf.shape(boxes)[0], tf.shape(boxes)[1] * self.num_classes
        clipped = geometry.clip(tf.reshape(boxes, [num_images, num_boxes, 4]), sizes)
        kept = tf.image.combined_non_max_suppression(
            tf.reshape(clipped, tf.shape(boxes)),
            scores,
            max_output_size_per_class=settings.classifier_nms_max_boxes,
            max_total_size=settings.classifier_nms_max_boxes,
            iou_threshold=settings.classifier_nms_overlap_threshold,
            score_threshold=settings.object_confidence_thres,
            clip_boxes=False,
        )
        found = tf.sequence_mask(kept.valid_detections, settings.classifier_nms_max_boxes)
        return Detections(
            boxes=kept.nmsed_boxes,
            scores=kept.nmsed_scores,
            classes=tf.where(found, tf.cast(kept.nmsed_classes, tf.int32), -1),
            counts=kept.valid_detections,
            proposals=proposals.boxes,
        )

    def _canvases(self, sizes: tf.Tensor) -> Canvases | None:
        """Of images of these sizes (B, 2); None where all of the batch is every image's own."""
        if not self.dynamic_shape:
            return None
        if self._obstacle:
            # Whoever makes batches asks before; this is for programs that run an exported model.
            one = tf.debugging.assert_less(tf.shape(sizes)[0], 2, message=self._obstacle)
            with tf.control_dependencies([one] if one is not None else []):
                sizes = tf.identity(sizes)
        return Canvases(canvas(sizes))

    def _features(
        self, images: tf.Tensor, canvases: Canvases | None, *, training: bool
    ) -> tf.Tensor:
        masked = None if self._obstacle else canvases
        return folding.run(
            self.features, images, training=training, canvases=masked, devices=self.devices
        )

    def _rpn(
        self, features: tf.Tensor, canvases: Canvases | None, *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        masked = None if self._obstacle else canvases
        logits, deltas = folding.run(
            self.rpn,
            features,
            training=training,
            canvases=masked,
            extent=extents.FEATURE_MAP,
            devices=self.devices,
        )
        num_images = tf.shape(features)[0]
        logits = tf.reshape(tf.cast(logits, tf.float32), [num_images, -1])
        deltas = tf.reshape(tf.cast(deltas, tf.float32), [num_images, -1, 4])
        return logits, deltas

    def _anchors(self, features: tf.Tensor, canvases: Canvases | None) -> _Anchors:
        shape = tf.shape(features)
        boxes = self.anchors.over(shape[1], shape[2])
        if canvases is None:
            return _Anchors(boxes, None, None)
        cells = extents.FEATURE_MAP.cells(canvases.sizes)
        return _Anchors(boxes, *self.anchors.places(shape[1], shape[2], cells))

    def _rpn_losses(
        self,
        logits: tf.Tensor,
        deltas: tf.Tensor,
        anchors: _Anchors,
        batch: Batch,
        seeds: tf.Tensor,
        settings: TrainingSettings,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        matches = matching.match_anchors(
            anchors.boxes,
            batch.boxes,
            batch.sizes,
            low=settings.rpn_min_overlap,
            high=settings.rpn_max_overlap,
        )
        samples = matching.sample_anchors(
            matches.labels, seeds, num=settings.rpn_mini_batch, places=anchors.places
        )
        truth = tf.gather(matches.truth, samples.indices, batch_dims=1)  # (B, M)
        targets = geometry.encode(
            tf.gather(batch.boxes, truth, batch_dims=1), tf.gather(anchors.boxes, samples.indices)
        )
        return (
            losses.rpn_class_loss(
                tf.gather(logits, samples.indices, batch_dims=1), samples.positive, samples.valid
            ),
            losses.rpn_box_loss(
                tf.gather(deltas, samples.indices, batch_dims=1), targets, samples.positive
            ),
        )

    def _sample(
        self,
        logits: tf.Tensor,
        deltas: tf.Tensor,
        anchors: _Anchors,
        batch: Batch,
        seeds: tf.Tensor,
        settings: TrainingSettings,
    ) -> _Rois:
        proposals = propose(
            tf.sigmoid(logits),
            deltas,
            anchors.boxes,
            batch.sizes,
            own=anchors.own,
            pre_nms=settings.rpn_pre_nms_top_n,
            post_nms=settings.rpn_nms_max_boxes,
            iou=settings.rpn_nms_overlap_threshold,
        )
        proposals = tf.stop_gradient(proposals.boxes)  # (B, P, 4)
        if settings.gt_as_roi:
            proposals = tf.concat([proposals, batch.boxes], axis=1)
        matches = matching.match_rois(
            proposals,
            batch.boxes,
            low=settings.classifier_min_overlap,
            high=settings.classifier_max_overlap,
        )
        # + 2: streams of their own, beside the two that the anchors' sampling uses.
        samples = matching.sample_rois(
            matches.labels, seeds + tf.constant([0, 2]), num=settings.roi_mini_batch
        )
        rois = tf.gather(proposals, samples.indices, batch_dims=1)
        truth = tf.gather(matches.truth, samples.indices, batch_dims=1)
        classes = tf.gather(batch.classes, truth, batch_dims=1)
        boxes = tf.gather(batch.boxes, truth, batch_dims=1)
        return _Rois(
            boxes=tf.where(samples.valid[:, :, None], rois, 0.0),
            classes=tf.where(samples.positive, classes, self.num_classes),
            targets=geometry.encode(boxes, _never_empty(rois)) * self.regression_scale,
            positive=samples.positive,
            valid=samples.valid,
        )

    def _classify(
        self, features: tf.Tensor, rois: tf.Tensor, image_size: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """RoIs (B, R, 4) to class logits (B, R, K+1) and deltas (B, R, K, 4)."""
        crops = crop_and_resize(features, rois, image_size, side=self.head.inputs[0].shape[1])
        logits, deltas = folding.run(self.head, crops, training=training, devices=self.devices)
        num_images, num_rois = tf.shape(rois)[0], tf.shape(rois)[1]
        return (
            tf.reshape(tf.cast(logits, tf.float32), [num_images, num_rois, self.num_classes + 1]),
            tf.reshape(tf.cast(deltas, tf.float32), [num_images, num_rois, self.num_classes, 4]),
        )

    def _regularization(self) -> tf.Tensor:
        terms = []
        for part in self.parts.values():
            for layer in _layers(part):
                with folding.on_device(self.devices, layer):
                    terms += layer.losses
        return tf.add_n(terms) if terms else tf.constant(0.0)


def _layers(graph: keras.Model) -> Iterator[keras.Layer]:
    """A graph's layers, those of models in it in place of these."""
    for layer in graph.layers:
        if type(layer) is Functional:
            yield from _layers(layer)
        else:
            yield layer


def _moving_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Those of a single layer."""
    if hasattr(layer, "moving_variables"):
        return list(layer.moving_variables)
    if not isinstance(layer, keras.layers.BatchNormalization):
        return []
    if not layer.trainable or getattr(layer, "frozen_statistics", False):
        return []
    return [
        cast("keras.Variable", layer.moving_mean),
        cast("keras.Variable", layer.moving_variance),
    ]


def _never_empty(boxes: tf.Tensor) -> tf.Tensor:
    """Boxes with rows of zeros (padding) replaced by unit boxes, so that nothing divides by 0."""
    unit = tf.constant([0.0, 0.0, 1.0, 1.0])
    return tf.where(geometry.area(boxes)[:, :, None] > 0.0, boxes, unit)


def _image_size(images: tf.Tensor, canvases: Canvases | None) -> tf.Tensor:
    """What RoIs are normalised by: (2,) for the whole batch, or (B, 2)."""
    return tf.shape(images)[1:3] if canvases is None else canvases.sizes


def _obstacle(features: keras.Model, rpn: keras.Model) -> str:
    """What keeps a batch of several sizes from these graphs; empty if nothing does."""
    try:
        for graph, given in ((features, extents.IMAGES), (rpn, extents.FEATURE_MAP)):
            found = extents.follow(graph, given)
            if any(found[id(tensor)] != extents.FEATURE_MAP for tensor in graph.outputs):
                return f"The map that {graph.name} makes does not have one cell for 16 pixels"
    except extents.Obstacle as obstacle:
        return f"The layer {obstacle}"
    return ""
