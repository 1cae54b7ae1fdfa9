"""What is beyond an image's canvas never reaches its own cells: each image is also run alone.

What batches pad with is NaN here, so that a single look at it shows in the result.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import extents, folding
from frcnn_core.detector.canvases import Canvases
from frcnn_core.detector.layers import BatchNormalization
from frcnn_core.detector.quantized_layers import (
    FakeQuantize,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
)

CANVASES = ((48, 80), (96, 48), (64, 64))
BATCH = (112, 96)
"""Larger than the largest canvas: a batch may pad as much as it likes."""


def images(seed=0, canvases=CANVASES, channels=2):
    random = np.random.default_rng(seed)
    return [random.standard_normal((*canvas, channels), "float32") for canvas in canvases]


def padded(maps, size=BATCH, fill=np.nan):
    """One batch of maps (h, w, C) of different sizes."""
    batch = np.full((len(maps), *size, maps[0].shape[-1]), fill, "float32")
    for place, one in zip(batch, maps, strict=True):
        place[: one.shape[0], : one.shape[1]] = one
    return tf.constant(batch)


def canvases_of(maps):
    return Canvases(tf.constant([one.shape[:2] for one in maps], tf.int32))


def randomized(model, seed=0):
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(random.normal(0, 0.5, weight.shape))
    return model


def graph(draw, channels=2):
    """The model of ``draw``, a function from a map to a map, with random weights."""
    inputs = keras.Input((None, None, channels))
    return randomized(keras.Model(inputs, draw(inputs)))


def own(outputs, model, maps):
    """The own cells of each image's part of an output (B, h, w, C), or its vector."""
    extent = extents.follow(model)[id(model.outputs[0])]
    if extent is None:
        return list(outputs.numpy())
    cells = extent.cells(canvases_of(maps).sizes).numpy()
    return [one[:h, :w] for one, (h, w) in zip(outputs.numpy(), cells, strict=True)]


def assert_same_as_alone(model, maps, training=False):
    alone = [model(one[None], training=training).numpy()[0] for one in maps]
    together = folding.run(model, padded(maps), training=training, canvases=canvases_of(maps))
    for found, expected in zip(own(together, model, maps), alone, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5 * max(1, np.abs(expected).max()))


layers = keras.layers
LAYERS = {
    "convolution": lambda: layers.Conv2D(3, 3, padding="same"),
    "valid convolution": lambda: layers.Conv2D(3, 3),
    "large convolution": lambda: layers.Conv2D(3, 7, padding="same", use_bias=False),
    "even convolution": lambda: layers.Conv2D(3, 4, padding="same"),
    "strided convolution": lambda: layers.Conv2D(3, 3, strides=2, padding="same"),
    "strided 1x1 convolution": lambda: layers.Conv2D(3, 1, strides=2, padding="same"),
    "wide stride": lambda: layers.Conv2D(3, (7, 5), strides=(4, 2), padding="same"),
    "valid stride": lambda: layers.Conv2D(3, 5, strides=2),
    "dilated convolution": lambda: layers.Conv2D(3, 3, dilation_rate=2, padding="same"),
    "grouped convolution": lambda: layers.Conv2D(4, 3, groups=2, padding="same"),
    "depthwise convolution": lambda: layers.DepthwiseConv2D(5, padding="same"),
    "strided depthwise": lambda: layers.DepthwiseConv2D(3, strides=2, padding="same"),
    "separable convolution": lambda: layers.SeparableConv2D(3, 3, padding="same"),
    "padding": lambda: layers.ZeroPadding2D(2),
    "uneven padding": lambda: layers.ZeroPadding2D(((0, 1), (2, 0))),
    "cropping": lambda: layers.Cropping2D(((1, 2), (0, 3))),
    "max pool": lambda: layers.MaxPooling2D(2, padding="same"),
    "overlapping max pool": lambda: layers.MaxPooling2D(3, strides=2, padding="same"),
    "max pool of stride 1": lambda: layers.MaxPooling2D(3, strides=1, padding="same"),
    "valid max pool": lambda: layers.MaxPooling2D(3, strides=2),
    "average pool": lambda: layers.AveragePooling2D(3, strides=1, padding="same"),
    "strided average pool": lambda: layers.AveragePooling2D(5, strides=2, padding="same"),
    "valid average pool": lambda: layers.AveragePooling2D(2),
    "global average": lambda: layers.GlobalAveragePooling2D(),
    "global average map": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "global maximum": lambda: layers.GlobalMaxPooling2D(),
    "norm": lambda: BatchNormalization(),
    "keras norm": lambda: layers.BatchNormalization(),
    "dense": lambda: layers.Dense(3, activation="softmax"),
    "activation": lambda: layers.Activation("swish"),
    "quantized convolution": lambda: QuantizedConv2D(3, 3, padding="same", per_channel=True),
    "quantized depthwise": lambda: QuantizedDepthwiseConv2D(3, strides=2, padding="same"),
    "quantized dense": lambda: QuantizedDense(3),
    "range": lambda: FakeQuantize(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYERS)
def test_after_one_layer_own_cells_are_what_they_are_alone(kind):
    model = graph(lambda x: LAYERS[kind]()(x))
    assert_same_as_alone(model, images())


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYERS)
def test_between_layers_own_cells_are_what_they_are_alone(kind):
    """Own cells are followed by what layers before left beyond, not by NaN alone."""

    def draw(x):
        x = layers.Conv2D(2, 3, strides=2, padding="same")(x)
        x = LAYERS[kind]()(x)
        if len(x.shape) == 4 and x.shape[1] is None:
            x = layers.Conv2D(2, 3, padding="same", activation="relu")(x)
        return x

    assert_same_as_alone(graph(draw), images())


