"""EfficientNets against published names, parameter counts and Keras's own EfficientNets."""

import keras
import numpy as np
import pytest

from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw_backbone
from frcnn_core.errors import ModelFileError
from frcnn_core.testing.sketch import sketch
from frcnn_efficientnet import EfficientNet
from frcnn_efficientnet.scaling import scaled_blocks, scaled_filters

pytestmark = pytest.mark.conformance

VARIANTS = EfficientNet.variants


def drawn(variant="b0", **config):
    """Features and head as models."""
    return draw_backbone(EfficientNet(), BackboneConfig(variant=variant, **config))


def sketched(variant, **config):
    """The same, where nothing is computed."""
    return sketch(lambda: drawn(variant, **config))


def by_name(*models):
    return {layer.name: layer for model in models for layer in model.layers}


def kept(layers, kind):
    return [name for name, layer in layers.items() if type(layer) is kind]


# Layers ---------------------------------------------------------------------------------------


def test_layers_are_called_as_in_tlt():
    """The paper's table 1 has 1, 2, 2, 3, 3, 4 and 1 blocks; the first does not expand."""
    blocks = "1a 2a 2b 3a 3b 4a 4b 4c 5a 5b 5c 6a 6b 6c 6d 7a".split()
    layers = by_name(*drawn())
    depthwise = [f"block{block}_dwconv" for block in blocks]
    assert kept(layers, keras.layers.DepthwiseConv2D) == depthwise
    convolutions = ["stem_conv", "top_conv", *(f"block{block}_expand_conv" for block in blocks[1:])]
    convolutions += [
        f"block{block}_{part}"
        for block in blocks
        for part in ("se_reduce", "se_expand", "project_conv")
    ]
    assert sorted(kept(layers, keras.layers.Conv2D)) == sorted(convolutions)
    norms = [name for name, layer in layers.items() if "BatchNormalization" in str(type(layer))]
    expected = ["stem_bn", "top_bn", *(f"block{block}_expand_bn" for block in blocks[1:])]
    expected += [f"block{block}_{part}" for block in blocks for part in ("bn", "project_bn")]
    assert sorted(norms) == sorted(expected)
    assert kept(layers, keras.layers.Multiply) == [f"block{block}_se_excite" for block in blocks]
    squeezes = [name for name in layers if name.endswith("se_squeeze")]
    assert squeezes == [f"block{block}_se_squeeze" for block in blocks]


@pytest.mark.parametrize(
    "variant, repeats, filters, stem, top",
    [
        ("b0", (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320), 32, 1280),
        ("b1", (2, 3, 3, 4, 4, 5, 2), (16, 24, 40, 80, 112, 192, 320), 32, 1280),
        ("b2", (2, 3, 3, 4, 4, 5, 2), (16, 24, 48, 88, 120, 208, 352), 32, 1408),
        ("b3", (2, 3, 3, 5, 5, 6, 2), (24, 32, 48, 96, 136, 232, 384), 40, 1536),
        ("b4", (2, 4, 4, 6, 6, 8, 2), (24, 32, 56, 112, 160, 272, 448), 48, 1792),
        ("b5", (3, 5, 5, 7, 7, 9, 3), (24, 40, 64, 128, 176, 304, 512), 48, 2048),
        ("b6", (3, 6, 6, 8, 8, 11, 3), (32, 40, 72, 144, 200, 344, 576), 56, 2304),
        ("b7", (4, 7, 7, 10, 10, 13, 4), (32, 48, 80, 160, 224, 384, 640), 64, 2560),
    ],
)
def test_blocks_are_scaled_as_in_tlt(variant, repeats, filters, stem, top):
    found = [[b for b in scaled_blocks(variant) if b.stage == stage] for stage in range(1, 8)]
    assert tuple(len(blocks) for blocks in found) == repeats
    assert tuple({block.filters for block in blocks} for blocks in found) == tuple(
        {number} for number in filters
    )
    assert (scaled_filters(32, variant), scaled_filters(1280, variant)) == (stem, top)


@pytest.mark.parametrize(
    "variant, channels, vector",
    [
        ("b0", 112, 1280),
        ("b1", 112, 1280),
        ("b2", 120, 1408),
        ("b3", 136, 1536),
        ("b4", 160, 1792),
        ("b5", 176, 2048),
        ("b6", 200, 2304),
        ("b7", 224, 2560),
    ],
)
def test_the_map_ends_with_stage_5_and_the_head_with_the_top(variant, channels, vector):
    features, head = sketched(variant)
    last = [block.prefix for block in scaled_blocks(variant) if block.stage == 5][-1]
    assert features.layers[-1].name == f"{last}add"
    assert features.output.shape[-1] == channels
    assert head.output.shape == (None, vector)


