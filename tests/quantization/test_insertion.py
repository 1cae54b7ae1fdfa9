"""Where fake quantization goes on small graphs, and that nothing else changes, on any.

A kernel whose values are on its grid is not changed by rounding, and a range that no batch has been
seen for passes values through.  A graph of such kernels then computes the same with fake
quantization and without, whatever layers it has.
"""

from importlib.metadata import entry_points

import keras
import numpy as np
import pytest
from families import marks_of
from keras import layers

from frcnn_core.detector import folding
from frcnn_core.detector.layers import BackboneConfig, BatchNormalization, Blocks
from frcnn_core.detector.network import draw_backbone
from frcnn_core.detector.quantized_layers import QUANTIZED, FakeQuantize, QuantizedKernel
from frcnn_core.plugin.discovery import Plugins
from frcnn_core.quantization import quantize, quantizers


def quantized(outputs, inputs, *, part="features", **given):
    return quantize({part: keras.Model(inputs, outputs)}, **given)[part]


def ranged(model):
    """Names of what the ``FakeQuantize`` layers read."""
    return {
        layer.input._keras_history.operation.name
        for layer in model.layers
        if isinstance(layer, FakeQuantize)
    }


def images(*shape):
    return keras.Input(shape or (8, 8, 3), name="images")


def conv(x, name, filters=4, **given):
    return layers.Conv2D(filters, 3, padding="same", name=name, **given)(x)


def norm(x, name="norm"):
    return BatchNormalization(name=name)(x)


def relu(x, name="relu"):
    return layers.Activation("relu", name=name)(x)


# Where ranges are -----------------------------------------------------------------------------


def test_without_kernels_only_tensors_have_ranges_and_in_the_same_places():
    x = images()
    drawn = conv(conv(x, "conv", activation="swish"), "next")
    model, plain = quantized(drawn, x), quantized(drawn, x, kernels=False)
    assert ranged(plain) == ranged(model) == {"images", "conv", "conv_act", "next"}
    assert not any(isinstance(layer, QuantizedKernel) for layer in plain.layers)
    values = np.random.default_rng(0).standard_normal((1, 8, 8, 3), "float32")
    np.testing.assert_allclose(plain(values), keras.Model(x, drawn)(values), atol=1e-6)


def test_a_convolution_its_normalization_and_its_relu_have_one_range():
    x = images()
    model = quantized(conv(relu(norm(conv(x, "conv"))), "next"), x)
    assert ranged(model) == {"images", "relu", "next"}


@pytest.mark.parametrize(
    "draw",
    [
        relu,
        lambda x: layers.ReLU(name="relu")(x),
        lambda x: layers.ReLU(6.0, name="relu")(x),
        lambda x: layers.Activation("relu6", name="relu")(x),
    ],
)
def test_a_layer_that_cuts_off_is_one_with_what_it_reads(draw):
    x = images()
    model = quantized(draw(conv(x, "conv")), x)
    assert ranged(model) == {"images", "relu"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda x: layers.Activation("swish", name="act")(x),
        lambda x: layers.LeakyReLU(0.1, name="act")(x),
        lambda x: layers.ReLU(negative_slope=0.1, name="act")(x),
        lambda x: layers.ReLU(threshold=0.5, name="act")(x),
    ],
)
def test_what_another_activation_reads_has_a_range_too(draw):
    x = images()
    assert ranged(quantized(draw(conv(x, "conv")), x)) == {"images", "conv", "act"}
    assert ranged(quantized(draw(norm(conv(x, "conv"))), x)) == {"images", "norm", "act"}


def test_a_normalization_that_something_else_reads_as_well_has_a_range():
    x = images()
    y = norm(conv(x, "conv"))
    model = quantized(layers.Add(name="sum")([relu(y), y]), x)
    assert ranged(model) == {"images", "norm", "relu", "sum"}


def test_a_convolution_that_something_else_reads_as_well_has_a_range():
    x = images()
    y = conv(x, "conv")
    model = quantized(layers.Add(name="sum")([norm(y), y]), x)
    assert ranged(model) == {"images", "conv", "norm", "sum"}


def test_a_normalization_of_something_else_than_a_convolution_has_a_range():
    x = images()
    y = layers.AveragePooling2D(2, name="pool")(conv(x, "conv"))
    assert ranged(quantized(relu(norm(y)), x)) == {"images", "conv", "pool", "norm", "relu"}


def test_a_residual_unit_has_a_range_after_each_branch_the_sum_and_the_relu():
    x = images()
    branch = norm(conv(relu(conv(x, "first"), "act1"), "second"), "norm2")
    y = relu(layers.Add(name="sum")([branch, norm(conv(x, "shortcut"), "norm_s")]), "act2")
    assert ranged(quantized(y, x)) == {"images", "act1", "norm2", "norm_s", "sum", "act2"}


HANDING_ON = {
    "max pool": lambda: layers.MaxPooling2D(2),
    "padding": lambda: layers.ZeroPadding2D(),
    "cropping": lambda: layers.Cropping2D(),
    "nearest enlargement": lambda: layers.UpSampling2D(),
    "dropout": lambda: layers.Dropout(0.5),
    "flatten": lambda: layers.Flatten(),
    "reshape": lambda: layers.Reshape((4, -1)),
}