def test_a_map_that_was_halved_can_be_enlarged_again():
    def draw(x):
        half = layers.Conv2D(2, 3, strides=2, padding="same")(x)
        x = layers.Add()([x, layers.UpSampling2D(2)(half)])
        return layers.Conv2D(2, 3, padding="same")(x)

    assert_same_as_alone(graph(draw), images())


def test_channels_weighted_by_what_the_whole_image_holds_are_what_they_are_alone():
    def draw(x):
        x = layers.DepthwiseConv2D(3, padding="same", activation="swish")(x)
        weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
        weights = layers.Conv2D(2, 1, activation="sigmoid")(weights)
        return layers.Multiply()([weights, x])

    assert_same_as_alone(graph(draw), images())


def test_a_model_in_the_model_is_followed_too():
    def draw(x):
        x = layers.Conv2D(3, 3, strides=2, padding="same")(x)
        inputs = keras.Input((None, None, 3))
        inner = keras.Model(inputs, layers.Conv2D(3, 3, strides=2, padding="same")(inputs))
        return layers.Conv2D(2, 3, padding="same")(inner(x))

    assert_same_as_alone(graph(draw), images())


def random_graph(random):
    """Some layers in a row, with branches that meet again; strides of 16 together at most."""
    stride, cells = 1, min(min(canvas) for canvas in CANVASES)

    def layer(x, filters):
        nonlocal stride, cells
        size = int(random.choice([1, 2, 3, 5]))
        step = int(random.choice([1, 2])) if stride < 8 else 1
        padding = "valid" if cells > 3 * size and random.random() < 0.3 else "same"
        kind = random.integers(8)
        if kind == 0 and cells > 8:
            top, bottom, left, right = (int(n) for n in random.integers(0, 3, 4))
            return layers.ZeroPadding2D(((top, bottom), (left, right)))(x)
        if kind == 1 and cells > 12:
            cells -= 4
            return layers.Cropping2D(((1, 2), (0, 3)))(x)
        if kind == 2:
            return layers.LeakyReLU()(BatchNormalization(frozen_statistics=True)(x))
        if kind == 3:
            branches = [
                layers.Conv2D(filters, 3, padding="same")(x),
                layers.MaxPooling2D(3, strides=1, padding="same")(x),
                layers.AveragePooling2D(5, strides=1, padding="same")(x),
            ]
            return layers.Concatenate()(branches)
        if kind == 4:
            return layers.Add()([x, layers.DepthwiseConv2D(5, padding="same")(x)])
        stride, cells = stride * step, (cells - (size - 1) * (padding == "valid")) // step
        if kind == 5:
            return layers.MaxPooling2D(size, strides=step, padding=padding)(x)
        if kind == 6:
            return layers.AveragePooling2D(size, strides=step, padding=padding)(x)
        activation = random.choice([None, "relu"])
        return layers.Conv2D(filters, size, strides=step, padding=padding, activation=activation)(x)

    inputs = x = keras.Input((None, None, 2))
    for _ in range(int(random.integers(3, 9))):
        x = layer(x, int(random.integers(1, 5)))
    return randomized(keras.Model(inputs, x))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_in_random_graphs_own_cells_are_what_they_are_alone(seed):
    keras.utils.set_random_seed(seed)
    model = random_graph(np.random.default_rng(seed))
    assert_same_as_alone(model, images(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 52))
def test_in_random_graphs_the_gradient_is_the_sum_of_the_images_own(seed):
    keras.utils.set_random_seed(seed)
    model = random_graph(np.random.default_rng(seed))
    maps, variables = images(seed), [v.value for v in model.trainable_variables]

    def objective(outputs):
        return tf.add_n([tf.reduce_sum(tf.sin(tf.cast(one, tf.float32))) for one in outputs])

    with tf.GradientTape() as tape:
        alone = objective([model(one[None], training=True)[0] for one in maps])
    expected = tape.gradient(alone, variables, unconnected_gradients="zero")
    canvases = canvases_of(maps)
    extent = extents.follow(model)[id(model.outputs[0])]
    with tf.GradientTape() as tape:
        together = folding.run(model, padded(maps, fill=9.0), training=True, canvases=canvases)
        cells = extent.cells(canvases.sizes).numpy()
        parts = [one[:h, :w] for one, (h, w) in zip(together, cells, strict=True)]
        found = objective(parts)
    gradients = tape.gradient(found, variables, unconnected_gradients="zero")
    for one, other in zip(gradients, expected, strict=True):
        scale = max(1.0, float(tf.reduce_max(tf.abs(other))))
        np.testing.assert_allclose(one, other, atol=2e-4 * scale)