# Keras counts moving statistics too, and a mean, a variance and a counter for its 3 input channels:
# 7 numbers.  Its classifier has a row of 1000 for each number of the vector, and 1000 biases.
@pytest.mark.parametrize(
    "variant, published, vector",
    [
        ("b0", 5_330_571, 1280),
        ("b1", 7_856_239, 1280),
        ("b2", 9_177_569, 1408),
        ("b3", 12_320_535, 1536),
        ("b4", 19_466_823, 1792),
        ("b5", 30_562_527, 2048),
        ("b6", 43_265_143, 2304),
        ("b7", 66_658_687, 2560),
    ],
)
def test_parameters_are_as_many_as_published(variant, published, vector):
    found = sum(model.count_params() for model in sketched(variant))
    assert found == published - 7 - (vector + 1) * 1000


def test_the_stride_is_16_and_no_zeros_are_drawn():
    features, head = drawn()
    assert features(np.zeros((1, 64, 97, 3), "float32")).shape == (1, 4, 7, 112)
    assert not kept(by_name(features, head), keras.layers.ZeroPadding2D)


@pytest.mark.parametrize("pool_size_2x", [False, True])
def test_stage_6_halves_doubled_rois(pool_size_2x):
    head = by_name(sketched("b0", pool_size_2x=pool_size_2x)[1])
    assert head["block6a_dwconv"].strides == ((2, 2) if pool_size_2x else (1, 1))
    assert head["top_activation"].output.shape[1:] == (7, 7, 1280)


def test_freeze_ids_are_the_stem_the_stages_and_the_top():
    assert list(EfficientNet.freeze_ids) == list(range(9))
    for block, prefix in ((0, "stem"), (2, "block2"), (6, "block6"), (7, "block7"), (8, "top")):
        layers = by_name(*sketched("b0", freeze_blocks=frozenset({block})))
        frozen = [name for name, layer in layers.items() if not layer.trainable]
        expected = [
            name
            for name, layer in layers.items()
            if name.startswith(prefix) and "Conv2D" in type(layer).__name__
        ]
        assert frozen == expected and frozen


def test_use_bias_leaves_the_projection_and_the_excitation_as_they_are():
    for use_bias in (False, True):
        layers = by_name(*sketched("b0", use_bias=use_bias))
        for name, layer in layers.items():
            if "Conv2D" in type(layer).__name__:
                always, never = "se_" in name, name.endswith("project_conv")
                assert layer.use_bias is (always or (use_bias and not never)), name


def test_kernels_start_with_a_variance_of_two_over_their_outputs():
    """He et al. 2015, https://arxiv.org/abs/1502.01852, for the gradient."""
    layers = by_name(*drawn())
    for name, outputs in (("top_conv", 1280), ("stem_conv", 9 * 32), ("block6d_dwconv", 25)):
        deviation = np.std(layers[name].kernel)
        assert deviation == pytest.approx((2 / outputs) ** 0.5, rel=0.1), name
    one, other = layers["block6b_project_conv"].kernel, layers["block6c_project_conv"].kernel
    assert np.abs(one.numpy() - other.numpy()).max() > 0.01


# Fields of model_config -----------------------------------------------------------------------


def activations(layers):
    kinds = [layers[name].activation for name in kept(layers, keras.layers.Activation)]
    return kinds + [layer.activation for name, layer in layers.items() if "se_reduce" in name]


@pytest.mark.parametrize("given, expected", [("", "silu"), ("swish", "silu"), ("relu", "relu")])
def test_the_activation_is_swish_or_what_the_spec_says(given, expected):
    layers = by_name(*sketched("b0", activation=given))
    found = activations(layers)
    assert {kind.__name__ for kind in found} == {expected}
    # Two in a block and one that squeezes, less the expansion of 1a; stem and top.
    assert len(found) == 16 * 3 - 1 + 2
    gates = [layer.activation for name, layer in layers.items() if name.endswith("se_expand")]
    assert {kind.__name__ for kind in gates} == {"sigmoid"}


def drops(variant, rate):
    layers = by_name(*sketched(variant, drop_connect_rate=rate))
    found = {name: layers[name] for name in kept(layers, keras.layers.Dropout)}
    assert {tuple(layer.noise_shape) for layer in found.values()} <= {(None, 1, 1, 1)}
    return {name: layer.rate for name, layer in found.items()}


def test_deeper_blocks_of_b0_drop_more_often():
    """Block 2b is the third of 16; blocks that do not repeat have nothing to fall back on."""
    number = {"2b": 2, "3b": 4, "4b": 6, "4c": 7, "5b": 9, "5c": 10, "6b": 12, "6c": 13, "6d": 14}
    found = drops("b0", 0.2)
    assert found == pytest.approx({f"block{b}_drop": 0.2 * n / 16 for b, n in number.items()})
    assert found["block2b_drop"] == pytest.approx(0.025)


def test_no_block_of_b7_drops_more_often_than_the_spec_says():
    """It has 4 + 7 + 7 + 10 + 10 + 13 + 4 = 55 blocks, of which the first of each stage cannot."""
    found = drops("b7", 0.2)
    assert len(found) == 55 - 7
    assert found["block1b_drop"] == pytest.approx(0.2 * 1 / 55)
    assert found["block7d_drop"] == max(found.values()) == pytest.approx(0.2 * 54 / 55)


