"""ResNets against published names, parameter counts and Keras's own ResNet."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig, Blocks
from frcnn_core.errors import ModelFileError
from frcnn_resnet import ResNet
from frcnn_resnet.network import letters

pytestmark = pytest.mark.slow

KERAS_LIKE = {"use_bias": True, "use_pooling": True, "all_projections": False}


def drawn(variant, **config):
    """Features and head as models."""
    blocks = Blocks(BackboneConfig(variant=variant, **config))
    images = keras.Input((None, None, 3))
    features = keras.Model(images, ResNet().features(images, blocks))
    rois = keras.Input((blocks.config.roi_side,) * 2 + (features.output.shape[-1],))
    return features, keras.Model(rois, ResNet().head(rois, blocks))


def names(*models, kind=keras.layers.Conv2D):
    return [layer.name for model in models for layer in model.layers if isinstance(layer, kind)]


def parameters(*models):
    return sum(model.count_params() for model in models)


def test_layers_are_called_as_in_tlt():
    features, head = drawn("10", all_projections=True)
    expected = ["conv1"]
    for block in ("1a", "2a", "3a", "4a"):
        expected += [f"block_{block}_conv_{part}" for part in ("1", "2", "shortcut")]
    assert sorted(names(features, head)) == sorted(expected)
    norms = names(features, head, kind=keras.layers.BatchNormalization)
    swapped = [name.replace("_conv_", "_bn_").replace("conv1", "bn_conv1") for name in expected]
    assert sorted(norms) == sorted(swapped)
    assert "block_3a_relu" in [layer.name for layer in features.layers]


def test_only_the_first_unit_of_a_stage_projects_unless_all_do():
    some, all_ = (names(*drawn("18", all_projections=choice)) for choice in (False, True))
    assert len([name for name in some if "shortcut" in name]) == 4
    assert len([name for name in all_ if "shortcut" in name]) == 8


@pytest.mark.parametrize("index, name", [(0, "a"), (22, "w"), (25, "z"), (26, "aa"), (52, "ba")])
def test_units_are_lettered_beyond_z(index, name):
    assert letters(index) == name


@pytest.mark.parametrize(
    "variant, published, extra",
    [
        # torchvision's 11 689 512 and 21 797 672 less the classifier of 512 x 1000 + 1000, plus
        # the moving statistics of 4 800 and 8 512 channels, which it does not count.  Ours also
        # projects in block 1a: 64 x 64 weights and 4 x 64 for its normalization.
        ("18", 11_689_512 - 513_000 + 2 * 4_800, 64 * 64 + 4 * 64),
        ("34", 21_797_672 - 513_000 + 2 * 8_512, 64 * 64 + 4 * 64),
        # 25 557 032 less 2048 x 1000 + 1000, plus statistics of 26 560 channels.
        ("50", 25_557_032 - 2_049_000 + 2 * 26_560, 0),
    ],
)
def test_parameters_are_as_many_as_published(variant, published, extra):
    assert parameters(*drawn(variant, all_projections=False)) == published + extra


@pytest.mark.slow
def test_resnet_101_has_as_many_parameters_as_published():
    statistics = 2 * 52_672
    published = 44_549_160 - 2_049_000 + statistics
    assert parameters(*drawn("101", all_projections=False)) == published


@pytest.mark.parametrize("use_pooling", [False, True])
def test_the_feature_map_is_a_sixteenth_with_and_without_a_pool(use_pooling):
    features, _ = drawn("10", use_pooling=use_pooling)
    assert features(np.zeros((1, 64, 96, 3), "float32")).shape == (1, 4, 6, 256)
    for name in ("block_1a_conv_1", "block_1a_conv_shortcut"):
        assert features.get_layer(name).strides[0] == (1 if use_pooling else 2)


def test_the_stride_of_a_bottleneck_is_on_its_first_convolution():
    features, _ = drawn("50")
    strides = [features.get_layer(f"block_2a_conv_{j}").strides for j in (1, 2, 3)]
    assert strides == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_the_head_halves_doubled_rois(pool_size_2x):
    _, head = drawn("10", pool_size_2x=pool_size_2x)
    assert head.input.shape[1:3] == ((14, 14) if pool_size_2x else (7, 7))
    assert head.get_layer("block_4a_relu").output.shape[1:] == (7, 7, 512)
    assert head.output.shape == (None, 512)


def test_block_4_belongs_to_the_head_and_cannot_be_frozen():
    assert list(ResNet.freeze_ids) == [0, 1, 2, 3]
    features, head = drawn("10", freeze_blocks=frozenset(range(5)) - {4})
    assert not any(layer.trainable for layer in features.layers if "conv" in type(layer).__name__)
    convolutions = [layer for layer in head.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(layer.trainable for layer in convolutions)


# Plans ----------------------------------------------------------------------------------------

PLANNED = [("50", "keras"), ("101", "keras"), ("18", "torchvision"), ("34", "torchvision")]


def drawn_for(plan, variant):
    """Layers by name, drawn as the plan wants it."""
    parts = drawn(variant, **plan.model_config)
    return {layer.name: layer for part in parts for layer in part.layers}


@pytest.mark.parametrize("variant, library", PLANNED)
def test_a_plan_has_every_layer_with_weights_once_in_the_order_of_the_data(variant, library):
    plan = ResNet().import_plan(variant, library)
    found = [name for unit in plan.units for name in (unit.layer, unit.norm)]
    weighted = [name for name, layer in drawn_for(plan, variant).items() if layer.weights]
    assert sorted(found) == sorted(weighted)
    # Beside the shortcuts there is one way through, and Keras lists its layers in that order.
    main = [name for name in found if "shortcut" not in name]
    assert main == [name for name in weighted if "shortcut" not in name]
    for before, unit in pairwise(plan.units):
        if unit.layer.endswith("_conv_shortcut"):
            last = unit.layer.replace("shortcut", "3" if library == "keras" else "2")
            assert before.layer == last


@pytest.mark.parametrize("variant", ["50", pytest.param("101", marks=pytest.mark.slow)])
def test_the_plan_for_keras_names_all_of_its_layers_with_weights_of_the_same_shapes(variant):
    network = {"50": keras.applications.ResNet50, "101": keras.applications.ResNet101}[variant]
    theirs = {layer.name: layer for layer in network(include_top=False, weights=None).layers}
    plan = ResNet().import_plan(variant, "keras")
    ours = drawn_for(plan, variant)
    named = [name for unit in plan.units for name in (unit.their_layer, unit.their_norm)]
    assert sorted(named) == sorted(name for name, layer in theirs.items() if layer.weights)
    for unit in plan.units:
        assert ours[unit.layer].kernel.shape == theirs[unit.their_layer].kernel.shape, unit
        assert ours[unit.norm].gamma.shape == theirs[unit.their_norm].gamma.shape, unit
        assert theirs[unit.their_norm].epsilon == plan.epsilon


@pytest.mark.parametrize("variant, published", [("18", 11_689_512), ("34", 21_797_672)])
def test_the_plan_for_torchvision_has_as_many_weights_of_theirs_as_published(variant, published):
    """Kernels, gammas and betas, and the classifier of 512 x 1000 + 1000, which is not planned."""
    plan = ResNet().import_plan(variant, "torchvision")
    ours = drawn_for(plan, variant)
    theirs = [unit for unit in plan.units if not unit.identity]
    kernels = sum(ours[unit.layer].count_params() for unit in theirs)
    affine = sum(2 * ours[unit.norm].gamma.shape[0] for unit in theirs)
    assert kernels + affine + 513_000 == published
    keys = [key for unit in theirs for key in (unit.their_layer, unit.their_norm)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "layer, their_layer, their_norm",
    [
        ("conv1", "conv1", "bn1"),
        ("block_1a_conv_2", "layer1.0.conv2", "layer1.0.bn2"),
        ("block_2a_conv_shortcut", "layer2.0.downsample.0", "layer2.0.downsample.1"),
        ("block_4b_conv_1", "layer4.1.conv1", "layer4.1.bn1"),
    ],
)
def test_the_plan_for_torchvision_has_its_keys(layer, their_layer, their_norm):
    (unit,) = [u for u in ResNet().import_plan("18", "torchvision").units if u.layer == layer]
    assert (unit.their_layer, unit.their_norm) == (their_layer, their_norm)


def test_torchvisions_missing_projection_is_an_identity_of_a_shape_that_allows_it():
    plan = ResNet().import_plan("18", "torchvision")
    (unit,) = [unit for unit in plan.units if unit.identity]
    assert (unit.layer, unit.their_layer) == ("block_1a_conv_shortcut", "")
    layer = drawn_for(plan, "18")[unit.layer]
    assert layer.kernel.shape == (1, 1, 64, 64) and layer.strides == (1, 1)


@pytest.mark.parametrize(
    "variant, library, mode", [("50", "keras", "caffe"), ("18", "torchvision", "torch")]
)
def test_images_are_prepared_as_the_library_prepares_them(variant, library, mode):
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3))
    expected = keras.applications.imagenet_utils.preprocess_input(image.copy(), mode=mode)
    plan = ResNet().import_plan(variant, library)
    rgb = (image - plan.images.means) / plan.images.deviations
    found = rgb[..., ::-1] if plan.images.channel_order == "bgr" else rgb
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "variant, library, reason",
    [
        ("10", "keras", "no ResNet-10. It has ResNet-50 and 101; torchvision has ResNet-18"),
        ("34", "keras", "no ResNet-34. It has ResNet-50 and 101; torchvision has ResNet-18"),
        ("10", "torchvision", "no ResNet-10. Its smallest are ResNet-18 and 34"),
        ("50", "torchvision", "on a 3x3 convolution.* Those of keras.applications' ResNet50 fit"),
        ("18", "darknet", "resnet has no counterpart there"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_a_reason(variant, library, reason):
    with pytest.raises(ModelFileError, match=reason):
        ResNet().import_plan(variant, library)


@pytest.mark.slow
def test_resnet_50_is_keras_applications_resnet_50():
    """The same function, but for an epsilon of 1.001e-5 there and 1e-3 here, which goes into the
    moving variance."""
    theirs = keras.applications.ResNet50(include_top=False, weights=None)
    random = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight, (low, high) in zip(
                layer.weights, ((0.5, 1), (-0.3, 0.3), (-0.3, 0.3), (0.5, 1.5)), strict=True
            ):
                weight.assign(random.uniform(low, high, weight.shape))
        elif isinstance(layer, keras.layers.Conv2D):
            layer.bias.assign(random.uniform(-0.3, 0.3, layer.bias.shape))
    features, head = drawn("50", **KERAS_LIKE)
    ours = {layer.name: layer for layer in features.layers + head.layers}
    for unit in ResNet().import_plan("50", "keras").units:
        ours[unit.layer].set_weights(theirs.get_layer(unit.their_layer).get_weights())
        norm, source = ours[unit.norm], theirs.get_layer(unit.their_norm)
        norm.set_weights(source.get_weights())
        norm.moving_variance.assign(source.moving_variance.numpy() + source.epsilon - norm.epsilon)

    images = random.standard_normal((1, 96, 128, 3)).astype("float32")
    at_stride_16 = keras.Model(theirs.input, theirs.get_layer("conv4_block6_out").output)
    expected = at_stride_16(images).numpy()
    assert expected.shape == (1, 6, 8, 1024)
    np.testing.assert_allclose(features(images), expected, atol=1e-3 * np.abs(expected).max())

    # Stage 5 on a map is stage 4 of the head on a RoI, but for the stride of 2.
    _, head_2x = drawn("50", pool_size=3, pool_size_2x=True, **KERAS_LIKE)
    head_2x.set_weights(head.get_weights())
    after = keras.Model(at_stride_16.output, theirs.get_layer("conv5_block3_out").output)
    expected = after(expected[:, :, :6]).numpy().mean(axis=(1, 2))
    found = head_2x(at_stride_16(images)[:, :, :6])
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
