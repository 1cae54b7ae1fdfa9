"""MobileNet V2 against published names, the parameter count and Keras's own MobileNetV2."""

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_mobilenet_v2 import MobileNetV2

pytestmark = pytest.mark.slow

LIKE_TLT = MobileNetV2.Options()
LIKE_KERAS = MobileNetV2.Options(padding="tensorflow", relu6=True)


def drawn(options=LIKE_TLT, **config):
    """Features and head as models; identities are not projected unless asked for."""
    config = {"all_projections": False, **config}
    return draw_backbone(MobileNetV2(), BackboneConfig(options=options, **config))


def by_name(*models):
    return {layer.name: layer for model in models for layer in model.layers}


def kept(layers, kind):
    return [name for name, layer in layers.items() if type(layer) is kind]


# Layers ---------------------------------------------------------------------------------------


def test_layers_are_called_as_in_tlt():
    layers = by_name(*drawn())
    prefixes = ["expanded_conv", *(f"block_{i}" for i in range(1, 17))]
    depthwise = [f"{prefix}_depthwise" for prefix in prefixes]
    assert kept(layers, keras.layers.DepthwiseConv2D) == depthwise
    expand = [f"{prefix}_expand" for prefix in prefixes[1:]]
    project = [f"{prefix}_project" for prefix in prefixes]
    convolutions = kept(layers, keras.layers.Conv2D)
    assert sorted(convolutions) == sorted(["conv1", *expand, *project, "conv_1"])
    norms = [name for name, layer in layers.items() if "BatchNormalization" in str(type(layer))]
    rest = [f"{name}_bn" for name in (*depthwise, *expand, *project, "conv_1")]
    assert sorted(norms) == sorted(["bn_conv1", *rest])
    pads = kept(layers, keras.layers.ZeroPadding2D)
    assert pads == ["conv1_pad", *(f"block_{i}_depthwise_pad" for i in (1, 3, 6))]


def test_the_map_has_96_channels_at_a_sixteenth_and_the_head_1280():
    features, head = drawn()
    assert features(np.zeros((1, 64, 97, 3), "float32")).shape == (1, 4, 7, 96)
    assert features.layers[-1].name == "block_12_add"
    assert head.output.shape == (None, 1280)


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_block_13_halves_doubled_rois(pool_size_2x):
    head = by_name(drawn(pool_size_2x=pool_size_2x)[1])
    assert head["block_13_depthwise"].strides == ((2, 2) if pool_size_2x else (1, 1))
    assert head["conv_1_relu"].output.shape[1:] == (7, 7, 1280)


IDENTITIES = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
"""Blocks of stride 1 with as many channels out as in; table 2 of the paper repeats 10 times."""


def test_identities_go_around_blocks_that_repeat():
    adds = kept(by_name(*drawn()), keras.layers.Add)
    assert adds == [f"block_{i}_add" for i in IDENTITIES]


@pytest.mark.parametrize("use_bias", [False, True])
def test_all_projections_projects_identities_without_a_normalization(use_bias):
    layers = by_name(*drawn(all_projections=True, use_bias=use_bias))
    projections = [name for name in layers if name.endswith("projected_inputs")]
    assert sorted(projections) == sorted(f"block_{i}_projected_inputs" for i in IDENTITIES)
    for i in IDENTITIES:
        projection = layers[f"block_{i}_projected_inputs"]
        assert projection.kernel.shape[:2] == (1, 1) and projection.use_bias is use_bias
        inputs = {tensor.name for tensor in layers[f"block_{i}_add"].input}
        assert inputs == {projection.output.name, layers[f"block_{i}_project_bn"].output.name}


def test_parameters_are_as_many_as_published():
    """Keras's 3 538 984, which is the paper's 3.4 million with moving statistics, less the
    classifier of 1280 x 1000 + 1000."""
    assert sum(model.count_params() for model in drawn()) == 3_538_984 - 1_281_000


def test_projections_add_a_square_of_the_channels_each():
    """Two blocks repeat with 24 and 32 channels and so on: 1, 2, 3, 2 and 2 identities."""
    extra = sum(n * c**2 for n, c in ((1, 24), (2, 32), (3, 64), (2, 96), (2, 160)))
    found = sum(model.count_params() for model in drawn(all_projections=True))
    assert found == 3_538_984 - 1_281_000 + extra