@pytest.mark.parametrize("kind", HANDING_ON)
def test_a_layer_that_hands_on_what_it_reads_has_no_range(kind):
    x = images()
    assert ranged(quantized(HANDING_ON[kind]()(conv(x, "conv")), x)) == {"images", "conv"}


MAKING = {
    "average pool": lambda x: layers.AveragePooling2D(2, name="it")(x),
    "global average": lambda x: layers.GlobalAveragePooling2D(name="it")(x),
    "smooth enlargement": lambda x: layers.UpSampling2D(interpolation="bilinear", name="it")(x),
    "product": lambda x: layers.Multiply(name="it")([x, x]),
    "concatenation": lambda x: layers.Concatenate(name="it")([x, x]),
    "unknown layer": lambda x: layers.SeparableConv2D(3, 1, name="it")(x),
}


@pytest.mark.parametrize("kind", MAKING)
def test_a_layer_that_makes_other_numbers_has_a_range(kind):
    x = images()
    assert ranged(quantized(MAKING[kind](conv(x, "conv")), x)) == {"images", "conv", "it"}


def test_what_is_no_floating_point_number_has_no_range():
    x = images()
    y = layers.Discretization(bin_boundaries=[0.0], output_mode="int", name="bins")(conv(x, "conv"))
    assert ranged(quantized(y, x)) == {"images", "conv"}


def test_the_outputs_of_the_rpn_have_a_range_and_its_input_has_that_of_the_feature_map():
    x = keras.Input((None, None, 4), name="feature_map")
    y = conv(x, "rpn_conv1", activation="relu")
    model = quantized([conv(y, "rpn_out_class"), conv(y, "rpn_out_regress")], x, part="rpn")
    assert ranged(model) == {"rpn_conv1", "rpn_out_class", "rpn_out_regress"}


def test_the_crops_have_a_range_and_the_predictors_of_the_head_have_none():
    x = keras.Input((2, 2, 4), name="crops")
    y = layers.Dense(3, activation="relu", name="fc1")(layers.Flatten()(x))
    outputs = [layers.Dense(3, name="dense_class")(y), layers.Dense(8, name="dense_regress")(y)]
    model = quantized(outputs, x, part="head")
    assert ranged(model) == {"crops", "fc1"}
    assert all(
        isinstance(layer, QuantizedKernel) for layer in model.layers if "dense" in layer.name
    )


def test_an_activation_within_a_layer_becomes_one_of_its_own_unless_it_cuts_off():
    x = images()
    model = quantized(conv(conv(x, "gate", activation="sigmoid"), "conv", activation="relu"), x)
    assert ranged(model) == {"images", "gate", "gate_act", "conv"}
    assert model.get_layer("gate").activation is keras.activations.linear
    assert model.get_layer("gate_act").activation is keras.activations.sigmoid
    assert model.get_layer("conv").activation is keras.activations.relu


def test_a_new_layer_does_not_take_the_name_of_another():
    x = images()
    y = conv(conv(x, "conv", activation="swish"), "conv_act", activation="relu")
    names = [layer.name for layer in quantized(y, x).layers]
    assert {"conv", "conv_act", "conv_act_1"} <= set(names)
    assert len(set(names)) == len(names)


def test_no_relu_becomes_another_one():
    x = images()
    y = layers.ReLU(name="a")(conv(x, "conv"))
    model = quantized(relu(conv(y, "next"), "b"), x)
    assert model.get_layer("a").max_value is None
    assert model.get_layer("b").activation is keras.activations.relu


def test_a_layer_that_is_called_twice_stays_one_and_each_output_has_a_range():
    x = images()
    shared = layers.Conv2D(3, 1, name="shared")
    model = quantized(shared(shared(x)), x)
    assert [layer.name for layer in quantizers({"features": model})] == [
        "images_qdq",
        "shared_qdq",
        "shared_qdq_1",
    ]
    assert sum(isinstance(layer, QuantizedKernel) for layer in model.layers) == 1


def test_models_in_a_model_are_quantized_as_well():
    inside = keras.Input((None, None, 3), name="given")
    inner = keras.Model(inside, relu(norm(conv(inside, "conv"))), name="inner")
    x = images()
    model = quantized(inner(inner(x)[..., :3]), x)
    assert ranged(model.get_layer("inner")) == {"relu"}
    assert isinstance(model.get_layer("inner").get_layer("conv"), QuantizedKernel)


# What stays as it was -------------------------------------------------------------------------


