"""Which channels go together: one rule a test, on graphs of a few layers."""

import keras
import pytest
import toy
from keras import layers

from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.pruning import find_channels


def conv(filters, name, x, **options):
    return layers.Conv2D(filters, 1, name=name, **options)(x)


def image(side=4, channels=3):
    return keras.Input((side, side, channels), name="image")


def found(inputs, output, **options):
    """The channels of a network of one part, ``output`` being read by a last convolution."""
    if len(output.shape) == 4:
        output = conv(5, "last", output)
    else:
        output = layers.Dense(5, name="last")(output)
    return find_channels({"features": keras.Model(inputs, output)}, **options)


def group(channels, name):
    """The group of a layer of the only part."""
    (group,) = [group for group in channels.groups if f"features/{name}" in group.layers]
    return group


def together(channels):
    """The prunable groups, as sorted lists of layer names."""
    return sorted(
        sorted(layer.removeprefix("features/") for layer in group.layers)
        for group in channels.groups
        if group.prunable
    )


def read(channels, name):
    """What a layer reads: the first layer of each group."""
    groups = channels.inputs[f"features/{name}"]
    return [group.layers[0].removeprefix("features/") for group in groups]


# Layers that make channels --------------------------------------------------------------------


def test_each_convolution_and_dense_layer_has_channels_of_its_own_in_the_order_that_data_flows():
    x = image()
    y = conv(2, "a", x)
    y = layers.Dense(4, name="b")(conv(3, "c", y))
    channels = found(x, y)
    names = [name for group in channels.groups for name in group.layers]
    assert names == ["features/a", "features/c", "features/b", "features/last"]
    assert [group.size for group in channels.groups] == [2, 3, 4, 5]
    assert together(channels) == [["a"], ["b"], ["c"]]
    assert read(channels, "c") == ["a"]


def test_the_images_channels_and_the_outputs_stay():
    x = image()
    channels = found(x, conv(2, "a", x))
    assert group(channels, "last").reason == "its channels are an output of features"
    (images,) = channels.inputs["features/a"]
    assert not images.prunable and images.size == 3 and not images.layers


def test_what_is_added_to_the_image_stays():
    x = image()
    channels = found(x, layers.Add()([x, conv(3, "a", x)]))
    assert group(channels, "a").reason == "the images' channels stay"


def test_an_activation_that_sees_all_channels_keeps_them_but_not_what_it_reads():
    x = image()
    channels = found(x, conv(3, "b", conv(2, "a", x), activation="softmax"))
    assert together(channels) == [["a"]]
    assert group(channels, "b").reason == (
        "features/b has an activation that may depend on all channels at once"
    )


def test_frozen_layers_are_like_any_other():
    x = image()
    assert together(found(x, conv(2, "a", x, trainable=False))) == [["a"]]


# Layers that pass them on ---------------------------------------------------------------------

PASSING = (
    layers.Activation("swish"),
    layers.AveragePooling2D(2),
    layers.BatchNormalization(),
    BatchNormalization(frozen_statistics=True),
    layers.BatchNormalization(axis=3),
    layers.Cropping2D(1),
    layers.DepthwiseConv2D(3),
    layers.Dropout(0.5),
    layers.Dropout(0.5, noise_shape=(None, 1, 1, 1)),
    layers.ELU(),
    layers.GlobalAveragePooling2D(),
    layers.GlobalAveragePooling2D(keepdims=True),
    layers.GlobalMaxPooling2D(),
    layers.Identity(),
    layers.LeakyReLU(0.1),
    layers.MaxPooling2D(3, padding="same"),
    layers.ReLU(6.0),
    layers.Rescaling(1 / 255, offset=-1),
    layers.SpatialDropout2D(0.5),
    layers.UpSampling2D(2),
    layers.ZeroPadding2D(1),
)


@pytest.mark.slow
@pytest.mark.parametrize("layer", PASSING, ids=lambda layer: layer.name)
def test_a_layer_that_treats_each_channel_by_itself_passes_them_on(layer):
    x = image()
    channels = found(x, layer.from_config(layer.get_config())(conv(2, "a", x)))
    assert together(channels) == [["a"]]
    assert read(channels, "last") == ["a"]


# Layers that join them ------------------------------------------------------------------------

JOINING = (
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
)