def test_nothing_drops_at_rates_of_0():
    assert not kept(by_name(*sketched("b0")), keras.layers.Dropout)


def test_dropout_is_before_the_heads_output():
    _, head = sketched("b0", dropout_rate=0.3)
    assert head.layers[-1].name == "top_dropout" and head.layers[-1].rate == 0.3


# Plans ----------------------------------------------------------------------------------------


def keras_efficientnet(variant, height=64, width=64):
    network = getattr(keras.applications, f"EfficientNet{variant.upper()}")
    return network(include_top=False, weights=None, input_shape=(height, width, 3))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plan_has_every_layer_with_weights_once_in_the_order_of_the_data(variant):
    plan = EfficientNet().import_plan(variant, "keras")
    found = [name for unit in plan.units for name in (unit.layer, unit.norm) if name]
    layers = by_name(*sketched(variant))
    assert found == [name for name, layer in layers.items() if layer.weights]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plan_names_all_of_kerass_layers_with_weights_of_the_same_shapes(variant):
    plan = EfficientNet().import_plan(variant, "keras")
    ours = by_name(*sketched(variant))
    theirs = by_name(sketch(lambda: keras_efficientnet(variant)))
    # Keras numbers a layer of a kind that was drawn before.
    (scaling,) = [name for name in theirs if name.startswith(plan.input_norm)]
    named = [name for unit in plan.units for name in (unit.their_layer, unit.their_norm) if name]
    weighted = [name for name, layer in theirs.items() if layer.weights]
    assert sorted([scaling, *named]) == sorted(weighted)
    for unit in plan.units:
        assert ours[unit.layer].kernel.shape == theirs[unit.their_layer].kernel.shape, unit
        if unit.norm:
            assert ours[unit.norm].gamma.shape == theirs[unit.their_norm].gamma.shape, unit
            assert ours[unit.norm].epsilon == theirs[unit.their_norm].epsilon == plan.epsilon


def test_the_plan_prepares_images_with_the_statistics_of_imagenet():
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3))
    plan = EfficientNet().import_plan("b0", "keras")
    expected = keras.applications.imagenet_utils.preprocess_input(image.copy(), mode="torch")
    np.testing.assert_allclose(
        (image - plan.images.means) / plan.images.deviations, expected, atol=1e-6
    )
    assert plan.images.channel_order == "rgb"


@pytest.mark.parametrize(
    "library, reason",
    [
        ("torchvision", "put the zeros of a stride elsewhere"),
        ("darknet", "efficientnet has no counterpart there"),
    ],
)
def test_libraries_without_such_a_network_are_refused(library, reason):
    with pytest.raises(ModelFileError, match=reason):
        EfficientNet().import_plan("b0", library)


def twins(variant, height, width):
    """Keras's network with random normalizations, and our features and head like it."""
    theirs = keras_efficientnet(variant, height, width)
    random = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight, (low, high) in zip(
                layer.weights, ((0.5, 1), (-0.3, 0.3), (-0.3, 0.3), (0.5, 1.5)), strict=True
            ):
                weight.assign(random.uniform(low, high, weight.shape))
        elif "se_" in layer.name and layer.weights:
            layer.bias.assign(random.uniform(-0.3, 0.3, layer.bias.shape))
    features, head = drawn(variant, pool_size=3, pool_size_2x=True)
    ours, source = by_name(features, head), by_name(theirs)
    for unit in EfficientNet().import_plan(variant, "keras").units:
        ours[unit.layer].set_weights(source[unit.their_layer].get_weights())
        if unit.norm:
            ours[unit.norm].set_weights(source[unit.their_norm].get_weights())
    return theirs, features, head


# 97 x 131 pixels become 49 x 66 cells, 25 x 33 and 13 x 17: Keras pads each side by its parity.
@pytest.mark.parametrize("height, width, cells", [(96, 128, (6, 8)), (97, 131, (7, 9))])
def test_it_is_keras_applications_efficientnet(height, width, cells):
    theirs, features, _ = twins("b0", height, width)
    images = np.random.default_rng(1).standard_normal((2, height, width, 3), "float32")
    at_stride_16 = keras.Model(theirs.input, theirs.get_layer("block5c_add").output)
    # Theirs divides images by 255 itself.
    expected = at_stride_16(255 * images).numpy()
    assert expected.shape == (2, *cells, 112)
    np.testing.assert_allclose(features(images), expected, atol=1e-3 * np.abs(expected).max())


def test_the_head_on_a_doubled_roi_is_kerass_last_stages_on_a_map():
    theirs, _, head = twins("b0", 96, 96)
    rois = np.random.default_rng(1).standard_normal((2, 6, 6, 112), "float32")
    last = keras.Model(theirs.get_layer("block5c_add").output, theirs.output)
    expected = last(rois).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(head(rois), expected, atol=1e-3 * np.abs(expected).max())
