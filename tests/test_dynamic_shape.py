"""A detector of images of different sizes: no image's result depends on the others of its batch.

What batches pad with is NaN in detection, so that a single look at it shows, and a large number in
training, where gradients multiply it with zeros.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy
from families import marks_of
from tensorflow.python.framework import config  # what is public does not switch it off again

from frcnn_core import Backbone
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.detector.stride import canvas
from frcnn_core.model_files.model import with_precision
from frcnn_core.plugin.discovery import installed
from frcnn_core.plugin.options import parse
from frcnn_core.structures import Batch
from frcnn_core.testing.sketch import sketch
from frcnn_core.training.statistics import measure_statistics

SIZES = ((40, 100), (91, 33), (64, 64), (63, 96), (9, 120))
"""Of images; one is a multiple of 16, one a pixel short of it, one lower than a cell."""
TRAINING = TrainingSettings(
    rpn_max_overlap=0.5,
    rpn_mini_batch=16,
    roi_mini_batch=16,
    rpn_pre_nms_top_n=32,
    rpn_nms_max_boxes=16,
)
DETECTION = DetectionSettings(
    rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16, object_confidence_thres=0.0
)


def dynamic(detector):
    """The same layers, for images of different sizes, with nothing at its neutral start."""
    random = np.random.default_rng(0)
    for part in detector.parts.values():
        for weight in part.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(random.uniform(0.7, 1.3, weight.shape))
            elif weight.name in ("beta", "moving_mean", "bias"):
                weight.assign(random.normal(0, 0.1, weight.shape))
    return FasterRCNN(**detector.parts, anchors=detector.anchors, dynamic_shape=True)


@pytest.fixture(autouse=True)
def in_order():
    """As ``frcnn train`` does it: on a CPU, threads that add up the gradient of the crops at once
    overwrite each other's sums."""
    config.enable_op_determinism()
    yield
    config.disable_op_determinism()


@pytest.fixture(scope="module")
def detector():
    """Images do not share statistics; no test may change it."""
    return dynamic(toy.detector(freeze_bn=True))


def batch_of(sizes=SIZES, *, size=None, fill=9.0, seed=0):
    """Noise of these sizes on black canvases, each with one or two objects, as one batch.

    Args:
        size: of the batch; as large as it has to be unless given.
        fill: what is beyond the canvases.
    """
    random = np.random.default_rng(seed)
    canvases = canvas(np.array(sizes)).numpy()
    size = tuple(canvases.max(axis=0)) if size is None else size
    images = np.full((len(sizes), *size, 3), fill, "float32")
    boxes = np.zeros((len(sizes), 3, 4), "float32")
    for image, objects, (h, w), (height, width) in zip(images, boxes, sizes, canvases, strict=True):
        image[:height, :width] = -1
        image[:h, :w] = random.standard_normal((h, w, 3))
        objects[0] = (0.1 * h, 0.2 * w, 0.8 * h, 0.7 * w)
        objects[1] = (0.5 * h, 0.5 * w, h, w) if h > 20 else 0
    return Batch(
        images=tf.constant(images),
        sizes=tf.constant(sizes, tf.float32),
        scales=tf.ones((len(sizes), 2)),
        boxes=tf.constant(boxes),
        classes=tf.constant(np.where(boxes.any(-1), 1, -1), tf.int32),
        difficult=tf.zeros(boxes.shape[:2], tf.bool),
        names=tf.constant([f"{i}.png" for i in range(len(sizes))]),
    )


def alone(batch, index):
    """One of the images, as large as its canvas and no larger."""
    height, width = canvas(batch.sizes[index]).numpy()
    one = Batch(*(column[index : index + 1] for column in batch))
    return one._replace(images=one.images[:, :height, :width])


def seeds(count):
    return tf.constant([[5, 4 * i] for i in range(count)], tf.int32)


def assert_detects_the_same(detector, batch, settings=DETECTION, atol=1e-4):
    together = detector.detect(batch.images, batch.sizes, settings)
    for index in range(len(batch.images)):
        one = alone(batch, index)
        expected = detector.detect(one.images, one.sizes, settings)
        assert expected.counts.numpy()[0] > 0
        for name, column in expected._asdict().items():
            np.testing.assert_allclose(
                getattr(together, name)[index], column[0], atol=atol, rtol=1e-5, err_msg=name
            )


def losses_and_gradients(detector, batch, seeds, settings):
    variables = [variable.value for variable in detector.trainable_variables]
    with tf.GradientTape() as tape:
        losses = detector.losses(batch, seeds, settings)
        total = losses.total
    gradients = tape.gradient(total, variables, unconnected_gradients="zero")
    return [*map(float, losses)], [gradient.numpy() for gradient in gradients]