def test_normalizations_move_slowly_as_in_tlt():
    norms = [
        layer
        for layer in by_name(*drawn()).values()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-3, 0.999)}


def test_freeze_ids_are_the_stem_and_one_more_than_a_blocks_number():
    assert list(MobileNetV2.freeze_ids) == list(range(14))
    layers = by_name(*drawn(freeze_blocks=frozenset({0, 1, 13}), all_projections=True))
    frozen = {name for name, layer in layers.items() if not layer.trainable}
    first = {"conv1", "expanded_conv_depthwise", "expanded_conv_project"}
    last = {f"block_12_{part}" for part in ("expand", "depthwise", "project", "projected_inputs")}
    assert frozen == first | last


def test_use_bias_reaches_every_convolution_depthwise_ones_too():
    layers = by_name(*drawn(use_bias=True)).values()
    convolutions = [layer for layer in layers if "Conv2D" in type(layer).__name__]
    assert len(convolutions) == 52
    assert all(layer.use_bias for layer in convolutions)


# Options --------------------------------------------------------------------------------------


def test_padding_as_in_tensorflow_draws_no_pads_and_samples_other_pixels():
    plain, other = drawn()[0], drawn(MobileNetV2.Options(padding="tensorflow"))[0]
    assert not kept(by_name(other), keras.layers.ZeroPadding2D)
    other.set_weights(plain.get_weights())
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    assert plain(images).shape == other(images).shape
    assert np.abs(plain(images) - other(images)).max() > 0.01 * np.abs(plain(images)).max()


@pytest.mark.parametrize("relu6", [False, True])
def test_relu6_cuts_off_at_6(relu6):
    features, head = drawn(MobileNetV2.Options(relu6=relu6))
    assert len(kept(by_name(features, head), keras.layers.Activation)) == 1 + 1 + 16 * 2 + 1
    by_name(head)["conv_1_bn"].beta.assign(np.full(1280, 100.0))
    rois = np.zeros((1, 7, 7, 96), "float32")
    assert head(rois).numpy().max() == (6 if relu6 else 100)


# Plans ----------------------------------------------------------------------------------------


