"""Sizes of what is not built: parameters by hand, and operations against those of what is built."""

import keras
import pytest
import toy
from keras import layers

from frcnn_core.detector import flops
from frcnn_core.pruning import Criterion, Plan, find_channels, prune
from frcnn_core.pruning.sizes import Sizes


def sizes_of(output, *, inputs):
    parts = {"features": keras.Model(inputs, layers.Conv2D(1, 1, name="last")(output))}
    channels = find_channels(parts)
    return channels, Sizes(parts, channels)


def test_every_kind_of_layer_is_counted_with_the_channels_that_stay():
    x = keras.Input((2, 2, 3))
    y = layers.Conv2D(10, 3, padding="same", name="a")(x)
    y = layers.BatchNormalization()(y)
    y = layers.DepthwiseConv2D(3, padding="same")(y)
    channels, sizes = sizes_of(y, inputs=x)
    # Per channel: 27 weights, a bias, 4 of the normalization, 10 of the depthwise one, 1 of last.
    assert sizes.whole == 10 * (27 + 1 + 4 + 10 + 1) + 1
    assert sizes.num_parameters({channels.groups[0]: 4}) == 4 * 43 + 1


def test_layers_that_pruning_does_not_know_are_counted_as_they_are():
    x = keras.Input((2, 2, 3))
    y = layers.LayerNormalization()(layers.Conv2D(4, 1, name="a")(x))
    y = layers.Conv2D(5, 1, name="b")(y)
    channels, sizes = sizes_of(y, inputs=x)
    groups = {group.layers[0]: group for group in channels.groups}
    assert sizes.num_parameters({groups["features/b"]: 2}) == 16 + 8 + 2 * (4 + 1 + 1) + 1


@pytest.mark.slow
def test_operations_are_those_of_the_network_that_is_built():
    model = toy.model()
    detector = model.detector
    plan = Plan(detector.parts, Criterion(granularity=1, min_num_filters=2))
    settings = {"images": (1, 64, 64, 3), "rois_per_image": 5}
    operations = flops.of_layers(detector, **settings)
    assert sum(operations.values()) == sum(flops.of_detection(detector, **settings).values())
    for ratio in (0.7, 0.3):
        threshold = plan.threshold_for(ratio)
        smaller = prune(model, plan, threshold).detector
        expected = sum(flops.of_detection(smaller, **settings).values())
        assert plan.sizes.num_operations(operations, plan.counts(threshold)) == expected
        assert expected < sum(operations.values())


@pytest.mark.slow
def test_parameters_are_those_of_the_network_that_is_built():
    model = toy.model()
    plan = Plan(model.detector.parts, Criterion(granularity=1, min_num_filters=2))
    assert plan.sizes.whole == model.num_parameters
    for ratio in (0.7, 0.3):
        threshold = plan.threshold_for(ratio)
        assert plan.num_parameters(threshold) == prune(model, plan, threshold).num_parameters
