"""Scores of channels: numbers by hand, and loops over single weights."""

import math
import random

import keras
import numpy as np
import pytest
from keras import layers
from random_networks import detector

from frcnn_core.errors import FrcnnError
from frcnn_core.pruning import find_channels
from frcnn_core.pruning.scores import channel_scores, equalized, filter_norms, normalized

NORMALIZERS = ("max", "L2")
EQUALIZATIONS = ("union", "intersection", "arithmetic_mean", "geometric_mean")


def test_the_norm_of_a_filter_is_over_all_but_its_last_axis():
    kernel = np.zeros((1, 2, 2, 2))
    kernel[0, :, :, 0] = [[1, 1], [1, 1]]
    kernel[0, :, :, 1] = [[0, 3], [4, 0]]
    assert filter_norms(kernel).tolist() == [2, 5]


def test_a_dense_layer_has_a_filter_for_each_unit():
    assert filter_norms(np.array([[3.0, 0], [4, 1]])).tolist() == [5, 1]


def test_a_depthwise_kernel_has_a_filter_for_each_channel_that_comes_in():
    kernel = np.zeros((1, 2, 3, 1))
    kernel[0, :, :, 0] = [[3, 1, 0], [4, 0, 0]]
    assert filter_norms(kernel, depthwise=True).tolist() == [5, 1, 0]


def test_max_divides_by_the_largest_norm():
    assert normalized(np.array([1.0, 4, 2]), "max").tolist() == [0.25, 1, 0.5]


def test_l2_divides_by_the_norm_of_the_norms_and_multiplies_by_their_number():
    assert normalized(np.array([3.0, 4]), "L2") == pytest.approx([2 * 3 / 5, 2 * 4 / 5])
    assert normalized(np.full(16, 0.1), "L2") == pytest.approx(np.full(16, 4))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_a_layer_of_zeros_has_scores_of_zero(normalizer):
    assert normalized(np.zeros(3), normalizer).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "equalization, expected",
    [
        ("union", [0.9, 0.8]),
        ("intersection", [0.1, 0.2]),
        ("arithmetic_mean", [0.5, 0.5]),
        ("geometric_mean", [0.3, 0.4]),
    ],
)
def test_layers_agree_on_one_score_for_each_channel(equalization, expected):
    assert equalized(np.array([[0.1, 0.8], [0.9, 0.2]]), equalization) == pytest.approx(expected)


def test_a_geometric_mean_with_a_zero_is_zero():
    assert equalized(np.array([[0.0, 1.0], [0.5, 0.25]]), "geometric_mean").tolist() == [0, 0.5]


# Which layers count -----------------------------------------------------------------------------


def conv(filters, name, x):
    return layers.Conv2D(filters, 1, name=name)(x)


def scores_of(output, *, inputs, kernels, equalization="union"):
    """Scores by the first layer of each group.

    Args:
        kernels: (C,) of the layers named: the norm of each filter.
    """
    parts = {"features": keras.Model(inputs, conv(1, "last", output))}
    for name, norms in kernels.items():
        kernel = parts["features"].get_layer(name).kernel
        values = np.zeros(kernel.shape)
        if kernel.shape[-1] == 1 < len(norms):  # depthwise
            values[0, 0, :, 0] = norms
        else:
            values[0, 0, 0] = norms
        kernel.assign(values)
    scores = channel_scores(parts, find_channels(parts), equalization=equalization)
    return {g.layers[0].removeprefix("features/"): s.tolist() for g, s in scores.items()}


def test_each_layer_of_a_sum_has_a_normalization_of_its_own():
    x = keras.Input((4, 4, 1))
    y = layers.Add()([conv(2, "a", x), conv(2, "b", x)])
    found = scores_of(y, inputs=x, kernels={"a": [8, 2], "b": [1, 2]}, equalization="intersection")
    assert found == {"a": [0.5, 0.25]}


def test_a_depthwise_convolution_has_a_say_in_the_channels_it_reads():
    x = keras.Input((4, 4, 1))
    y = layers.DepthwiseConv2D(1, name="depthwise")(conv(2, "a", x))
    kernels = {"a": [1, 4], "depthwise": [2, 2]}
    for equalization, expected in (("union", 1.0), ("arithmetic_mean", 0.625)):
        found = scores_of(y, inputs=x, kernels=kernels, equalization=equalization)
        assert found == {"a": [expected, 1.0]}