@pytest.mark.slow
@pytest.mark.parametrize("join", JOINING)
def test_layers_that_join_two_maps_tie_their_channels(join):
    x = image()
    channels = found(x, join()([conv(4, "a", x), layers.ReLU()(conv(4, "b", x))]))
    assert together(channels) == [["a", "b"]]


def test_a_residual_stage_is_one_group():
    x = image()
    stage = conv(4, "a", x)
    for name in "bcd":
        stage = layers.Add()([stage, conv(4, name, conv(2, f"{name}0", stage))])
    channels = found(x, stage)
    assert together(channels) == [["a", "b", "c", "d"], ["b0"], ["c0"], ["d0"]]


def test_squeeze_and_excitation_ties_the_gate_to_what_it_scales():
    x = image()
    a = layers.DepthwiseConv2D(3, padding="same")(conv(4, "a", x))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(a)
    gate = conv(4, "expand", conv(1, "reduce", squeezed), activation="sigmoid")
    channels = found(x, layers.Multiply()([a, gate]))
    assert together(channels) == [["a", "expand"], ["reduce"]]


def test_a_gate_made_of_a_vector_by_a_reshape_is_tied_too():
    x = image()
    a = conv(4, "a", x)
    gate = layers.Dense(4, name="gate")(layers.GlobalAveragePooling2D()(a))
    channels = found(x, layers.Multiply()([a, layers.Reshape((1, 1, 4))(gate)]))
    assert together(channels) == [["a", "gate"]]


def test_one_channel_that_scales_all_of_a_map_stays_and_ties_nothing():
    x = image()
    a = conv(4, "a", x)
    channels = found(x, layers.Multiply(name="scale")([conv(1, "gate", a), a]))
    assert together(channels) == [["a"]]
    assert group(channels, "gate").reason == (
        "features/scale spreads this one channel over several"
    )


# Layers that put them side by side ------------------------------------------------------------


def test_after_a_concatenation_channels_are_side_by_side():
    x = image()
    a, b = conv(2, "a", x), conv(3, "b", x)
    channels = found(x, layers.Concatenate()([b, a, b]))
    assert together(channels) == [["a"], ["b"]]
    assert read(channels, "last") == ["b", "a", "b"]


def test_concatenations_that_are_added_tie_piece_by_piece():
    x = image()
    a, b, c, d = (conv(size, name, x) for size, name in ((2, "a"), (3, "b"), (2, "c"), (3, "d")))
    channels = found(x, layers.Add()([layers.Concatenate()([a, b]), layers.Concatenate()([c, d])]))
    assert together(channels) == [["a", "c"], ["b", "d"]]


@pytest.mark.parametrize("sizes", [(5,), (3, 2)])
def test_what_does_not_line_up_with_a_concatenation_stays_and_so_does_the_concatenation(sizes):
    x = image()
    first = layers.Concatenate()([conv(2, "a", x), conv(3, "b", x)])
    others = [conv(size, f"other{size}", x) for size in sizes]
    second = layers.Concatenate()(others) if len(others) > 1 else others[0]
    channels = found(x, layers.Add(name="sum")([first, second]))
    assert together(channels) == []
    for name in ("a", "b", *(f"other{size}" for size in sizes)):
        assert group(channels, name).reason == ("features/sum joins channels that do not line up")


def test_maps_that_are_concatenated_in_space_are_tied():
    x = image()
    channels = found(x, layers.Concatenate(axis=1)([conv(2, "a", x), conv(2, "b", x)]))
    assert together(channels) == [["a", "b"]]


# Layers that join cells -----------------------------------------------------------------------


@pytest.mark.parametrize("layer", [layers.Flatten(), layers.Reshape((-1,)), layers.Reshape((8,))])
def test_a_flattened_map_has_all_channels_of_each_cell_in_turn(layer):
    x = image(side=2)
    channels = found(x, layer(conv(2, "a", x)))
    assert together(channels) == [["a"]]
    assert read(channels, "last") == ["a"] * 4


def test_a_flattened_concatenation_has_both_maps_channels_of_each_cell():
    x = image(side=2)
    both = layers.Concatenate()([conv(2, "a", x), conv(3, "b", x)])
    assert read(found(x, layers.Flatten()(both)), "last") == ["a", "b"] * 4


def test_a_reshape_that_takes_channels_apart_keeps_them():
    x = image()
    channels = found(x, layers.Reshape((4, 8, 2), name="apart")(conv(4, "a", x)))
    assert group(channels, "a").reason == "features/apart (Reshape) takes channels apart"