def assert_learns_the_same(detector, batch, settings=TRAINING, rtol=1e-4):
    """The batch's losses and gradients are the means of its images' own."""
    streams = seeds(len(batch.images))
    losses, gradients = losses_and_gradients(detector, batch, streams, settings)
    own = [
        losses_and_gradients(detector, alone(batch, i), streams[i : i + 1], settings)
        for i in range(len(batch.images))
    ]
    assert min(losses[: 4 if settings.gt_as_roi else 3]) > 0  # the RPN may hit no object
    np.testing.assert_allclose(losses, np.mean([one for one, _ in own], axis=0), rtol=rtol)
    for variable, found, *expected in zip(
        detector.trainable_variables, gradients, *(one for _, one in own), strict=True
    ):
        expected = np.mean(expected, axis=0)
        scale = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(found, expected, atol=rtol * scale, err_msg=variable.path)


@pytest.mark.parametrize("size", [None, (128, 160)])
def test_detections_and_proposals_do_not_depend_on_the_batch(detector, size):
    assert_detects_the_same(detector, batch_of(size=size, fill=np.nan))


def test_an_image_as_large_as_the_batch_is_answered_as_beside_smaller_ones(detector):
    sizes = ((96, 128), (17, 20))
    assert_detects_the_same(detector, batch_of(sizes, fill=np.nan))


def test_more_proposals_than_an_image_has_cells_do_not_come_from_beyond(detector):
    settings = replace(DETECTION, rpn_pre_nms_top_n=6000, rpn_nms_max_boxes=300)
    assert_detects_the_same(detector, batch_of(fill=np.nan), settings)


@pytest.mark.slow
@pytest.mark.parametrize("gt_as_roi", [False, True])
def test_losses_and_gradients_are_the_means_of_those_of_single_images(detector, gt_as_roi):
    assert_learns_the_same(detector, batch_of(), replace(TRAINING, gt_as_roi=gt_as_roi))


@pytest.mark.slow
def test_without_masks_all_of_it_depends_on_the_batch(detector):
    """What the tests above would say if a batch's padding were part of its images."""
    static = FasterRCNN(**detector.parts, anchors=detector.anchors)
    with pytest.raises(AssertionError):
        assert_detects_the_same(static, batch_of())
    with pytest.raises(AssertionError):
        assert_learns_the_same(static, batch_of())


@pytest.mark.slow
def test_with_batch_statistics_padding_changes_neither_losses_nor_gradients_nor_statistics():
    detector = dynamic(toy.detector())
    statistics = [v for part in detector.parts.values() for v in part.non_trainable_variables]
    before, results = [v.numpy() for v in statistics], []
    for size in (None, (160, 192)):
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)
        batch = batch_of(size=size)
        losses, gradients = losses_and_gradients(detector, batch, seeds(len(SIZES)), TRAINING)
        results.append([losses, *gradients, *(v.numpy() for v in statistics)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4 * max(1e-3, np.abs(one).max()))


def test_the_border_of_an_image_is_not_the_border_of_its_canvas(detector):
    found = detector.detect(*batch_of(fill=np.nan)[:2], DETECTION)
    for boxes, (height, width) in zip(found.proposals.numpy(), SIZES, strict=True):
        assert boxes.max(axis=0)[2] <= height
        assert boxes.max(axis=0)[3] <= width


def test_an_absent_image_adds_nothing_and_detects_nothing(detector):
    batch = batch_of()
    absent = batch._replace(
        images=tf.concat([batch.images, tf.zeros_like(batch.images[:1])], 0),
        sizes=tf.concat([batch.sizes, [[0, 0]]], 0),
        scales=tf.concat([batch.scales, [[1, 1]]], 0),
        boxes=tf.concat([batch.boxes, tf.zeros_like(batch.boxes[:1])], 0),
        classes=tf.concat([batch.classes, -tf.ones_like(batch.classes[:1])], 0),
        difficult=tf.concat([batch.difficult, batch.difficult[:1]], 0),
        names=tf.concat([batch.names, ["gone.png"]], 0),
    )
    losses, _ = losses_and_gradients(detector, batch, seeds(5), TRAINING)
    beside, gradients = losses_and_gradients(detector, absent, seeds(6), TRAINING)
    np.testing.assert_allclose(beside[:4], np.array(losses[:4]) * 5 / 6, rtol=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert detector.detect(absent.images, absent.sizes, DETECTION).counts.numpy()[-1] == 0


@pytest.mark.slow
def test_one_trace_serves_images_of_any_size(detector):
    traces = []

    @tf.function(
        input_signature=[
            Batch(
                tf.TensorSpec([None, None, None, 3]),
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([None, None, 4]),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None, None], tf.bool),
                tf.TensorSpec([None], tf.string),
            ),
            tf.TensorSpec([None, 2], tf.int32),
        ],
        autograph=False,
    )
    def both(batch, seeds):
        traces.append(1)
        found = detector.detect(batch.images, batch.sizes, DETECTION)
        return detector.losses(batch, seeds, TRAINING), found

    for sizes in (SIZES, SIZES[:1], ((200, 30), (30, 200))):
        losses, found = both(batch_of(sizes), seeds(len(sizes)))
        expected = detector.losses(batch_of(sizes), seeds(len(sizes)), TRAINING)
        np.testing.assert_allclose([*losses], [*expected], rtol=1e-4)
        assert len(found.boxes) == len(sizes)
    assert len(traces) == 1


