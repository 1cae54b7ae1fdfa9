"""MobileNet V1 against published names, the parameter count and Keras's own MobileNet."""

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_mobilenet_v1 import MobileNetV1

pytestmark = pytest.mark.conformance

LIKE_TLT = MobileNetV1.Options()
LIKE_KERAS = MobileNetV1.Options(padding="tensorflow", relu6=True)


def drawn(options=LIKE_TLT, **config):
    """Features and head as models."""
    return draw_backbone(MobileNetV1(), BackboneConfig(options=options, **config))


def by_name(*models):
    return {layer.name: layer for model in models for layer in model.layers}


def kept(layers, kind):
    return [name for name, layer in layers.items() if type(layer) is kind]


# Layers ---------------------------------------------------------------------------------------


def test_layers_are_called_as_in_tlt():
    layers = by_name(*drawn())
    pointwise = [f"conv_pw_{i}" for i in range(1, 14)]
    depthwise = [f"conv_dw_{i}" for i in range(1, 14)]
    assert kept(layers, keras.layers.Conv2D) == ["conv1", *pointwise]
    assert kept(layers, keras.layers.DepthwiseConv2D) == depthwise
    norms = [name for name, layer in layers.items() if "BatchNormalization" in str(type(layer))]
    assert sorted(norms) == sorted(f"{name}_bn" for name in ["conv1", *depthwise, *pointwise])
    pads = kept(layers, keras.layers.ZeroPadding2D)
    assert pads == ["conv1_pad", "conv_pad_2", "conv_pad_4", "conv_pad_6"]


def test_the_map_has_512_channels_at_a_sixteenth_and_the_head_1024():
    features, head = drawn()
    assert features(np.zeros((1, 64, 97, 3), "float32")).shape == (1, 4, 7, 512)
    assert features.layers[-1].name == "conv_pw_11_relu"
    assert head.output.shape == (None, 1024)


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_block_12_halves_doubled_rois(pool_size_2x):
    head = by_name(drawn(pool_size_2x=pool_size_2x)[1])
    assert head["conv_dw_12"].strides == ((2, 2) if pool_size_2x else (1, 1))
    assert head["conv_pw_13_relu"].output.shape[1:] == (7, 7, 1024)


def test_parameters_are_as_many_as_published():
    """Keras's 4 253 864, which is the paper's 4.2 million with moving statistics, less the
    classifier of 1024 x 1000 + 1000."""
    assert sum(model.count_params() for model in drawn()) == 4_253_864 - 1_025_000


def test_freeze_ids_are_the_stem_and_the_blocks_before_the_head():
    assert list(MobileNetV1.freeze_ids) == list(range(12))
    layers = by_name(*drawn(freeze_blocks=frozenset({0, 3})))
    frozen = [name for name, layer in layers.items() if not layer.trainable]
    assert frozen == ["conv1", "conv_dw_3", "conv_pw_3"]


def test_use_bias_reaches_every_convolution_depthwise_ones_too():
    layers = by_name(*drawn(use_bias=True)).values()
    convolutions = [layer for layer in layers if "Conv2D" in type(layer).__name__]
    assert len(convolutions) == 27
    assert all(layer.use_bias for layer in convolutions)


# Options --------------------------------------------------------------------------------------


def test_padding_as_in_tensorflow_draws_no_pads_and_samples_other_pixels():
    plain, other = drawn()[0], drawn(MobileNetV1.Options(padding="tensorflow"))[0]
    assert not kept(by_name(other), keras.layers.ZeroPadding2D)
    other.set_weights(plain.get_weights())
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    assert plain(images).shape == other(images).shape
    assert np.abs(plain(images) - other(images)).max() > 0.01 * np.abs(plain(images)).max()