def test_a_map_of_any_size_made_one_vector_keeps_its_channels():
    x = keras.Input((None, None, 3))
    vector = layers.Flatten(name="flat")(conv(2, "a", x))
    channels = find_channels({"features": keras.Model(x, vector)})
    assert group(channels, "a").reason == (
        "features/flat (Flatten) makes one vector of a map whose size is not fixed"
    )


# Layers that are not known --------------------------------------------------------------------


class OwnConvolution(layers.Conv2D):
    """May do anything, being somebody's own."""


UNKNOWN = (
    layers.Activation("softmax"),
    layers.Activation(lambda x: x / keras.ops.sum(x, -1, keepdims=True)),
    layers.BatchNormalization(axis=1),
    layers.Conv2D(4, 1, groups=2),
    layers.Conv2DTranspose(4, 1),
    layers.DepthwiseConv2D(1, depth_multiplier=2),
    layers.Dropout(0.5, noise_shape=(None, 1, 1, 4)),
    layers.GroupNormalization(2),
    layers.Lambda(lambda x: x),
    layers.LayerNormalization(),
    layers.PReLU(),
    layers.Permute((2, 1, 3)),
    layers.Rescaling([1.0, 2.0, 3.0, 4.0]),
    layers.SeparableConv2D(4, 1),
    layers.Softmax(),
    layers.UnitNormalization(),
    OwnConvolution(4, 1),
    keras.Sequential([layers.ReLU()]),
)


@pytest.mark.slow
@pytest.mark.parametrize("layer", UNKNOWN, ids=lambda layer: type(layer).__name__)
def test_what_reaches_a_layer_that_is_not_known_stays_and_the_reason_names_the_layer(layer):
    x = image()
    tied = layers.Add()([conv(4, "a", x), conv(4, "b", x)])
    channels = found(x, layer(tied))
    assert together(channels) == []
    reason = f"features/{layer.name} ({type(layer).__name__}) "
    for name in "ab":
        assert group(channels, name).reason.startswith(reason)
    assert not any(group.prunable for group in channels.inputs["features/last"])


def test_channels_first_is_not_known():
    x = image()
    pooled = layers.MaxPooling2D(2, data_format="channels_first", name="pool")(conv(2, "a", x))
    reason = "features/pool (MaxPooling2D) has its channels first"
    assert group(found(x, pooled), "a").reason == reason


def test_arithmetic_without_a_layer_is_not_known():
    x = image()
    assert together(found(x, 1.0 - conv(2, "a", x))) == []


def test_a_layer_with_several_inputs_and_outputs_that_is_not_known_keeps_them_all():
    x = image(side=1)
    query, value = (layers.Reshape((1, 4))(conv(4, name, x)) for name in "ab")
    attended, scores = layers.MultiHeadAttention(2, 2)(query, value, return_attention_scores=True)
    y = layers.Concatenate()([layers.Flatten()(attended), layers.Flatten()(scores)])
    assert together(found(x, y)) == []


def test_a_convolution_that_is_not_known_is_listed_with_the_reason():
    x = image()
    channels = found(x, conv(4, "grouped", conv(4, "a", x), groups=2))
    assert group(channels, "grouped").reason == "features/grouped (Conv2D) is a grouped convolution"
    assert group(channels, "grouped").size == 4


def test_layers_after_one_that_is_not_known_are_prunable_again():
    x = image()
    y = layers.LayerNormalization()(conv(4, "a", x))
    assert together(found(x, conv(3, "b", y))) == [["b"]]


# Layers that are called several times ---------------------------------------------------------


def test_what_a_shared_layer_reads_is_tied_and_what_it_makes_is_one_group():
    x = image()
    shared = layers.Conv2D(3, 1, name="shared")
    a, b = shared(conv(2, "a", x)), shared(conv(2, "b", x))
    channels = found(x, layers.Concatenate()([a, b]))
    assert together(channels) == [["a", "b"], ["shared"]]
    assert read(channels, "last") == ["shared", "shared"]


@pytest.mark.parametrize("layer", [layers.BatchNormalization, lambda: layers.DepthwiseConv2D(1)])
def test_a_shared_layer_with_weights_for_each_channel_ties_what_it_is_called_on(layer):
    x = image()
    shared = layer()
    y = layers.Concatenate()([shared(conv(2, "a", x)), shared(conv(2, "b", x))])
    assert together(found(x, y)) == [["a", "b"]]