def randomized(model):
    """Normalizations that differ from their start; betas large enough for a ReLU to reach 6."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight, (low, high) in zip(
                layer.weights, ((0.5, 1.5), (-1, 6), (-0.3, 0.3), (0.5, 1.5)), strict=True
            ):
                weight.assign(random.uniform(low, high, weight.shape))
    return model


def keras_mobilenet(height, width):
    return keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(height, width, 3)
    )


@pytest.mark.parametrize("library", ["keras", "torchvision"])
def test_a_plan_has_every_layer_with_weights_once_in_the_order_of_the_data(library):
    plan = MobileNetV2().import_plan("", library)
    options = {"keras": LIKE_KERAS, "torchvision": MobileNetV2.Options(relu6=True)}[library]
    assert plan.backbone_options == {"padding": options.padding, "relu6": "true"}
    found = [name for unit in plan.units for name in (unit.layer, unit.norm)]
    layers = by_name(*drawn(options, **plan.model_config))
    assert found == [name for name, layer in layers.items() if layer.weights]


def test_the_plan_names_all_of_kerass_layers_with_weights_of_the_same_shapes():
    plan = MobileNetV2().import_plan("", "keras")
    ours, theirs = by_name(*drawn(LIKE_KERAS)), by_name(keras_mobilenet(64, 64))
    named = [name for unit in plan.units for name in (unit.their_layer, unit.their_norm)]
    assert sorted(named) == sorted(name for name, layer in theirs.items() if layer.weights)
    for unit in plan.units:
        assert ours[unit.layer].kernel.shape == theirs[unit.their_layer].kernel.shape, unit
        assert ours[unit.norm].gamma.shape == theirs[unit.their_norm].gamma.shape, unit
        assert ours[unit.norm].epsilon == theirs[unit.their_norm].epsilon == plan.epsilon


@pytest.mark.parametrize(
    "layer, their_layer, their_norm",
    [
        ("conv1", "features.0.0", "features.0.1"),
        ("expanded_conv_depthwise", "features.1.conv.0.0", "features.1.conv.0.1"),
        ("expanded_conv_project", "features.1.conv.1", "features.1.conv.2"),
        ("block_1_expand", "features.2.conv.0.0", "features.2.conv.0.1"),
        ("block_1_depthwise", "features.2.conv.1.0", "features.2.conv.1.1"),
        ("block_1_project", "features.2.conv.2", "features.2.conv.3"),
        ("block_16_project", "features.17.conv.2", "features.17.conv.3"),
        ("conv_1", "features.18.0", "features.18.1"),
    ],
)
def test_the_plan_for_torchvision_has_its_keys(layer, their_layer, their_norm):
    (unit,) = [u for u in MobileNetV2().import_plan("", "torchvision").units if u.layer == layer]
    assert (unit.their_layer, unit.their_norm) == (their_layer, their_norm)


def test_the_plan_for_torchvision_has_as_many_weights_of_theirs_as_published():
    """Kernels, gammas and betas, and the classifier of 1280 x 1000 + 1000, which is not planned."""
    plan, ours = MobileNetV2().import_plan("", "torchvision"), by_name(*drawn())
    kernels = sum(ours[unit.layer].count_params() for unit in plan.units)
    affine = sum(2 * ours[unit.norm].gamma.shape[0] for unit in plan.units)
    assert kernels + affine + 1_281_000 == 3_504_872
    keys = [key for unit in plan.units for key in (unit.their_layer, unit.their_norm)]
    assert len(set(keys)) == len(keys) == 2 * 52


@pytest.mark.parametrize("library, mode", [("keras", "tf"), ("torchvision", "torch")])
def test_plans_prepare_images_as_the_library_does(library, mode):
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3))
    expected = keras.applications.imagenet_utils.preprocess_input(image.copy(), mode=mode)
    plan = MobileNetV2().import_plan("", library)
    np.testing.assert_allclose(
        (image - plan.images.means) / plan.images.deviations, expected, atol=1e-6
    )
    assert plan.images.channel_order == "rgb"


def test_a_library_without_such_a_network_is_refused():
    with pytest.raises(ModelFileError, match="mobilenet_v2 has no counterpart there"):
        MobileNetV2().import_plan("", "darknet")


def twins(height, width):
    """Keras's network and our features and head, with the same weights."""
    theirs = randomized(keras_mobilenet(height, width))
    features, head = drawn(LIKE_KERAS, pool_size=3, pool_size_2x=True)
    ours, source = by_name(features, head), by_name(theirs)
    for unit in MobileNetV2().import_plan("", "keras").units:
        ours[unit.layer].set_weights(source[unit.their_layer].get_weights())
        ours[unit.norm].set_weights(source[unit.their_norm].get_weights())
    return theirs, features, head


# 97 x 131 pixels become 49 x 66 cells, 25 x 33 and 13 x 17: Keras pads each side by its parity.
@pytest.mark.parametrize("height, width, cells", [(96, 128, (6, 8)), (97, 131, (7, 9))])
def test_with_the_plans_options_it_is_keras_applications_mobilenet_v2(height, width, cells):
    theirs, features, _ = twins(height, width)
    images = np.random.default_rng(1).standard_normal((2, height, width, 3), "float32")
    outputs = [theirs.get_layer(name).output for name in ("block_12_add", "block_13_expand_relu")]
    expected, activated = (a.numpy() for a in keras.Model(theirs.input, outputs)(images))
    assert expected.shape == (2, *cells, 96)
    assert 0.01 < (activated == 6).mean() < 0.9
    np.testing.assert_allclose(features(images), expected, atol=1e-4 * np.abs(expected).max())


def test_the_head_on_a_doubled_roi_is_kerass_last_blocks_on_a_map():
    theirs, _, head = twins(96, 96)
    rois = np.random.default_rng(1).standard_normal((2, 6, 6, 96), "float32")
    last = keras.Model(theirs.get_layer("block_12_add").output, theirs.output)
    expected = last(rois).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(head(rois), expected, atol=1e-4 * expected.max())
