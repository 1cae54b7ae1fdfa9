import numpy as np
import pytest
import tensorflow as tf
import toy
from toy import noise

from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.settings import TrainingSettings
from frcnn_core.training import statistics as calibration

SETTINGS = TrainingSettings(
    rpn_mini_batch=8, roi_mini_batch=4, rpn_pre_nms_top_n=32, rpn_nms_max_boxes=8
)


def norms(detector) -> list[BatchNormalization]:
    layers = (layer for part in detector.parts.values() for layer in part.layers)
    return [layer for layer in layers if isinstance(layer, BatchNormalization)]


@pytest.mark.slow
def test_the_statistics_are_the_mean_of_what_each_batch_shows_a_layer():
    detector = toy.detector(freeze_bn=True)
    batches = [noise(16, 0), noise(16, 1)]
    conv, norm = detector.features.get_layer("conv0"), detector.features.get_layer("conv0_bn")
    padded = [tf.pad(b.images, [[0, 0], [1, 1], [1, 1], [0, 0]]) for b in batches]
    seen = [conv(images).numpy() for images in padded]
    calibration.measure_statistics(detector, batches, SETTINGS)
    means = np.mean([x.mean((0, 1, 2)) for x in seen], axis=0)
    variances = np.mean([x.var((0, 1, 2)) for x in seen], axis=0)
    np.testing.assert_allclose(norm.moving_mean, means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variances, rtol=1e-4)


@pytest.mark.slow
def test_only_the_statistics_that_are_asked_for_are_measured():
    detector = toy.detector(freeze_bn=True)
    given = {"conv0_bn", "conv1_bn"}
    calibration.measure_statistics(
        detector, [noise(32, 0)], SETTINGS, of=lambda name: name not in given
    )
    changed = {norm.name for norm in norms(detector) if norm.moving_mean.numpy().any()}
    assert changed == {norm.name for norm in norms(detector)} - given
    assert all(norm.frozen_statistics for norm in norms(detector))


@pytest.mark.slow
def test_afterwards_the_statistics_are_frozen_again():
    detector = toy.detector(freeze_bn=True)
    calibration.measure_statistics(detector, [noise(32, 0)], SETTINGS)
    before = [norm.moving_mean.numpy() for norm in norms(detector)]
    detector.losses(noise(2, 1), tf.zeros([2, 2], tf.int32), SETTINGS)
    for norm, mean in zip(norms(detector), before, strict=True):
        assert norm.frozen_statistics
        assert norm.momentum == 0.99
        np.testing.assert_array_equal(norm.moving_mean, mean)


@pytest.mark.slow
def test_nothing_but_statistics_changes():
    detector = toy.detector(freeze_bn=True)
    before = [variable.numpy() for variable in detector.trainable_variables]
    calibration.measure_statistics(detector, [noise(32, 0)], SETTINGS)
    for variable, value in zip(detector.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.slow
@pytest.mark.parametrize("sizes, used", [((16, 16, 16), 2), ((32, 2), 1), ((4, 4), 2)])
def test_no_more_batches_are_drawn_than_needed(sizes, used):
    drawn = []

    def batches():
        for seed, size in enumerate(sizes):
            drawn.append(size)
            yield noise(size, seed)

    calibration.measure_statistics(toy.detector(freeze_bn=True), batches(), SETTINGS)
    assert len(drawn) == used
    assert calibration.NUM_IMAGES == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    "each, processes, together",
    [(2, 1, 2), (2, 2, 4), (4, 16, 32), (64, 2, 64)],
)
def test_several_processes_measure_with_the_batch_of_one_but_not_beyond_the_images_needed(
    each, processes, together
):
    assert calibration.batch_size(each, processes) == together