def test_a_shared_layer_without_weights_ties_nothing():
    x = image()
    shared = layers.ReLU()
    y = layers.Concatenate()([shared(conv(2, "a", x)), shared(conv(2, "b", x))])
    assert together(found(x, y)) == [["a"], ["b"]]


def test_a_shared_layer_on_channels_that_do_not_line_up_keeps_them():
    x = image()
    shared = layers.BatchNormalization(name="shared")
    two = layers.Concatenate()([conv(2, "a", x), conv(2, "b", x)])
    y = layers.Concatenate()([shared(two), shared(conv(4, "c", x))])
    channels = found(x, y)
    assert together(channels) == []
    assert group(channels, "c").reason == (
        "features/shared is called several times, on channels that do not line up"
    )


# Models in models -----------------------------------------------------------------------------


def inner_model():
    x = keras.Input((4, 4, 2), name="within")
    return keras.Model(x, layers.ReLU()(conv(2, "c", x)), name="inner")


def test_a_model_in_the_model_is_gone_through():
    x = image()
    channels = found(x, inner_model()(conv(2, "a", x)))
    assert together(channels) == [["a"], ["inner/c"]]
    assert read(channels, "inner/c") == ["a"]


def test_a_model_that_is_called_twice_ties_what_it_reads():
    x = image()
    inner = inner_model()
    channels = found(x, inner(inner(conv(2, "a", x))))
    assert together(channels) == [["a", "inner/c"]]


def test_a_model_with_named_inputs_is_not_known():
    x = image()
    y = keras.Input((4, 4, 2), name="y")
    inner = keras.Model({"y": y}, conv(2, "c", y), name="inner")
    channels = found(x, inner({"y": conv(2, "a", x)}))
    assert together(channels) == []


# The three parts ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_rpn_and_the_head_read_the_channels_of_the_map():
    channels = find_channels(toy.detector().parts)
    (last,) = [group for group in channels.groups if "features/conv3" in group.layers]
    assert last.prunable
    assert channels.inputs["rpn/rpn_conv1"] == channels.inputs["head/head_conv"] == (last,)


@pytest.mark.slow
def test_the_predictors_stay_and_what_they_read_does_not():
    channels = find_channels(toy.detector().parts)
    prunable = {layer: group.prunable for group in channels.groups for layer in group.layers}
    assert prunable == {
        **{f"features/conv{i}": True for i in range(4)},
        "rpn/rpn_conv1": True,
        "rpn/rpn_out_class": False,
        "rpn/rpn_out_regress": False,
        "head/head_conv": True,
        "head/dense_class": False,
        "head/dense_regress": False,
    }


def test_the_heads_vector_is_the_flattened_crop():
    channels = find_channels(toy.detector().parts)
    assert len(channels.inputs["head/dense_class"]) == 3 * 3


def test_a_map_that_a_part_reads_in_an_unknown_way_stays():
    x, cells = image(), keras.Input((4, 4, 2))
    parts = {
        "features": keras.Model(x, conv(2, "a", x)),
        "rpn": keras.Model(cells, conv(3, "out", layers.LayerNormalization(name="norm")(cells))),
    }
    channels = find_channels(parts)
    assert group(channels, "a").reason.startswith("rpn/norm (LayerNormalization)")


# Layers that were named -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "features/b", "norm", "features/norm"])
def test_the_group_of_a_named_layer_stays(name):
    x = image()
    a, b = conv(2, "a", x), layers.BatchNormalization(name="norm")(conv(2, "b", x))
    y = conv(4, "c", layers.Add()([a, b]))
    channels = found(x, y, fixed=(name, "a_layer_of_another_variant"))
    assert together(channels) == [["c"]]
    assert group(channels, "a").reason.endswith(
        f"{name.removeprefix('features/')} was named to keep its channels"
    )


# Large graphs ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_graph_of_a_thousand_layers_is_one_walk_and_no_recursion():
    x = image(side=1)
    y = conv(2, "a", x)
    for _ in range(500):
        y = layers.Add()([y, layers.ReLU()(y)])
    channels = found(x, y)
    assert together(channels) == [["a"]]


@pytest.mark.slow
def test_groups_of_equal_networks_are_equal():
    first, second = (find_channels(toy.detector().parts) for _ in range(2))
    assert first == second
    assert len({*first.groups, *second.groups}) == len(first.groups)
