"""The four losses on numbers small enough for paper, and against plain loops."""

import math

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import losses

YES, NO = True, False


def tensor(values):
    return tf.constant(values, tf.float32)


@pytest.mark.parametrize(
    "error, loss", [(0.05, 0.01125), (1 / 9, 0.0555556), (0.5, 0.4444444), (2, 1.9444444)]
)
def test_published_smooth_l1_of_sigma_3(error, loss):
    for signed in (error, -error):
        assert losses.smooth_l1(tensor(signed), sigma=3.0).numpy() == pytest.approx(loss, abs=1e-6)


def test_smooth_l1_of_sigma_1_is_half_the_square_up_to_1():
    values = losses.smooth_l1(tensor([0.0, 0.5, 1.0, 3.0]), sigma=1.0).numpy()
    assert values.tolist() == [0, 0.125, 0.5, 2.5]


def test_a_logit_of_0_costs_the_logarithm_of_2():
    loss = losses.rpn_class_loss(tensor([[0.0, 0.0]]), [[YES, NO]], [[YES, YES]])
    assert loss.numpy() == pytest.approx(math.log(2))


def test_a_sure_and_right_objectness_costs_nothing():
    loss = losses.rpn_class_loss(tensor([[99.0, -99.0]]), [[YES, NO]], [[YES, YES]])
    assert loss.numpy() == pytest.approx(0)


def test_rpn_class_loss_is_divided_by_the_configured_number_not_by_the_valid_one():
    logits = tensor([[0.0, 7.0, 7.0, 7.0]])
    loss = losses.rpn_class_loss(logits, [[YES, NO, NO, NO]], [[YES, NO, NO, NO]])
    assert loss.numpy() == pytest.approx(math.log(2) / 4)


def test_rpn_box_loss_sums_the_four_offsets_of_positives_and_divides_by_all():
    # 4 offsets off by 0.5 cost 0.4444 each; the negative anchor's do not count.
    deltas, targets = tensor([[[0.5] * 4, [9.0] * 4]]), tensor(np.zeros((1, 2, 4)))
    loss = losses.rpn_box_loss(deltas, targets, tf.constant([[YES, NO]]))
    assert loss.numpy() == pytest.approx(4 * 0.4444444 / 2)


def test_an_image_without_positives_halves_the_box_loss_of_a_batch_of_two():
    deltas, targets = tensor(np.full((2, 1, 4), 0.5)), tensor(np.zeros((2, 1, 4)))
    both = losses.rpn_box_loss(deltas, targets, tf.constant([[YES], [YES]])).numpy()
    one = losses.rpn_box_loss(deltas, targets, tf.constant([[YES], [NO]])).numpy()
    assert one == pytest.approx(both / 2)


def test_equal_class_logits_cost_the_logarithm_of_their_number():
    loss = losses.head_class_loss(tensor(np.zeros((1, 2, 3))), [[0, 2]], [[YES, YES]])
    assert loss.numpy() == pytest.approx(math.log(3))


def test_padding_rois_cost_nothing_and_still_divide():
    loss = losses.head_class_loss(tensor(np.zeros((1, 4, 3))), [[0, 2, 2, 2]], [[YES, NO, NO, NO]])
    assert loss.numpy() == pytest.approx(math.log(3) / 4)


def test_only_the_box_of_a_rois_own_class_costs():
    deltas = tensor([[[[9.0] * 4, [0.5] * 4]]])  # of classes 0 and 1
    loss = losses.head_box_loss(
        deltas, tensor([[[0.0] * 4]]), tf.constant([[1]]), tf.constant([[YES]])
    )
    assert loss.numpy() == pytest.approx(4 * 0.125)


def test_background_has_no_box():
    deltas = tensor(np.full((1, 2, 2, 4), 9.0))
    classes, positive = tf.constant([[2, 2]]), tf.constant([[NO, NO]])
    assert losses.head_box_loss(deltas, tensor(np.ones((1, 2, 4))), classes, positive).numpy() == 0


def test_a_target_that_is_no_number_does_not_count_for_a_negative():
    targets = tensor([[[float("nan")] * 4, [0.0] * 4]])
    loss = losses.rpn_box_loss(tf.ones((1, 2, 4)), targets, tf.constant([[NO, YES]]))
    assert loss.numpy() == pytest.approx(4 * (1 - 0.5 / 9) / 2)


def test_the_total_is_the_sum_of_the_five_terms():
    terms = losses.Losses(*map(tf.constant, (1.0, 2.0, 3.0, 4.0, 0.5)))
    assert terms.total.numpy() == 10.5


@pytest.mark.slow
def test_all_four_equal_plain_loops_on_random_numbers():
    random = np.random.default_rng(0)
    images, samples, classes = 3, 5, 2
    logits = random.normal(size=(images, samples))
    deltas, targets = random.normal(size=(2, images, samples, 4))
    class_logits = random.normal(size=(images, samples, classes + 1))
    refinements = random.normal(size=(images, samples, classes, 4))
    positive = random.random((images, samples)) < 0.4
    valid = positive | (random.random((images, samples)) < 0.7)
    labels = np.where(positive, random.integers(0, classes, (images, samples)), classes)

    def smooth(error, sigma):
        error = abs(error)
        return 0.5 * (sigma * error) ** 2 if error < 1 / sigma**2 else error - 0.5 / sigma**2

    expected = np.zeros(4)
    for i in range(images):
        for m in range(samples):
            share = 1 / samples / images
            if valid[i, m]:
                probability = 1 / (1 + math.exp(-logits[i, m]))
                right = probability if positive[i, m] else 1 - probability
                expected[0] -= share * math.log(right)
                exponentials = np.exp(class_logits[i, m])
                right = exponentials[labels[i, m]] / exponentials.sum()
                expected[2] -= share * math.log(right)
            if positive[i, m]:
                for k in range(4):
                    own = refinements[i, m, labels[i, m], k]
                    expected[1] += share * smooth(deltas[i, m, k] - targets[i, m, k], 3)
                    expected[3] += share * smooth(own - targets[i, m, k], 1)

    found = (
        losses.rpn_class_loss(tensor(logits), positive, valid),
        losses.rpn_box_loss(tensor(deltas), tensor(targets), positive),
        losses.head_class_loss(tensor(class_logits), tf.constant(labels, tf.int32), valid),
        losses.head_box_loss(
            tensor(refinements), tensor(targets), tf.constant(labels, tf.int32), positive
        ),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
