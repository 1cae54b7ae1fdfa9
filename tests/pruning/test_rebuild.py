"""Smaller networks: a few numbers by hand, then random graphs against masks, then a detector."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from masked import run_parts
from random_networks import SIDE, detector, randomize, some_channels

from frcnn_core.detector import folding
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.settings import DetectionSettings, TrainingSettings
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import archive
from frcnn_core.model_files.model import Model
from frcnn_core.pruning import ChannelGroup, find_channels, positions, rebuild
from frcnn_core.structures import Batch


def pruned(outputs, *, inputs, custom_layers=None, **keep):
    """The network from ``inputs`` to ``outputs`` with some channels of layers named in ``keep``."""
    parts = {"features": keras.Model(inputs, outputs, name="features")}
    channels = find_channels(parts)
    keep = {group_of(channels, layer): indices for layer, indices in keep.items()}
    return rebuild(parts, channels, keep, custom_layers=custom_layers)["features"]


def group_of(channels, layer):
    (group,) = [group for group in channels.groups if f"features/{layer}" in group.layers]
    return group


def conv(filters, name, x, **options):
    return layers.Conv2D(filters, 1, name=name, **options)(x)


def numbered(tensor):
    """Give the weights of the layer that made a tensor the numbers from 0 on."""
    layer = tensor._keras_history.operation
    for weight in layer.weights:
        weight.assign(np.arange(np.prod(weight.shape)).reshape(weight.shape))
    return tensor


def weights(model, layer):
    return [weight.tolist() for weight in model.get_layer(layer).get_weights()]


# What becomes of each kind of weight ----------------------------------------------------------


def test_a_convolution_loses_filters_and_their_biases():
    x = keras.Input((4, 4, 1))
    model = pruned(conv(1, "b", numbered(conv(4, "a", x))), inputs=x, a=[1, 3])
    assert weights(model, "a") == [[[[[1, 3]]]], [1, 3]]
    assert model.get_layer("a").filters == 2


def test_the_convolution_after_it_loses_input_channels_and_keeps_its_bias():
    x = keras.Input((4, 4, 1))
    model = pruned(numbered(conv(2, "b", conv(3, "a", x))), inputs=x, a=[0, 2])
    assert weights(model, "b") == [[[[[0, 1], [4, 5]]]], [0, 1]]


def test_a_kernel_between_two_pruned_layers_loses_rows_and_columns():
    x = keras.Input((4, 4, 1))
    y = numbered(conv(3, "b", conv(3, "a", x)))
    model = pruned(conv(1, "c", y), inputs=x, a=[0, 2], b=[1, 2])
    assert weights(model, "b") == [[[[[1, 2], [7, 8]]]], [1, 2]]


@pytest.mark.parametrize("kind", [layers.BatchNormalization, BatchNormalization])
def test_a_normalization_keeps_what_belongs_to_the_channels_that_stay(kind):
    x = keras.Input((4, 4, 1))
    norm = kind(name="norm")
    y = norm(conv(3, "a", x))
    norm.set_weights([np.array([0, 1, 2]) + 10 * i for i in range(4)])
    model = pruned(conv(1, "b", y), inputs=x, a=[0, 2])
    assert type(model.get_layer("norm")) is kind
    assert weights(model, "norm") == [[0, 2], [10, 12], [20, 22], [30, 32]]


def test_a_depthwise_convolution_loses_the_filters_of_its_input_channels():
    x = keras.Input((4, 4, 1))
    y = numbered(layers.DepthwiseConv2D((1, 2), name="depthwise")(conv(3, "a", x)))
    model = pruned(conv(1, "b", y), inputs=x, a=[0, 2])
    assert weights(model, "depthwise") == [[[[[0], [2]], [[3], [5]]]], [0, 2]]


def test_a_dense_layer_after_a_flattened_map_loses_a_row_of_each_cell():
    x = keras.Input((2, 2, 1))
    y = layers.Flatten()(conv(3, "a", x))
    model = pruned(numbered(layers.Dense(1, name="dense")(y)), inputs=x, a=[0, 2])
    kernel, _ = model.get_layer("dense").get_weights()
    assert kernel[:, 0].tolist() == [0, 2, 3, 5, 6, 8, 9, 11]


def test_after_a_concatenation_rows_go_at_the_place_of_each_input():
    x = keras.Input((4, 4, 1))
    y = layers.Concatenate()([conv(2, "a", x), conv(3, "b", x)])
    model = pruned(numbered(conv(1, "c", y)), inputs=x, a=[1], b=[0, 2])
    assert weights(model, "c")[0] == [[[[1], [2], [4]]]]


def test_positions_count_through_groups_side_by_side():
    a, b = ChannelGroup(("a",), 2, True), ChannelGroup(("b",), 3, True)
    assert positions([a, b, a], {a: [1]}).tolist() == [1, 2, 3, 4, 6]


@pytest.mark.parametrize("target", [(1, 1, 3), (1, 1, -1), (-1, 1, 3)])
def test_a_reshape_names_the_new_number_of_channels(target):
    x = keras.Input((4, 4, 1))
    y = layers.Reshape(target)(layers.GlobalAveragePooling2D()(conv(3, "a", x)))
    assert pruned(conv(1, "b", y), inputs=x, a=[0, 2]).layers[-2].output.shape[1:] == (1, 1, 2)


def test_a_layer_that_is_called_twice_is_still_one_layer():
    x = keras.Input((4, 4, 1))
    shared = layers.Conv2D(3, 1, name="shared")
    y = layers.Concatenate()([shared(conv(2, "a", x)), shared(conv(2, "b", x))])
    model = pruned(conv(1, "c", y), inputs=x, a=[1], shared=[0, 2])
    assert [model.get_layer(name).filters for name in ("a", "b", "shared")] == [1, 1, 2]
    assert model.get_layer("c").kernel.shape == (1, 1, 4, 1)


def test_a_model_in_the_model_gets_smaller_too():
    x, y = keras.Input((4, 4, 1)), keras.Input((None, None, 3))
    inner = keras.Model(y, conv(3, "c", y), name="inner")
    model = pruned(conv(1, "b", inner(inner(conv(3, "a", x)))), inputs=x, a=[0, 2])
    assert model.get_layer("inner").input.shape[-1] == 2
    assert model.get_layer("inner").get_layer("c").kernel.shape == (1, 1, 2, 2)


# What stays as it was -------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_rebuild")
class Registered(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


class Own(Registered):
    """Known to whoever gives ``custom_layers``."""


def test_names_regularizers_freezing_and_own_layers_survive():
    x = keras.Input((4, 4, 1), name="picture")
    y = conv(3, "a", x, trainable=False, kernel_regularizer=keras.regularizers.L2(0.25))
    y = BatchNormalization(frozen_statistics=True, epsilon=0.5, name="norm")(y)
    y = layers.Dropout(0.5, name="drop")(y)
    y = Own(name="own")(Registered(name="registered")(conv(2, "b", y)))
    model = pruned(conv(1, "c", y), inputs=x, custom_layers={"Own": Own}, a=[2])
    assert [layer.name for layer in model.layers] == [
        *("picture", "a", "norm", "drop", "b", "registered", "own", "c")
    ]
    assert model.name == "features"
    assert [layer.name for layer in model.layers if not layer.trainable] == ["a"]
    assert model.get_layer("a").kernel_regularizer.l2 == 0.25
    assert model.get_layer("norm").frozen_statistics and model.get_layer("norm").epsilon == 0.5
    assert type(model.get_layer("own")) is Own


def attended(x):
    tokens = layers.Reshape((16, 4))(x)
    return layers.MultiHeadAttention(2, 2)(tokens, tokens)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unknown",
    [
        attended,
        lambda x: 1.0 - x * x,
        keras.Sequential([layers.Conv2D(4, 1), layers.ReLU()]),
        layers.Conv2D(4, 1, groups=2),
        layers.DepthwiseConv2D(1, depth_multiplier=2),
        layers.LayerNormalization(),
        layers.PReLU(),
        layers.SeparableConv2D(4, 1),
    ],
)
def test_layers_that_pruning_does_not_know_are_copied_as_they_are(unknown):
    x = keras.Input((4, 4, 1))
    y = layers.Dense(2, name="c")(unknown(conv(4, "b", conv(6, "a", x))))
    parts = {"features": keras.Model(x, y)}
    randomize(parts, seed=0)
    channels = find_channels(parts)
    smaller = rebuild(parts, channels, {group_of(channels, "a"): [0, 2, 5]})["features"]
    kernel = parts["features"].get_layer("b").kernel
    kernel.assign(kernel * np.array([1, 0, 1, 0, 0, 1])[:, None])
    images = np.random.default_rng(0).standard_normal((2, 4, 4, 1), "float32")
    np.testing.assert_allclose(smaller(images), parts["features"](images), atol=1e-5)


@pytest.mark.slow
def test_layers_keep_their_precision():
    parts = toy.detector(precision="mixed_bfloat16").parts
    channels = find_channels(parts)
    smaller = rebuild(parts, channels, some_channels(channels, seed=0))
    for name, part in parts.items():
        assert smaller[name].input.dtype == part.input.dtype
        for before, after in zip(part.layers[1:], smaller[name].layers[1:], strict=True):
            assert after.dtype_policy == before.dtype_policy
    conv0 = smaller["features"].get_layer("conv0")
    assert conv0.compute_dtype == "bfloat16" and conv0.kernel.dtype == "float32"


@pytest.mark.slow
def test_nothing_named_means_an_equal_network_of_its_own():
    parts = toy.detector().parts
    channels = find_channels(parts)
    before = {name: part.get_weights() for name, part in parts.items()}
    copies = rebuild(parts, channels, {})
    for name, copy in copies.items():
        assert copy.to_json() == parts[name].to_json()
        for weight, expected in zip(copy.weights, before[name], strict=True):
            assert (weight.numpy() == expected).all()
            weight.assign(weight + 1.0)
        for weight, expected in zip(parts[name].weights, before[name], strict=True):
            assert (weight.numpy() == expected).all()


# Wrong channels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "indices, problem",
    [
        ([], "none would be left; at least one of 3 has to stay."),
        ([0, 3], "integers from 0 to 2"),
        ([-1, 1], "integers from 0 to 2"),
        ([1, 0], "ascending order, not [1, 0]."),
        ([1, 1], "ascending order, not [1, 1]."),
        ([True, False, True], "integers"),
        ([0.0, 1.0], "integers"),
    ],
)
def test_channels_that_are_no_choice_are_refused_and_the_group_is_named(indices, problem):
    x = keras.Input((4, 4, 1))
    y = layers.Add()([conv(3, "a", x), conv(3, "b", x)])
    with pytest.raises(FrcnnError) as error:
        pruned(conv(1, "c", y), inputs=x, a=indices)
    layer_names, _, text = str(error.value).partition(": ")
    assert set(layer_names.removeprefix("Channels of ").split(", ")) == {"features/a", "features/b"}
    assert problem in text


def test_channels_that_have_to_stay_are_not_taken():
    x = keras.Input((4, 4, 1))
    with pytest.raises(FrcnnError, match="have to stay, because its channels are an output"):
        pruned(conv(3, "a", x), inputs=x, a=[0, 1])
    assert pruned(conv(3, "a", x), inputs=x, a=[0, 1, 2]).output.shape[-1] == 3


def test_a_group_of_another_network_is_refused():
    parts = toy.detector().parts
    with pytest.raises(FrcnnError, match="features/other: there is no such group"):
        rebuild(parts, find_channels(parts), {ChannelGroup(("features/other",), 8, True): [0]})


# The same function ----------------------------------------------------------------------------


def check_against_masks(parts, seed, side=SIDE, crop=lambda cells: cells[:, 1:3, :2]):
    """Hold that without random channels the network computes what it does with them masked.

    Args:
        side: of the images.
        crop: makes an input of the head of feature maps.
    """
    channels = find_channels(parts)
    keep = some_channels(channels, seed)
    smaller = rebuild(parts, channels, keep)
    images = np.random.default_rng(seed).uniform(-1, 1, (2, side, side, 3)).astype("float32")
    expected = run_parts(parts, images, keep, crop)
    cells = smaller["features"](images).numpy()
    found = {
        "features": [cells],
        "rpn": smaller["rpn"](cells),
        "head": smaller["head"](crop(cells)),
    }
    for name, outputs in expected.items():
        for output, other in zip(outputs, found[name], strict=True):
            np.testing.assert_allclose(other, output, atol=1e-4 * max(1.0, np.abs(output).max()))


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_pruned_network_is_the_network_with_those_channels_masked(seed):
    check_against_masks(detector(random.Random(seed)), seed)


@pytest.mark.conformance
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_many_pruned_networks_are_the_networks_with_those_channels_masked(seed):
    check_against_masks(detector(random.Random(seed)), seed)


@pytest.mark.slow
@pytest.mark.parametrize("config", [{}, {"pool_size_2x": True, "use_bias": True}])
def test_a_pruned_detector_is_the_detector_with_those_channels_masked(config):
    parts = toy.detector(**config).parts
    randomize(parts, seed=0)
    crop_side = parts["head"].input.shape[1]
    check_against_masks(parts, 1, side=128, crop=lambda cells: cells[:, :crop_side, :crop_side])


# A pruned detector ----------------------------------------------------------------------------


@pytest.fixture
def model():
    """A toy model with half of the channels, whose normalizations are all different."""
    model = toy.model(freeze_bn=True)
    detector = model.detector
    numbers = np.random.default_rng(0)
    for part in detector.parts.values():
        for layer in part.layers:
            if isinstance(layer, BatchNormalization):
                for weight in layer.weights:
                    weight.assign(numbers.uniform(0.5, 1.5, weight.shape))
    channels = find_channels(detector.parts)
    keep = {group: range(0, group.size, 2) for group in channels.groups if group.prunable}
    before = model.num_parameters
    parts = rebuild(detector.parts, channels, keep)
    model.detector = FasterRCNN(**parts, anchors=detector.anchors)
    assert model.num_parameters < before / 2
    return model


@pytest.mark.slow
def test_it_detects_the_same_after_a_round_trip_through_a_file(model, tmp_path):
    path = tmp_path / "pruned.tlt"
    archive.write(path, model.to_archive())
    read = Model.from_archive(archive.read(path))
    assert read.num_parameters == model.num_parameters
    images = np.random.default_rng(3).standard_normal((2, 64, 64, 3), "float32")
    sizes = np.full((2, 2), 64, "float32")
    settings = DetectionSettings(rpn_nms_max_boxes=16, object_confidence_thres=0.0)
    expected = model.detector.detect(images, sizes, settings)
    assert expected.counts.numpy().min() > 0
    for column, other in zip(expected, read.detector.detect(images, sizes, settings), strict=True):
        np.testing.assert_array_equal(column, other)


@pytest.mark.slow
def test_it_learns_and_every_weight_takes_part(model):
    detector = model.detector
    batch = Batch(
        images=tf.random.stateless_normal([1, 64, 64, 3], [0, 0]),
        sizes=tf.constant([[64.0, 64.0]]),
        scales=tf.ones((1, 2)),
        boxes=tf.constant([[[10.0, 12, 42, 44]]]),
        classes=tf.constant([[1]]),
        difficult=tf.zeros((1, 1), tf.bool),
        names=tf.constant(["a.png"]),
    )
    training = TrainingSettings(
        gt_as_roi=True, rpn_mini_batch=16, roi_mini_batch=16, rpn_nms_max_boxes=16
    )
    optimizer = keras.optimizers.Adam(0.003)
    variables = detector.trainable_variables
    before = [variable.numpy() for variable in variables]
    totals = []
    for _ in range(15):
        with tf.GradientTape() as tape:
            total = detector.losses(batch, tf.constant([[5, 0]]), training).total
        gradients = tape.gradient(total, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        totals.append(float(total))
    assert totals[-1] < totals[0] / 2
    for variable, old in zip(variables, before, strict=True):
        assert (variable.numpy() != old).any(), variable.path


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_running_it_with_folded_convolutions_gives_the_same(model, training):
    for part in model.detector.parts.values():
        shape = [2, *(8 if side is None else side for side in part.input.shape[1:])]
        inputs = np.random.default_rng(0).standard_normal(shape, "float32")
        expected = keras.tree.flatten(part(inputs, training=False))
        found = keras.tree.flatten(folding.run(part, inputs, training=training))
        for output, other in zip(expected, found, strict=True):
            largest = np.abs(output).max()
            assert largest > 0
            np.testing.assert_allclose(other, output, atol=1e-4 * largest)
