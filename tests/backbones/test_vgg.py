"""VGGs against published names and parameter counts, Keras's own, and torchvision's numbering."""

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_vgg import VGG

pytestmark = pytest.mark.conformance


def drawn(variant, **config):
    """Features and head; of one-cell RoIs unless told, since fc1 has 2 million weights per cell."""
    return draw_backbone(VGG(), BackboneConfig(variant=variant, **{"pool_size": 1, **config}))


def names(*models, kind=keras.layers.Layer):
    return [layer.name for model in models for layer in model.layers if isinstance(layer, kind)]


def test_layers_are_called_as_in_tlt():
    features, head = drawn("16", use_pooling=True, dropout_rate=0.5)
    units = "1a 1b pool1 2a 2b pool2 3a 3b 3c pool3 4a 4b 4c pool4 5a 5b 5c".split()
    expected = []
    for unit in units:
        if unit.startswith("pool"):
            expected += [f"block{unit[-1]}_pool"]
        else:
            expected += [f"block_{unit}_{part}" for part in ("conv_1", "bn_1", "relu")]
    assert names(features)[1:] == expected
    assert names(head)[1:] == ["classifier_flatten", "fc1", "fc1_dropout", "fc2", "fc2_dropout"]


def test_the_19_has_a_fourth_convolution_in_blocks_3_to_5():
    convolutions = [names(drawn(v)[0], kind=keras.layers.Conv2D) for v in ("16", "19")]
    assert set(convolutions[1]) - set(convolutions[0]) == {
        "block_3d_conv_1",
        "block_4d_conv_1",
        "block_5d_conv_1",
    }


@pytest.mark.parametrize("use_pooling", [False, True])
def test_the_feature_map_is_a_sixteenth_by_pools_or_by_strides(use_pooling):
    features, _ = drawn("16", use_pooling=use_pooling)
    assert features(np.zeros((1, 64, 96, 3), "float32")).shape == (1, 4, 6, 512)
    convolutions = [layer for layer in features.layers if isinstance(layer, keras.layers.Conv2D)]
    strided = [layer.name for layer in convolutions if layer.strides == (2, 2)]
    by_strides = [f"block_{block}a_conv_1" for block in (2, 3, 4, 5)]
    by_pools = [f"block{block}_pool" for block in (1, 2, 3, 4)]
    assert strided == ([] if use_pooling else by_strides)
    assert names(features, kind=keras.layers.MaxPooling2D) == (by_pools if use_pooling else [])


@pytest.mark.parametrize(
    "variant, published, channels",
    [
        # 2 x 64 + 2 x 128 + 3 x 256 + 6 x 512 channels
        ("16", 138_357_544, 4_224),
        # 2 x 64 + 2 x 128 + 4 x 256 + 8 x 512 channels
        ("19", 143_667_240, 5_504),
    ],
)
def test_parameters_are_as_many_as_published(variant, published, channels):
    """Less the classifier of 4096 x 1000 + 1000 and a bias for each channel, plus gamma, beta, mean
    and variance of each."""
    features, head = drawn(variant, pool_size=7)
    expected = published - 4_097_000 - channels + 4 * channels
    assert features.count_params() + head.count_params() == expected


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_doubled_rois_are_pooled_before_the_dense_layers(pool_size_2x):
    _, head = drawn("16", pool_size=3, pool_size_2x=pool_size_2x)
    assert head.input.shape[1:3] == ((6, 6) if pool_size_2x else (3, 3))
    assert ("classifier_pool" in names(head)) == pool_size_2x
    assert head.get_layer("fc1").kernel.shape == (512 * 3 * 3, 4096)
    assert head.output.shape == (None, 4096)


def test_dropout_follows_both_dense_layers_where_there_is_any():
    _, without = drawn("16", dropout_rate=0.0)
    _, with_ = drawn("16", dropout_rate=0.3)
    assert names(without, kind=keras.layers.Dropout) == []
    rates = [layer.rate for layer in with_.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.3, 0.3]


def test_blocks_are_frozen_from_1_to_5_and_the_dense_layers_never():
    assert list(VGG.freeze_ids) == [1, 2, 3, 4, 5]
    features, head = drawn("16", freeze_blocks=frozenset({2}))
    frozen = [layer.name for layer in features.layers + head.layers if not layer.trainable]
    assert frozen == ["block_2a_conv_1", "block_2b_conv_1"]
    _, head = drawn("16", freeze_blocks=frozenset(VGG.freeze_ids))
    assert all(layer.trainable for layer in head.layers)


# Plans ----------------------------------------------------------------------------------------

