"""The detector as a whole: losses that can be worked out on paper, detections that were planted."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy

from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.structures import Batch

TRAINING = TrainingSettings(
    gt_as_roi=True,
    rpn_mini_batch=16,
    roi_mini_batch=16,
    rpn_pre_nms_top_n=32,
    rpn_nms_max_boxes=16,
)
DETECTION = DetectionSettings(
    rpn_pre_nms_top_n=32, rpn_nms_max_boxes=16, object_confidence_thres=0.0
)
SQUARE = [10, 12, 42, 44]
PADDING = [0, 0, 0, 0]


def batch(*boxes, images=None, size=(64, 64)):
    """A batch with one list of boxes per image; all are of class 1 where they are no padding."""
    boxes = np.array(boxes, "float32")
    count = len(boxes)
    if images is None:
        images = np.random.default_rng(0).standard_normal((count, 64, 64, 3), "float32")
    return Batch(
        images=tf.constant(images),
        sizes=tf.tile(tf.constant([size], tf.float32), [count, 1]),
        scales=tf.ones((count, 2)),
        boxes=tf.constant(boxes),
        classes=tf.constant(np.where(boxes.any(-1), 1, -1), tf.int32),
        difficult=tf.zeros(boxes.shape[:2], tf.bool),
        names=tf.constant([f"{i}.png" for i in range(count)]),
    )


def seeds(count, first=0):
    return tf.constant([[5, first + 4 * i] for i in range(count)], tf.int32)


def values(losses):
    return {name: float(value) for name, value in losses._asdict().items()}


@pytest.fixture(scope="module")
def detector():
    """Random weights; no test may change them."""
    return toy.detector()


@pytest.fixture(scope="module")
def ignorant():
    """A detector whose logits and deltas are all 0: every anchor proposes itself, and the classes
    are equally likely."""
    detector = toy.detector()
    for part, names in (
        (detector.rpn, ("rpn_out_class", "rpn_out_regress")),
        (detector.head, ("dense_class", "dense_regress")),
    ):
        for name in names:
            for weight in part.get_layer(name).weights:
                weight.assign(np.zeros(weight.shape))
    return detector


# Losses ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_losses_of_an_ignorant_detector_are_those_on_paper(ignorant):
    """One box of 16 x 12 in the first anchor of 16 x 16, the only proposal beside the truth.

    Both are positive RoIs and take turns, as there is no negative.
    """
    settings = TrainingSettings(
        gt_as_roi=True,
        rpn_mini_batch=64,
        roi_mini_batch=4,
        rpn_pre_nms_top_n=1,
        rpn_nms_max_boxes=1,
    )
    found = values(ignorant.losses(batch([[0, 0, 16, 12]]), seeds(1), settings))
    # 16 small anchors and 4 of the large ones are inside; one is positive with an overlap of 0.75
    # and none is in between.
    assert found["rpn_class"] == pytest.approx(20 * math.log(2) / 64, rel=1e-5)
    # dx is -2 / 16, dw is log(12 / 16); beyond 1 / 9, smooth L1 is the size less 1 / 18.
    dx, dw = 2 / 16, -math.log(12 / 16)
    assert found["rpn_box"] == pytest.approx((dx + dw - 2 / 18) / 64, rel=1e-5)
    assert found["head_class"] == pytest.approx(math.log(3), rel=1e-5)
    # Scaled by 10 and 5 both are beyond 1; of 4 RoIs 2 are the proposal, 2 the box itself.
    assert found["head_box"] == pytest.approx(2 * (10 * dx + 5 * dw - 1) / 4, rel=1e-5)
    assert found["regularization"] == 0


def test_an_image_without_objects_learns_background_and_no_boxes(ignorant):
    found = values(ignorant.losses(batch([PADDING]), seeds(1), TRAINING))
    assert found["rpn_class"] == pytest.approx(math.log(2), rel=1e-5)  # 16 of 20 anchors
    assert found["head_class"] == pytest.approx(math.log(3), rel=1e-5)
    assert found["rpn_box"] == found["head_box"] == 0


def test_losses_are_divided_by_the_configured_numbers_of_samples(ignorant):
    settings = TrainingSettings(rpn_mini_batch=80, roi_mini_batch=8, rpn_nms_max_boxes=16)
    found = values(ignorant.losses(batch([PADDING]), seeds(1), settings))
    assert found["rpn_class"] == pytest.approx(20 * math.log(2) / 80, rel=1e-5)


def test_an_image_with_no_roi_at_all_adds_nothing_to_the_heads_losses(ignorant):
    # RoIs that overlap nothing are no negatives when the lower threshold is above 0.
    settings = TrainingSettings(classifier_min_overlap=0.1, rpn_nms_max_boxes=16)
    found = values(ignorant.losses(batch([PADDING]), seeds(1), settings))
    assert found["head_class"] == found["head_box"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("boxes", [[[PADDING]] * 2, [[SQUARE], [PADDING]]])
def test_losses_and_gradients_are_finite_where_images_are_empty(detector, boxes):
    variables = [variable.value for variable in detector.trainable_variables]
    with tf.GradientTape() as tape:
        losses = detector.losses(batch(*boxes), seeds(2), TRAINING)
        total = losses.total
    assert all(map(math.isfinite, values(losses).values()))
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        if gradient is not None:
            assert np.isfinite(gradient).all(), variable.name


@pytest.mark.slow
@pytest.mark.parametrize("gt_as_roi", [False, True])
def test_padding_rows_of_the_ground_truth_change_nothing(detector, gt_as_roi):
    settings = replace(TRAINING, gt_as_roi=gt_as_roi)
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    tight = detector.losses(batch([SQUARE], images=images), seeds(1), settings)
    padded = detector.losses(batch([SQUARE] + [PADDING] * 5, images=images), seeds(1), settings)
    np.testing.assert_allclose(list(tight), list(padded), rtol=1e-6)


@pytest.mark.slow
def test_the_lambdas_weigh_the_losses(detector):
    weights = {
        "lambda_rpn_class": 2.0,
        "lambda_rpn_regr": 3.0,
        "lambda_cls_class": 4.0,
        "lambda_cls_regr": 5.0,
    }
    plain = detector.losses(batch([SQUARE]), seeds(1), TRAINING)
    found = detector.losses(batch([SQUARE]), seeds(1), replace(TRAINING, **weights))
    np.testing.assert_allclose(found, np.array(plain) * [2, 3, 4, 5, 1], rtol=1e-6)


@pytest.mark.slow
def test_losses_are_the_same_for_the_same_seeds_and_differ_for_others(detector):
    def losses(first):
        return values(detector.losses(batch([SQUARE]), seeds(1, first), TRAINING))

    assert losses(0) == losses(0)
    assert losses(0) != losses(400)


@pytest.mark.slow
def test_a_batchs_loss_is_the_mean_of_its_images_losses():
    # With frozen statistics, images do not see each other.
    detector = toy.detector(freeze_bn=True)
    both = batch([SQUARE], [PADDING])
    together = detector.losses(both, seeds(2), TRAINING)
    apart = [
        detector.losses(
            Batch(*(column[i : i + 1] for column in both)), seeds(2)[i : i + 1], TRAINING
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(list(together), np.mean(apart, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_regularization_is_the_weight_times_the_sum_of_squared_kernels():
    detector = toy.detector(kernel_regularizer=keras.regularizers.L2(0.5), freeze_blocks={0})
    kernels = [
        variable.numpy()
        for part in detector.parts.values()
        for variable in part.trainable_variables
        if variable.name == "kernel"
    ]
    assert len(kernels) == 3 + 3 + 3  # backbone less its frozen block, RPN, head
    expected = 0.5 * sum((kernel**2).sum() for kernel in kernels)
    losses = detector.losses(batch([PADDING]), seeds(1), TRAINING)
    assert float(losses.regularization) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_heads_losses_do_not_reach_the_rpn(detector):
    variables = [variable.value for variable in detector.rpn.trainable_variables]
    with tf.GradientTape() as tape:
        losses = detector.losses(batch([SQUARE]), seeds(1), TRAINING)
        head = losses.head_class + losses.head_box
    assert all(gradient is None for gradient in tape.gradient(head, variables))


def descend(detector, steps=2):
    """Weights before and after a few steps, by path."""
    optimizer = keras.optimizers.SGD(0.1)
    weights = {
        f"{name}/{weight.path}": weight
        for name, part in detector.parts.items()
        for weight in part.weights
    }
    before = {path: weight.numpy() for path, weight in weights.items()}
    for step in range(steps):
        variables = detector.trainable_variables
        with tf.GradientTape() as tape:
            total = detector.losses(batch([SQUARE], [PADDING]), seeds(2, step), TRAINING).total
        gradients = tape.gradient(total, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
    return {path for path, weight in weights.items() if (weight.numpy() != before[path]).any()}


@pytest.mark.slow
def test_frozen_blocks_stay_and_their_normalizations_learn():
    changed = descend(toy.detector(freeze_blocks=frozenset({0, 2})))
    assert not changed & {"features/conv0/kernel", "features/conv2/kernel"}
    assert changed >= {"features/conv1/kernel", "features/conv0_bn/gamma"}
    assert "features/conv0_bn/moving_mean" in changed


@pytest.mark.slow
def test_freeze_bn_keeps_all_statistics_while_gamma_and_beta_learn():
    changed = descend(toy.detector(freeze_bn=True))
    assert not any("moving" in path for path in changed)
    for norm in ("features/conv0_bn", "features/conv3_bn", "head/head_conv_bn"):
        assert {f"{norm}/gamma", f"{norm}/beta"} <= changed


@pytest.mark.slow
def test_without_freezing_everything_learns():
    detector = toy.detector()
    everything = {
        f"{name}/{weight.path}" for name, part in detector.parts.items() for weight in part.weights
    }
    assert descend(detector) == everything


# Detections -----------------------------------------------------------------------------------


def oracle():
    """A detector with weights set by hand: it looks for a white cell of 16 x 16 pixels.

    The RPN shifts each anchor right by a quarter of its width and doubles its width.  The head
    takes class 1 for white, moves its box right by a tenth of its width and halves its height.
    """
    images = keras.Input((None, None, 1))
    features = keras.Model(images, keras.layers.AveragePooling2D(16)(images))
    cells = keras.Input((None, None, 1))
    objectness = keras.layers.Conv2D(1, 1)
    deltas = keras.layers.Conv2D(4, 1)
    rpn = keras.Model(cells, [objectness(cells), deltas(cells)])
    objectness.set_weights([np.full((1, 1, 1, 1), 20.0), np.array([-10.0])])
    deltas.set_weights([np.zeros((1, 1, 1, 4)), np.array([0.25, 0, math.log(2), 0])])
    crops = keras.Input((5, 5, 1))
    brightest = keras.layers.GlobalMaxPooling2D()(crops)
    classes, refinements = keras.layers.Dense(3), keras.layers.Dense(8)
    head = keras.Model(crops, [classes(brightest), refinements(brightest)])
    classes.set_weights([np.array([[0.0, 20.0, 0.0]]), np.array([0.0, -10.0, 0.0])])
    of_class_1 = [10 * 0.1, 0, 0, 5 * math.log(0.5)]
    refinements.set_weights([np.zeros((1, 8)), np.array([9.0] * 4 + of_class_1)])
    return FasterRCNN(features, rpn, head, anchors=Anchors(scales=(16.0,), ratios=(1.0,)))


def white_cell(row, column, height=64, width=96):
    image = np.zeros((height, width, 1), "float32")
    image[16 * row : 16 * (row + 1), 16 * column : 16 * (column + 1)] = 1
    return image


def test_detect_finds_a_planted_object_where_it_was_told_to():
    settings = DetectionSettings(rpn_nms_max_boxes=1, object_confidence_thres=0.5)
    images = np.stack([white_cell(1, 3), white_cell(2, 1)])
    found = oracle().detect(images, tf.constant([[64.0, 96]] * 2), settings)
    # The anchor (16, 48, 32, 64) becomes the proposal (16, 44, 32, 76); so does the other.
    np.testing.assert_allclose(found.proposals, [[[16, 44, 32, 76]], [[32, 12, 48, 44]]], atol=1e-3)
    # 32 wide, moved by 3.2; 16 high, halved around its centre.
    expected = [[20, 47.2, 28, 79.2], [36, 15.2, 44, 47.2]]
    np.testing.assert_allclose(found.boxes[:, 0], expected, atol=1e-3)
    assert found.counts.numpy().tolist() == [1, 1]
    assert found.classes[:, 0].numpy().tolist() == [1, 1]
    assert found.scores[:, 0].numpy().min() > 0.9


def test_rows_without_a_detection_are_zero_and_of_class_minus_1():
    settings = DetectionSettings(
        rpn_nms_max_boxes=1, object_confidence_thres=0.5, classifier_nms_max_boxes=3
    )
    found = oracle().detect(white_cell(1, 3)[None], tf.constant([[64.0, 96]]), settings)
    assert found.classes.numpy().tolist() == [[1, -1, -1]]
    assert not found.boxes[0, 1:].numpy().any() and not found.scores[0, 1:].numpy().any()


def test_detections_end_at_the_border_of_the_image_not_of_the_batch():
    settings = DetectionSettings(rpn_nms_max_boxes=1, object_confidence_thres=0.1)
    found = oracle().detect(white_cell(1, 3)[None], tf.constant([[64.0, 70]]), settings)
    assert found.proposals.numpy()[0, 0, 3] == 70
    assert found.boxes.numpy()[0, 0, 3] == 70


def test_padding_of_the_proposals_detects_nothing():
    # Two cells leave two proposals at most; 14 rows of padding follow.
    settings = DetectionSettings(rpn_nms_max_boxes=16, object_confidence_thres=0.0)
    found = oracle().detect(
        np.zeros((1, 16, 32, 1), "float32"), tf.constant([[16.0, 32]]), settings
    )
    assert not found.proposals[0, 2:].numpy().any()
    count = int(found.counts[0])
    assert 0 < count <= 2 * 2  # two proposals, two classes
    assert found.boxes[0, :count].numpy().any(axis=1).all()


def pictures(count):
    random = np.random.default_rng(3)
    return random.standard_normal((count, 64, 64, 3), "float32"), np.full((count, 2), 64, "float32")


@pytest.mark.slow
def test_an_images_detections_do_not_depend_on_the_batch_it_is_in(detector):
    images, sizes = pictures(3)
    together = detector.detect(images, sizes, DETECTION)
    assert together.counts.numpy().min() > 0
    for i in range(3):
        alone = detector.detect(images[i : i + 1], sizes[i : i + 1], DETECTION)
        for name, column in alone._asdict().items():
            np.testing.assert_allclose(
                column[0], getattr(together, name)[i], atol=1e-3, err_msg=name
            )


@pytest.mark.slow
def test_one_trace_serves_batches_of_any_size_and_number_of_boxes(detector):
    traces = []

    @tf.function(
        input_signature=[
            Batch(
                tf.TensorSpec([None, 64, 64, 3]),
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([None, None, 4]),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None, None], tf.bool),
                tf.TensorSpec([None], tf.string),
            ),
            tf.TensorSpec([None, 2], tf.int32),
        ]
    )
    def both(batch, seeds):
        traces.append(1)
        found = detector.detect(batch.images, batch.sizes, DETECTION)
        return detector.losses(batch, seeds, TRAINING), found

    for boxes in ([[SQUARE]], [[SQUARE, PADDING]] * 3, [[SQUARE] * 4] * 2):
        losses, found = both(batch(*boxes), seeds(len(boxes)))
        assert len(found.boxes) == len(boxes)
        assert all(map(math.isfinite, values(losses).values()))
    assert len(traces) == 1


def test_detecting_does_not_move_statistics(detector):
    before = [weight.numpy() for weight in detector.features.weights]
    detector.detect(*pictures(2), DETECTION)
    for weight, old in zip(detector.features.weights, before, strict=True):
        assert (weight.numpy() == old).all()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_boxes_scores_and_losses_are_float32_in_mixed_precision(precision):
    detector = toy.detector(precision=precision)
    found = detector.detect(*pictures(1), DETECTION)
    assert found.boxes.dtype == found.scores.dtype == tf.float32
    losses = detector.losses(batch([SQUARE]), seeds(1), TRAINING)
    assert {term.dtype for term in losses} == {tf.float32}
    assert all(map(math.isfinite, values(losses).values()))


BETWEEN_LAYERS = {
    "CombinedNonMaxSuppression",
    "CropAndResize",
    "DivNoNan",
    "Exp",
    "Log",
    "Maximum",
    "Minimum",
    "RealDiv",
    "Sigmoid",
    "Softmax",
    "SparseSoftmaxCrossEntropyWithLogits",
    "Square",
    "TopKV2",
}
"""Operations of boxes, overlaps, scores and losses that no layer of a toy takes."""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_only_layers_compute_in_16_bits(precision):
    detector = toy.detector(precision=precision, kernel_regularizer=keras.regularizers.L2(0.1))
    half = tf.as_dtype(precision.removeprefix("mixed_"))

    @tf.function(autograph=False)
    def both(images, sizes, given, seeds):
        return detector.losses(given, seeds, TRAINING), detector.detect(images, sizes, DETECTION)

    graph = both.get_concrete_function(*pictures(1), batch([SQUARE]), seeds(1)).graph
    in_16_bits, in_32_bits = set(), set()
    for operation in graph.get_operations():
        dtypes = {tensor.dtype for tensor in [*operation.inputs, *operation.outputs]}
        if half in dtypes:
            in_16_bits.add(operation.type)
        elif tf.float32 in dtypes:
            in_32_bits.add(operation.type)
    assert {"Conv2D", "MatMul", "Relu"} <= in_16_bits - in_32_bits
    assert BETWEEN_LAYERS <= in_32_bits - in_16_bits


# Drawing --------------------------------------------------------------------------------------


def test_output_layers_are_called_as_in_tlt(detector):
    names = [layer.name for part in (detector.rpn, detector.head) for layer in part.layers]
    for name in ("rpn_conv1", "rpn_out_class", "rpn_out_regress", "dense_class", "dense_regress"):
        assert name in names


def test_outputs_are_as_many_as_anchors_and_classes(detector):
    assert [output.shape[-1] for output in detector.rpn.outputs] == [2, 2 * 4]
    assert [output.shape[-1] for output in detector.head.outputs] == [3, 2 * 4]
    assert detector.num_classes == 2
    assert detector.rpn.get_layer("rpn_conv1").filters == 512


@pytest.mark.slow
def test_only_statistics_that_move_are_moving_variables():
    moving = toy.detector().moving_variables
    assert [variable.name for variable in moving] == ["moving_mean", "moving_variance"] * 5
    assert toy.detector(freeze_bn=True).moving_variables == []


@pytest.mark.slow
def test_a_layer_can_name_moving_variables_of_its_own():
    detector = toy.detector(freeze_bn=True)
    layer = detector.rpn.layers[-1]
    layer.moving_variables = [layer.bias]
    assert [variable is layer.bias for variable in detector.moving_variables] == [True]


@pytest.mark.slow
def test_plain_normalizations_of_keras_move_unless_they_are_frozen_wherever_they_are():
    inner = keras.Sequential([keras.layers.BatchNormalization(), keras.layers.Conv2D(4, 1)])
    images = keras.Input((None, None, 3))
    drawn = toy.detector(freeze_bn=True)
    parts = drawn.parts | {"features": keras.Model(images, inner(images))}
    detector = FasterRCNN(*parts.values(), anchors=drawn.anchors)
    norm = inner.layers[0]
    assert [id(v) for v in detector.moving_variables] == [
        id(norm.moving_mean),
        id(norm.moving_variance),
    ]
    norm.trainable = False
    assert detector.moving_variables == []
