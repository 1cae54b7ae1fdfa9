"""DarkNets against the papers' tables and the sizes of the published weights files."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_core.plugin.import_plan import Images
from frcnn_darknet import DarkNet

pytestmark = pytest.mark.conformance


def drawn(variant, **config):
    """Features and head."""
    return draw_backbone(DarkNet(), BackboneConfig(variant=variant, **config))


def layers(*models, kind=keras.layers.Layer):
    return [layer for model in models for layer in model.layers if isinstance(layer, kind)]


def names(*models, kind):
    return [layer.name for layer in layers(*models, kind=kind)]


def expected_convolutions(variant):
    if variant == "19":
        counts = enumerate((1, 3, 3, 5, 5), start=1)
        return ["conv1"] + [f"b{i}_conv{j}" for i, count in counts for j in range(1, count + 1)]
    found = ["conv1"]
    for stage, count in enumerate((1, 2, 8, 8, 4), start=1):
        found += [f"conv{stage + 1}"]
        found += [f"b{stage}_conv{j}_{part}" for j in range(1, count + 1) for part in (1, 2)]
    return found


@pytest.mark.parametrize("variant", DarkNet.variants)
def test_layers_are_called_as_in_tlt(variant):
    parts, expected = drawn(variant), expected_convolutions(variant)
    assert names(*parts, kind=keras.layers.Conv2D) == expected
    assert names(*parts, kind=keras.layers.BatchNormalization) == [f"{n}_bn" for n in expected]
    assert names(*parts, kind=keras.layers.LeakyReLU) == [f"{n}_lrelu" for n in expected]


def test_the_19_shrinks_the_map_by_pools_and_the_53_by_strides():
    plain, residual = (drawn(variant)[0] for variant in ("19", "53"))
    pools = [f"maxpool_{i}" for i in (1, 2, 3, 4)]
    assert names(plain, kind=keras.layers.MaxPooling2D) == pools
    assert {conv.strides for conv in layers(plain, kind=keras.layers.Conv2D)} == {(1, 1)}
    assert names(residual, kind=keras.layers.MaxPooling2D) == []
    convolutions = layers(residual, kind=keras.layers.Conv2D)
    strided = [conv.name for conv in convolutions if conv.strides == (2, 2)]
    assert strided == ["conv2", "conv3", "conv4", "conv5"]


@pytest.mark.parametrize(
    "variant, first_filters, last_filters",
    [
        # As YOLO9000's table 6 and YOLOv3's table 1 list them.
        ("19", [32, 64, 128, 64, 128, 256, 128, 256], [1024, 512, 1024, 512, 1024]),
        ("53", [32, 64, 32, 64, 128, 64, 128, 64, 128, 256], [512, 1024, 512, 1024, 512, 1024]),
    ],
)
def test_narrow_1x1_and_wide_3x3_convolutions_alternate(variant, first_filters, last_filters):
    convolutions = layers(*drawn(variant), kind=keras.layers.Conv2D)
    filters = [conv.filters for conv in convolutions]
    assert filters[: len(first_filters)] == first_filters
    assert filters[-len(last_filters) :] == last_filters
    for before, conv in pairwise(convolutions):
        # In both networks a convolution is 1x1 exactly where it has fewer filters than the last.
        assert conv.kernel_size[0] == (1 if conv.filters < before.filters else 3), conv.name


@pytest.mark.parametrize(
    "variant, file_size, header",
    [
        # darknet53.conv.74 begins with three int32 and one int64.
        ("53", 162_482_580, 20),
        # darknet19_448.conv.23 is older and begins with four int32.
        ("19", 79_327_120, 16),
    ],
)
def test_parameters_are_as_many_as_in_the_published_weights_file(variant, file_size, header):
    """Both files end before the classifier and have float32: kernels, and beta, gamma, mean and
    variance of each channel."""
    published = (file_size - header) // 4
    assert sum(part.count_params() for part in drawn(variant)) == published


@pytest.mark.parametrize("variant", DarkNet.variants)
def test_the_feature_map_is_a_sixteenth_with_512_channels(variant):
    features, _ = drawn(variant)
    assert features(np.zeros((1, 64, 96, 3), "float32")).shape == (1, 4, 6, 512)
    assert features.layers[-1].name == {"19": "b4_conv5_lrelu", "53": "b4_add8"}[variant]


@pytest.mark.parametrize("variant, first", [("19", "b5_conv1"), ("53", "conv6")])
@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_the_first_convolution_of_the_head_halves_doubled_rois(variant, first, pool_size_2x):
    _, head = drawn(variant, pool_size_2x=pool_size_2x)
    assert head.input.shape[1:3] == ((14, 14) if pool_size_2x else (7, 7))
    assert head.get_layer(first).output.shape[1:] == (7, 7, 1024)
    strided = [c.name for c in layers(head, kind=keras.layers.Conv2D) if c.strides == (2, 2)]
    assert strided == ([first] if pool_size_2x else [])
    assert head.output.shape == (None, 1024)


def test_freeze_ids_are_the_first_convolution_four_stages_and_the_head():
    assert list(DarkNet.freeze_ids) == [0, 1, 2, 3, 4, 5]
    for variant, stage_1 in (("19", {"b1_conv1"}), ("53", {"conv2", "b1_conv1_1", "b1_conv1_2"})):
        for block, expected in ((0, {"conv1"}), (1, stage_1)):
            parts = drawn(variant, freeze_blocks=frozenset({block}))
            assert {layer.name for layer in layers(*parts) if not layer.trainable} == expected
        features, head = drawn(variant, freeze_blocks=frozenset({5}))
        frozen = {layer.name for layer in head.layers if not layer.trainable}
        assert frozen == set(names(head, kind=keras.layers.Conv2D))
        assert all(layer.trainable for layer in features.layers)


def test_a_tenth_of_what_is_negative_passes():
    slopes = {
        layer.negative_slope
        for variant in DarkNet.variants
        for layer in layers(*drawn(variant), kind=keras.layers.LeakyReLU)
    }
    assert slopes == {0.1}


def test_residual_units_whose_branch_is_zero_pass_the_map_on():
    """Nothing follows their sum: negative values of stage 4's first convolution reach the end."""
    features, _ = drawn("53")
    for layer in layers(features, kind=keras.layers.BatchNormalization):
        if layer.name.startswith("b4_") and layer.name.endswith("_2_bn"):
            layer.gamma.assign(np.zeros(layer.gamma.shape))
    before_units = keras.Model(features.input, features.get_layer("conv5_lrelu").output)
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    expected = before_units(images).numpy()
    assert expected.min() < 0
    np.testing.assert_array_equal(features(images), expected)


@pytest.mark.parametrize("variant", DarkNet.variants)
def test_the_plan_has_every_layer_with_weights_once_in_the_order_of_the_data(variant):
    plan = DarkNet().import_plan(variant, "darknet")
    ours = [name for unit in plan.units for name in (unit.layer, unit.norm)]
    assert ours == [layer.name for layer in layers(*drawn(variant)) if layer.weights]
    assert not any(unit.their_layer or unit.their_norm for unit in plan.units)


def test_the_plan_says_what_darknet_computes():
    plan = DarkNet().import_plan("53", "darknet")
    # Images are rgb from 0 to 1, and normalizations divide by sqrt(variance) + 1e-6.
    assert plan.images == Images((0, 0, 0), (255, 255, 255), "rgb")
    assert plan.epsilon_of_deviation and plan.epsilon == 1e-6


@pytest.mark.parametrize("library", ["keras", "torchvision"])
def test_there_are_no_other_weights(library):
    with pytest.raises(ModelFileError, match="darknet has no counterpart there"):
        DarkNet().import_plan("53", library)