LIBRARIES = ("keras", "torchvision", "torchvision_plain")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("variant", VGG.variants)
def test_a_plan_has_every_layer_with_weights_once_in_the_order_of_the_data(variant, library):
    plan = VGG().import_plan(variant, library)
    ours = [name for unit in plan.units for name in (unit.layer, unit.norm) if name]
    parts = drawn(variant, use_pooling=True)
    assert ours == [layer.name for part in parts for layer in part.layers if layer.weights]


def keras_vgg(variant, side):
    """Keras's own, for square images; its classifier has one class."""
    network = {"16": keras.applications.VGG16, "19": keras.applications.VGG19}[variant]
    return network(weights=None, input_shape=(side, side, 3), classes=1)


@pytest.mark.parametrize("variant", VGG.variants)
def test_the_plan_for_keras_names_its_layers_with_weights_of_the_same_shapes(variant):
    *weighted, classifier = [layer for layer in keras_vgg(variant, 32).layers if layer.weights]
    assert classifier.name == "predictions"
    plan = VGG().import_plan(variant, "keras")
    assert [unit.their_layer for unit in plan.units] == [layer.name for layer in weighted]
    ours = {layer.name: layer for part in drawn(variant) for layer in part.layers}
    for unit, theirs in zip(plan.units, weighted, strict=True):
        assert ours[unit.layer].kernel.shape == theirs.kernel.shape
        assert not unit.their_norm


@pytest.mark.parametrize("variant", VGG.variants)
def test_it_is_keras_applications_vgg_but_for_normalizations(variant):
    """The whole network to fc2: theirs on 64 by 64 pixels has a last map of 4 by 4, and so has ours
    as a RoI, which either halves by a pool."""
    theirs = keras_vgg(variant, 64)
    features, head = drawn(variant, use_pooling=True, use_bias=True, pool_size=2, pool_size_2x=True)
    ours = {layer.name: layer for layer in features.layers + head.layers}
    random = np.random.default_rng(0)
    for unit in VGG().import_plan(variant, "keras").units:
        layer = theirs.get_layer(unit.their_layer)
        layer.bias.assign(random.uniform(-0.1, 0.1, layer.bias.shape))
        ours[unit.layer].set_weights(layer.get_weights())
        if unit.norm:
            # With mean 0 and variance 1 - epsilon a normalization changes nothing.
            norm = ours[unit.norm]
            norm.moving_variance.assign(norm.moving_variance.numpy() - norm.epsilon)

    images = random.standard_normal((2, 64, 64, 3)).astype("float32")
    expected = keras.Model(theirs.input, theirs.get_layer("fc2").output)(images).numpy()
    assert np.abs(expected).max() > 0
    found = head(features(images))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "variant, library, indices",
    [
        ("16", "torchvision_plain", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        ("19", "torchvision_plain", (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)),
        ("16", "torchvision", (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)),
        ("19", "torchvision", (0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49)),
    ],
)
def test_the_plan_for_torchvision_counts_relus_and_pools_as_it_does(variant, library, indices):
    """The indices of the convolutions in ``features``, as torchvision prints them."""
    *convolutions, fc1, fc2 = VGG().import_plan(variant, library).units
    assert [unit.their_layer for unit in convolutions] == [f"features.{i}" for i in indices]
    norms = [f"features.{i + 1}" if library == "torchvision" else "" for i in indices]
    assert [unit.their_norm for unit in convolutions] == norms
    assert (fc1.their_layer, fc2.their_layer) == ("classifier.0", "classifier.3")


def test_only_torchvision_flattens_channels_first_and_fc2_sees_nothing_flattened():
    for library in LIBRARIES:
        units = {unit.layer: unit for unit in VGG().import_plan("16", library).units}
        assert units["fc1"].flattened == (() if library == "keras" else (512, 7, 7))
        assert units["fc2"].flattened == ()


@pytest.mark.parametrize("library", LIBRARIES)
def test_images_are_prepared_as_the_library_prepares_them(library):
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3))
    mode = "caffe" if library == "keras" else "torch"
    expected = keras.applications.imagenet_utils.preprocess_input(image.copy(), mode=mode)
    plan = VGG().import_plan("16", library)
    rgb = (image - plan.images.means) / plan.images.deviations
    found = rgb[..., ::-1] if plan.images.channel_order == "bgr" else rgb
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_without_normalizations_come_with_the_advice_to_freeze_bn(library):
    advice = VGG().import_plan("16", library).advice
    assert ("freeze_bn: True" in advice) == (library != "torchvision")
    assert "pool_size: 7" in advice


def test_there_is_no_plan_for_darknet():
    with pytest.raises(ModelFileError, match="vgg has no counterpart there"):
        VGG().import_plan("16", "darknet")