@pytest.mark.slow
def test_a_fixed_shape_needs_no_mask():
    detector = toy.detector()
    run = tf.function(lambda images, sizes: detector.detect(images, sizes, DETECTION).boxes)
    graph = run.get_concrete_function(
        tf.TensorSpec((None, 64, 64, 3)), tf.TensorSpec((None, 2))
    ).graph
    maps = [op for op in graph.get_operations() if op.outputs and op.outputs[0].shape.rank == 4]
    assert not [op for op in maps if op.type == "SelectV2"]


# Other people's layers ------------------------------------------------------------------------


class Shift(keras.layers.Layer):
    """Gives each cell what its left neighbour had: no layer that anybody knows."""

    def call(self, x):
        return tf.roll(x, 1, axis=2)


def shifting():
    """A dynamic detector with a layer in it that looks at neighbours."""
    known = toy.detector(freeze_bn=True)
    images = keras.Input((None, None, 3))
    features = keras.Model(images, known.features(Shift(name="shift")(images)))
    parts = known.parts | {"features": features}
    return FasterRCNN(**parts, anchors=known.anchors, dynamic_shape=True)


def test_a_layer_that_is_not_known_leaves_batches_of_one_image():
    detector, batch = shifting(), batch_of(((40, 100),))
    assert "The layer shift (Shift) " in detector.only_single_images
    found = detector.detect(batch.images, batch.sizes, DETECTION)
    assert found.counts.numpy()[0] > 0
    assert np.isfinite(detector.losses(batch, seeds(1), TRAINING).total.numpy())


@pytest.mark.slow
def test_several_images_are_refused_then_also_in_a_graph():
    detector, batch = shifting(), batch_of()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"shift \(Shift\)"):
        detector.detect(batch.images, batch.sizes, DETECTION)
    run = tf.function(lambda images, sizes: detector.detect(images, sizes, DETECTION))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"shift \(Shift\)"):
        run(batch.images, batch.sizes)


def test_a_map_of_another_stride_leaves_batches_of_one_image():
    known = toy.detector()
    images = keras.Input((None, None, 3))
    features = keras.Model(images, keras.layers.ZeroPadding2D(1)(known.features(images)))
    parts = known.parts | {"features": features}
    detector = FasterRCNN(**parts, anchors=known.anchors, dynamic_shape=True)
    assert "one cell for 16 pixels" in detector.only_single_images


def test_a_fixed_shape_takes_any_layer():
    known = shifting()
    static = FasterRCNN(**known.parts, anchors=known.anchors)
    assert static.only_single_images == ""


# Every backbone -------------------------------------------------------------------------------


BACKBONES = [entry.component for entry in installed().backbones]
CONFIGS = [
    pytest.param(
        component,
        {"use_pooling": pooling},
        id=f"{component.name}{'-pooled' * pooling}",
        marks=pytest.mark.conformance if pooling else marks_of(component.name),
    )
    for component in BACKBONES
    for pooling in ((False, True) if "use_pooling" in component.honours else (False,))
]


FEW = ((40, 60), (33, 20))
"""Sizes of what backbones are shown: all of it is computed in float64, operation by operation."""


def drawn(component: Backbone, **config):
    """Its first variant with random weights, for images of different sizes."""
    keras.utils.set_random_seed(1)
    anchors = Anchors(scales=(16.0, 32.0), ratios=(1.0,))
    config = BackboneConfig(
        variant=next(iter(component.variants), ""),
        pool_size=2,  # VGG's first dense layer has 2 million weights per cell, here of 8 bytes
        freeze_bn=True,
        options=parse(component.Options, {}, where="options"),
        **config,
    )
    parts = draw(component, config, channels=3, anchors_per_cell=2, num_classes=2)
    return dynamic(FasterRCNN(*parts, anchors=anchors))


def precise(detector):
    """The same with statistics of noise, in float64, and with a smooth head.

    Otherwise a deep network makes nearly one and the same of all cells, and rounding decides which
    scores highest, which units of a ReLU are on, and which cell of a pool is the largest.  Crops
    are rounded to float32 whatever the layers' precision is.
    """
    measure_statistics(detector, [batch_of(FEW)], TRAINING)
    parts = {}
    for name, part in detector.parts.items():
        text = with_precision(part.to_json(), "float64")
        if name == "head":
            text = text.replace('"relu"', '"softplus"')
        parts[name] = keras.models.model_from_json(text)
        parts[name].set_weights(part.get_weights())
    return FasterRCNN(**parts, anchors=detector.anchors, dynamic_shape=True)


@pytest.mark.parametrize(("component", "config"), CONFIGS)
def test_every_backbone_is_known(component, config):
    assert sketch(lambda: drawn(component, **config)).only_single_images == ""


@pytest.mark.slow
@pytest.mark.parametrize(("component", "config"), CONFIGS)
def test_with_every_backbone_no_image_depends_on_the_others(component, config):
    detector = precise(drawn(component, **config))
    assert_detects_the_same(detector, batch_of(FEW, fill=np.nan))
    # In batches of other sizes crops, which are float32, round otherwise: googlenet by 1.1e-4.
    assert_learns_the_same(detector, batch_of(FEW), rtol=3e-4)