def test_without_canvases_the_padding_reaches_the_images():
    model = graph(lambda x: layers.Conv2D(3, 3, padding="same")(x))
    maps = images()
    alone = model(maps[0][None]).numpy()[0]
    together = folding.run(model, padded(maps, fill=9.0), training=False).numpy()[0]
    assert np.abs(together[:48, :80] - alone).max() > 0.1


def test_the_batchs_statistics_are_those_of_own_cells():
    model = graph(lambda x: BatchNormalization()(x))
    (norm,) = (layer for layer in model.layers if isinstance(layer, BatchNormalization))
    gamma, beta, before = norm.gamma.numpy(), norm.beta.numpy(), norm.moving_variance.numpy()
    maps = images()
    cells = np.concatenate([one.reshape(-1, 2) for one in maps]).astype("float64")
    mean, variance = cells.mean(0), cells.var(0)
    found = folding.run(model, padded(maps), training=True, canvases=canvases_of(maps))
    for answer, one in zip(own(found, model, maps), maps, strict=True):
        expected = (one - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, 0.99 * before + 0.01 * variance, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BatchNormalization, layers.BatchNormalization])
def test_more_padding_changes_neither_a_training_step_nor_what_it_learns(kind):
    """Images of one size, with and without padding around: outputs, gradients and statistics."""

    def draw(x):
        x = layers.Conv2D(4, 3, strides=2, padding="same", activation="softplus")(x)
        x = layers.Concatenate()([x, layers.Activation("tanh")(kind()(x))])
        return layers.AveragePooling2D(3, strides=1, padding="same")(x)

    model = graph(draw)
    maps = images(canvases=((64, 48),) * 3)
    start = model.get_weights()
    results = []
    for size, canvases in (((64, 48), None), ((96, 80), canvases_of(maps))):
        model.set_weights(start)
        with tf.GradientTape() as tape:
            batch = padded(maps, size, fill=3.0)
            outputs = folding.run(model, batch, training=True, canvases=canvases)[:, :32, :24]
            loss = tf.reduce_sum(tf.sin(outputs))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        results.append([outputs, *gradients, *model.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-4 * max(1, np.abs(one).max()))


def test_an_absent_image_neither_changes_the_others_nor_breaks_anything():
    def draw(x):
        x = BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x))
        return layers.Multiply()([x, layers.GlobalMaxPooling2D(keepdims=True)(x)])

    model, maps = graph(draw), images(canvases=((48, 80), (64, 64)))
    start = model.get_weights()
    expected = folding.run(model, padded(maps), training=True, canvases=canvases_of(maps))
    model.set_weights(start)
    sizes = tf.concat([canvases_of(maps).sizes, [[0, 0]]], 0)
    batch = tf.concat([padded(maps), tf.zeros((1, *BATCH, 2))], 0)
    found = folding.run(model, batch, training=True, canvases=Canvases(sizes))
    for one, other in zip(own(found[:2], model, maps), own(expected, model, maps), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.isfinite(found[2].numpy()).all()


class Mystery(keras.layers.Layer):
    def call(self, x):
        return x


def test_any_layer_will_do_after_an_average_over_the_image():
    def draw(x):
        x = layers.GlobalAveragePooling2D()(x)
        return Mystery()(layers.Reshape((1, 2))(x))

    assert_same_as_alone(graph(draw), images())


# Masks --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mask_is_made_once_for_all_layers_that_need_it():
    model = graph(
        lambda x: layers.Conv2D(2, 3, padding="same")(layers.Conv2D(2, 3, padding="same")(x))
    )

    @tf.function
    def run(batch, sizes):
        return folding.run(model, batch, training=False, canvases=Canvases(sizes))

    ops = run.get_concrete_function(
        tf.TensorSpec((None, None, None, 2)), tf.TensorSpec((None, 2), tf.int32)
    ).graph.get_operations()
    assert [op.type for op in ops].count("LogicalAnd") == 1
    assert [op.type for op in ops].count("SelectV2") == 2


@pytest.mark.slow
def test_nothing_is_masked_where_no_layer_looks_beyond():
    inputs = keras.Input((None, None, 2))
    x = layers.Conv2D(2, 1, padding="same")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3)(layers.MaxPooling2D(2, padding="same")(x)))

    @tf.function
    def run(batch, sizes):
        return folding.run(model, batch, training=False, canvases=Canvases(sizes))

    ops = run.get_concrete_function(
        tf.TensorSpec((None, None, None, 2)), tf.TensorSpec((None, 2), tf.int32)
    ).graph.get_operations()
    assert "SelectV2" not in [op.type for op in ops]