def test_two_depthwise_convolutions_of_one_map_count_each():
    x = keras.Input((4, 4, 1))
    a = conv(2, "a", x)
    y = layers.Add()([layers.DepthwiseConv2D(1, name=name)(a) for name in ("d", "e")])
    kernels = {"a": [1, 4], "d": [2, 2], "e": [4, 1]}
    found = scores_of(y, inputs=x, kernels=kernels, equalization="arithmetic_mean")
    assert found == {"a": [0.75, 0.75]}


def test_a_depthwise_convolution_of_two_maps_has_a_part_in_each():
    x = keras.Input((4, 4, 1))
    y = layers.Concatenate()([conv(2, "a", x), conv(2, "b", x)])
    y = layers.DepthwiseConv2D(1, name="depthwise")(y)
    kernels = {"a": [1, 1], "b": [1, 1], "depthwise": [1, 2, 3, 4]}
    found = scores_of(y, inputs=x, kernels=kernels, equalization="intersection")
    assert found == {"a": [0.25, 0.5], "b": [0.75, 1.0]}


def test_a_gate_has_a_say_in_the_channels_it_scales():
    x = keras.Input((4, 4, 1))
    a = conv(2, "a", x)
    gate = conv(2, "gate", layers.GlobalAveragePooling2D(keepdims=True)(a))
    y = layers.Multiply()([a, gate])
    found = scores_of(y, inputs=x, kernels={"a": [1, 4], "gate": [1, 1]})
    assert found == {"a": [1, 1]}


def test_biases_and_normalizations_do_not_count():
    x = keras.Input((4, 4, 1))
    a = layers.Conv2D(2, 1, name="a", bias_initializer="ones")(x)
    y = layers.BatchNormalization(gamma_initializer="zeros")(a)
    assert scores_of(y, inputs=x, kernels={"a": [3, 4]}) == {"a": [0.75, 1]}


def test_weights_that_are_not_finite_are_refused_and_the_layer_is_named():
    x = keras.Input((4, 4, 1))
    with pytest.raises(FrcnnError, match="features/b: its weights are not all finite"):
        scores_of(conv(2, "b", conv(2, "a", x)), inputs=x, kernels={"b": [1, math.nan]})


# Against loops ----------------------------------------------------------------------------------


def slow_norms(kernel, depthwise):
    size = kernel.shape[-2] if depthwise else kernel.shape[-1]
    sums = [0.0] * size
    for place in np.ndindex(*kernel.shape):
        sums[place[-2] if depthwise else place[-1]] += float(kernel[place]) ** 2
    return [math.sqrt(total) for total in sums]


def slow_scores(kernels, normalizer, equalization):
    """Of layers whose channels correspond; each kernel with whether it is depthwise."""
    columns = []
    for kernel, depthwise in kernels:
        norms = slow_norms(kernel, depthwise)
        if normalizer == "max":
            columns.append([norm / max(norms) for norm in norms])
        else:
            whole = math.sqrt(sum(norm**2 for norm in norms))
            columns.append([norm / whole * len(norms) for norm in norms])
    join = {
        "union": max,
        "intersection": min,
        "arithmetic_mean": lambda row: sum(row) / len(row),
        "geometric_mean": lambda row: math.prod(row) ** (1 / len(row)),
    }[equalization]
    return [join(row) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def networks():
    parts = [detector(random.Random(seed)) for seed in range(8)]
    return [(some, find_channels(some)) for some in parts]


@pytest.mark.slow
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("equalization", EQUALIZATIONS)
def test_scores_of_random_networks_are_those_of_loops(networks, normalizer, equalization):
    compared = 0
    for parts, channels in networks:
        scores = channel_scores(parts, channels, normalizer=normalizer, equalization=equalization)
        assert scores.keys() == {group for group in channels.groups if group.prunable}
        for group, found in scores.items():
            kernels = [(layer(parts, path).kernel.numpy(), False) for path in group.layers]
            for path, read in channels.inputs.items():
                reader = layer(parts, path)
                if isinstance(reader, layers.DepthwiseConv2D) and group in read:
                    if len(read) > 1:
                        break  # maps side by side have a test of their own
                    kernels.append((reader.kernel.numpy(), True))
            else:
                compared += 1
                assert found == pytest.approx(slow_scores(kernels, normalizer, equalization))
    assert compared > 25


def layer(parts, path):
    part, *steps = path.split("/")
    found = parts[part]
    for step in steps:
        found = found.get_layer(step)
    return found