def test_layers_keep_what_they_were_drawn_with():
    blocks = Blocks(
        BackboneConfig(
            freeze_blocks=frozenset({0}),
            freeze_bn=True,
            use_bias=True,
            kernel_regularizer=keras.regularizers.L2(0.5),
        )
    )
    x = images()
    y = blocks.conv_bn(x, 4, 3, name="conv0", block=0, strides=2)
    y = blocks.conv_bn(blocks.depthwise(y, 5, name="wise", block=1), 4, 1, name="conv1", block=1)
    plain = keras.Model(x, layers.Dropout(0.3, noise_shape=(None, 1, 1, 1), name="drop")(y))
    copy = quantize({"features": plain})["features"]
    for layer in plain.layers:
        expected = layer.get_config()
        found = copy.get_layer(layer.name).get_config()
        assert found.pop("per_channel", False) is False
        assert found == expected
    assert not copy.get_layer("conv0").trainable
    assert len(copy.losses) == 2 - 1  # a frozen kernel is not regularized


def test_the_old_graphs_stay_as_they_are():
    x = images()
    plain = keras.Model(x, relu(norm(conv(x, "conv"))))
    before = plain.to_json()
    copy = quantize({"features": plain})["features"]
    copy.get_layer("conv").kernel.assign(np.zeros(copy.get_layer("conv").kernel.shape))
    assert plain.to_json() == before
    assert plain.get_layer("conv").kernel.numpy().all()


def test_random_states_are_carried_over():
    x = images()
    plain = keras.Model(x, layers.Dropout(0.5)(conv(x, "conv")))
    # Every output is far from 0, so that only dropout makes zeros.
    plain.get_layer("conv").kernel.assign(np.ones((3, 3, 3, 4), "float32"))
    rounded_as(copy := quantize({"features": plain})["features"], plain)
    inputs = np.ones((2, 8, 8, 3), "float32")
    first, second = (np.asarray(model(inputs, training=True)) for model in (plain, copy))
    np.testing.assert_array_equal(first == 0, second == 0)


def rounded_as(copy, plain):
    """Give the kernels of a graph the rounded values of its quantized copy's."""
    for layer in plain.layers:
        if isinstance(layer, keras.Model):
            rounded_as(copy.get_layer(layer.name), layer)
        elif type(layer) in QUANTIZED:
            layer.kernel.assign(copy.get_layer(layer.name).rounded_kernel())


BACKBONES = {
    entry.component.name: entry.component
    for entry in Plugins(entry_points(group="frcnn")).backbones
}


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, pytest.param(True, marks=pytest.mark.conformance)])
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in BACKBONES])
def test_every_backbone_computes_the_same_but_for_the_rounding(name, per_channel):
    backbone = BACKBONES[name]
    variant = backbone.variants[0] if backbone.variants else ""
    config = BackboneConfig(variant=variant, options=backbone.Options(), pool_size=3)
    features, head = draw_backbone(backbone, config)
    parts = {"features": features, "head": head}
    copies = quantize(parts, per_channel_weights=per_channel)
    for part, plain in parts.items():
        copy = copies[part]
        names = {layer.name for layer in plain.layers}
        assert names <= {layer.name for layer in copy.layers}
        assert not any(type(layer) in QUANTIZED for layer in copy.layers)
        rounded_as(copy, plain)
        shape = [2, *(48 if side is None else side for side in plain.input.shape[1:])]
        inputs = np.random.default_rng(0).standard_normal(shape, "float32")
        expected = np.asarray(plain(inputs))
        for found in (copy(inputs), folding.run(copy, inputs, training=False)):
            np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
        # Every range moves, and rounding by them leaves most of the signal.
        copy(inputs, training=True)
        assert all(layer.range.numpy() > 0 for layer in quantizers({part: copy}))


def ranged_in(name, variant, prefix=""):
    """What has a range in a backbone's features, of the layers with this prefix, in order."""
    backbone = BACKBONES[name]
    config = BackboneConfig(variant=variant, options=backbone.Options())
    features, _ = draw_backbone(backbone, config)
    names = (
        layer.input._keras_history.operation.name
        for layer in quantizers({"features": quantize({"features": features})["features"]})
    )
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


@pytest.mark.slow
def test_a_resnet_has_ranges_after_both_branches_sums_and_relus():
    assert ranged_in("resnet", "10")[:2] == ["input_image", "relu_conv1"]
    unit = ranged_in("resnet", "10", "block_1a_")
    assert unit == ["relu_1", "bn_2", "bn_shortcut", "add", "relu"]


@pytest.mark.slow
def test_mobilenet_v2_has_ranges_after_its_linear_bottlenecks():
    unit = ranged_in("mobilenet_v2", "", "block_1_")
    assert unit == ["expand_relu", "depthwise_relu", "project_bn"]


@pytest.mark.slow
def test_googlenet_has_ranges_after_each_branch_and_their_concatenation():
    unit = ranged_in("googlenet", "", "inception_3a_")
    convolutions = ["3x3_reduce", "5x5_reduce", "1x1", "3x3", "5x5", "pool_proj"]
    assert unit == [*(f"{name}_relu" for name in convolutions), "output"]


@pytest.mark.slow
def test_efficientnet_has_ranges_before_and_after_each_of_its_activations():
    unit = ranged_in("efficientnet", "b0", "block1a_")
    gate = ["se_squeeze", "se_reduce", "se_reduce_act", "se_expand", "se_expand_act", "se_excite"]
    assert unit == ["bn", "activation", *gate, "project_bn"]