@pytest.mark.parametrize("relu6", [False, True])
def test_relu6_cuts_off_at_6(relu6):
    features, _ = drawn(MobileNetV1.Options(relu6=relu6))
    activations = kept(by_name(features), keras.layers.Activation)
    assert len(activations) == 1 + 2 * 11
    by_name(features)["conv_pw_11_bn"].beta.assign(np.full(512, 100.0))
    largest = features(np.zeros((1, 32, 32, 3), "float32")).numpy().max()
    assert largest == (6 if relu6 else 100)


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
    return keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(height, width, 3)
    )


def test_the_plan_has_every_layer_with_weights_once_in_the_order_of_the_data():
    plan = MobileNetV1().import_plan("", "keras")
    found = [name for unit in plan.units for name in (unit.layer, unit.norm)]
    assert found == [name for name, layer in by_name(*drawn(LIKE_KERAS)).items() if layer.weights]


def test_the_plan_names_all_of_kerass_layers_with_weights_of_the_same_shapes():
    plan = MobileNetV1().import_plan("", "keras")
    ours, theirs = by_name(*drawn(LIKE_KERAS)), by_name(keras_mobilenet(64, 64))
    named = [name for unit in plan.units for name in (unit.their_layer, unit.their_norm)]
    assert sorted(named) == sorted(name for name, layer in theirs.items() if layer.weights)
    for unit in plan.units:
        assert ours[unit.layer].kernel.shape == theirs[unit.their_layer].kernel.shape, unit
        assert ours[unit.norm].gamma.shape == theirs[unit.their_norm].gamma.shape, unit
        assert ours[unit.norm].epsilon == theirs[unit.their_norm].epsilon == plan.epsilon


def test_the_plan_prepares_images_as_keras_does():
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3))
    plan = MobileNetV1().import_plan("", "keras")
    expected = keras.applications.mobilenet.preprocess_input(image.copy())
    np.testing.assert_allclose(
        (image - plan.images.means) / plan.images.deviations, expected, atol=1e-6
    )
    assert plan.images.channel_order == "rgb"


@pytest.mark.parametrize(
    "library, reason",
    [
        ("torchvision", "torchvision has no MobileNet V1"),
        ("darknet", "mobilenet_v1 has no counterpart there"),
    ],
)
def test_libraries_without_such_a_network_are_refused(library, reason):
    with pytest.raises(ModelFileError, match=reason):
        MobileNetV1().import_plan("", library)


def twins(height, width):
    """Keras's network and our features and head, with the same weights."""
    theirs = randomized(keras_mobilenet(height, width))
    features, head = drawn(LIKE_KERAS, pool_size=3, pool_size_2x=True)
    ours, source = by_name(features, head), by_name(theirs)
    for unit in MobileNetV1().import_plan("", "keras").units:
        ours[unit.layer].set_weights(source[unit.their_layer].get_weights())
        ours[unit.norm].set_weights(source[unit.their_norm].get_weights())
    return theirs, features, head


# Keras pads the maps inside alike whether their side is even or odd, and so makes smaller ones of
# odd ones.  95 pixels become 48 cells, and those stay even: both networks are defined.
@pytest.mark.parametrize("height, width", [(96, 128), (95, 127)])
def test_with_the_plans_options_it_is_keras_applications_mobilenet(height, width):
    theirs, features, _ = twins(height, width)
    images = np.random.default_rng(1).standard_normal((2, height, width, 3), "float32")
    expected = keras.Model(theirs.input, theirs.get_layer("conv_pw_11_relu").output)(images).numpy()
    assert expected.shape == (2, 6, 8, 512)
    assert 0.01 < (expected == 6).mean() < 0.9
    np.testing.assert_allclose(features(images), expected, atol=1e-4 * expected.max())


def test_the_head_on_a_doubled_roi_is_kerass_last_blocks_on_a_map():
    theirs, _, head = twins(96, 96)
    rois = np.random.default_rng(1).uniform(0, 6, (2, 6, 6, 512)).astype("float32")
    last = keras.Model(theirs.get_layer("conv_pw_11_relu").output, theirs.output)
    expected = last(rois).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(head(rois), expected, atol=1e-4 * expected.max())
