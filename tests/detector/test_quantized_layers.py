"""Rounding against ONNX's formula, ranges against a loop, layers against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from frcnn_core.detector.quantized_layers import (
    QUANTIZED,
    FakeQuantize,
    QuantizedConv2D,
    QuantizedDense,
    QuantizedDepthwiseConv2D,
    fake_quantized,
)


def onnx(values, range):
    """DequantizeLinear(QuantizeLinear(values)), as ONNX defines them for int8 and zero point 0."""
    scale = np.float32(range) / np.float32(127)
    codes = np.clip(np.rint(values / scale), -128, 127).astype(np.int8)
    return codes.astype(np.float32) * scale


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, "float32")


def built(layer, *shape):
    """The layer with random weights, for inputs of a shape; its call on an input."""
    inputs = noise(2, *shape)
    layer(inputs)
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(noise(*variable.shape, seed=number + 1))
    return layer, inputs


# Rounding -----------------------------------------------------------------------------------


def test_values_go_to_the_nearest_multiple_of_the_scale_and_ties_to_even_ones():
    values = [-0.5, 0.5, 1.5, 2.5, -1.5, 0.2, 100.7]
    rounded = fake_quantized(tf.constant(values), tf.constant(127.0))  # a scale of 1
    assert rounded.numpy().tolist() == [0, 0, 2, 2, -2, 0, 101]


def test_values_beyond_the_range_stop_at_the_last_code_which_is_128_below_zero():
    rounded = fake_quantized(tf.constant([-1000.0, -128.4, 127.6, 1000.0]), tf.constant(127.0))
    assert rounded.numpy().tolist() == [-128, -128, 127, 127]


@pytest.mark.parametrize("range", [0.013, 1.0, 3.0, 777.7])
def test_rounding_is_onnxs(range):
    values = noise(100_000) * np.float32(range / 2)
    found, expected = (
        fake_quantized(tf.constant(values), tf.constant(range)).numpy(),
        onnx(values, range),
    )
    position = values / (range / 127)
    is_clear = np.abs(position % 1 - 0.5) > 1e-4  # see the comment there
    assert is_clear.mean() > 0.999
    np.testing.assert_allclose(found[is_clear], expected[is_clear], rtol=1e-6)


def test_the_gradient_is_one_within_the_range_and_beyond():
    values = tf.constant([-9.0, -0.3, 0.0, 0.7, 9.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        rounded = fake_quantized(values, tf.constant(1.0))
    assert tape.gradient(rounded, values).numpy().tolist() == [1.0] * 5


def test_a_range_of_zero_makes_zeros():
    assert fake_quantized(tf.zeros(3), tf.constant(0.0)).numpy().tolist() == [0, 0, 0]


# Ranges of tensors --------------------------------------------------------------------------


def test_the_first_range_is_the_largest_absolute_value_of_the_first_batch():
    layer = FakeQuantize()
    outputs = layer(np.float32([[0.2, -3.7], [1.1, 0.0]]), training=True)
    assert layer.range.numpy() == np.float32(3.7)
    assert outputs.numpy()[0, 1] == np.float32(3.7) / np.float32(127) * -127


def test_the_range_is_an_exponential_average_without_the_bias_of_its_start():
    layer, decay, average = FakeQuantize(decay=0.9), 0.9, 0.0
    for step in range(1, 31):
        batch = noise(4, 5, seed=step) * step
        layer(batch, training=True)
        average = decay * average + (1 - decay) * np.abs(batch).max()  # from 0, and so biased
        expected = average / (1 - decay**step)
        np.testing.assert_allclose(layer.range.numpy(), expected, rtol=1e-5)


def test_the_documented_decay_is_the_default():
    layer = FakeQuantize()
    layer(np.float32([2.0]), training=True)
    layer(np.float32([1.0]), training=True)
    weight = 0.001 / (1 - 0.999**2)
    np.testing.assert_allclose(layer.range.numpy(), 2 + weight * (1 - 2), rtol=1e-6)


def test_training_rounds_by_the_range_that_its_own_batch_has_moved():
    layer = FakeQuantize(decay=0.5)
    layer(np.float32([4.0]), training=True)
    outputs = layer(np.float32([1.0, 0.3]), training=True)
    # (0.5 * 1 + 0.25 * 4) / 0.75
    np.testing.assert_allclose(layer.range.numpy(), 2.0, rtol=1e-6)
    np.testing.assert_allclose(outputs, onnx(np.float32([1.0, 0.3]), 2.0), rtol=1e-6)


def test_inference_rounds_by_the_stored_range_and_leaves_it():
    layer = FakeQuantize()
    layer(np.float32([1.27]), training=True)
    outputs = layer(np.float32([0.014, 5.0, -5.0]), training=False)
    np.testing.assert_allclose(outputs, [0.01, 1.27, -1.28], rtol=1e-5)
    assert layer.range.numpy() == np.float32(1.27)
    assert layer.counter.numpy() == 1


def test_a_range_that_was_never_seen_passes_values_through():
    values = noise(3, 4)
    np.testing.assert_array_equal(FakeQuantize()(values, training=False), values)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_batch_that_overflowed_is_not_remembered(bad):
    layer = FakeQuantize()
    layer(np.float32([2.0]), training=True)
    outputs = layer(np.float32([bad, 1.0]), training=True)
    assert layer.range.numpy() == 2
    assert layer.counter.numpy() == 1
    if np.isnan(bad):
        assert np.isnan(outputs.numpy()[0])  # the loss shows it


def test_a_batch_of_nothing_is_not_counted():
    layer = FakeQuantize()
    layer(np.zeros((0, 4), "float32"), training=True)
    assert (layer.range.numpy(), layer.counter.numpy()) == (0, 0)


def test_only_cells_of_the_mask_count():
    values = np.float32([[[[1.0], [-50.0]], [[2.0], [np.nan]]]])  # (1, 2, 2, 1)
    layer = FakeQuantize()
    layer(values, training=True, mask=tf.constant([[[True, False], [True, False]]]))
    assert layer.range.numpy() == 2


def test_range_and_counter_move_in_a_compiled_step_and_are_no_weights_that_train():
    layer = FakeQuantize()
    layer.build((None,))
    step = tf.function(lambda x: layer(x, training=True), autograph=False)
    step(tf.constant([1.0]))
    step(tf.constant([3.0]))
    assert layer.counter.numpy() == 2
    assert 1.9 < layer.range.numpy() < 2.1
    assert not layer.trainable_variables
    assert [variable.name for variable in layer.moving_variables] == ["range"]


def test_its_output_is_of_the_precision_that_is_computed_in_and_its_range_of_float32():
    layer = FakeQuantize(dtype="mixed_bfloat16")
    outputs = layer(np.float32([1.01, 0.5]), training=True)
    assert outputs.dtype == tf.bfloat16
    assert layer.range.value.dtype == tf.float32
    scale = float(tf.cast(1.01, tf.bfloat16)) / 127
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), [127 * scale, 63 * scale], rtol=4e-3)


# Kernels ------------------------------------------------------------------------------------

KINDS = {
    "convolution": (lambda **given: QuantizedConv2D(5, 3, **given), (6, 6, 4)),
    "depthwise": (
        lambda **given: QuantizedDepthwiseConv2D(3, depth_multiplier=2, **given),
        (6, 6, 4),
    ),
    "dense": (lambda **given: QuantizedDense(5, **given), (7,)),
}


def filters(kernel, kind):
    """Of each output channel, in order."""
    if kind == "depthwise":
        kernel = kernel.reshape(*kernel.shape[:2], -1)
    return np.moveaxis(kernel, -1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_is_rounded_over_its_own_range(kind):
    draw, shape = KINDS[kind]
    layer, _ = built(draw(), *shape)
    kernel = layer.kernel.numpy()
    range = np.abs(kernel).max()
    assert layer.kernel_range().numpy() == range
    np.testing.assert_allclose(layer.rounded_kernel(), onnx(kernel, range), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_each_output_channel_can_have_a_range_of_its_own(kind):
    draw, shape = KINDS[kind]
    layer, _ = built(draw(per_channel=True), *shape)
    rounded = filters(layer.rounded_kernel().numpy(), kind)
    ranges = layer.kernel_range().numpy()
    assert len(rounded) == len(ranges) == layer.compute_output_shape((1, *shape))[-1]
    for found, range, one in zip(rounded, ranges, filters(layer.kernel.numpy(), kind), strict=True):
        assert range == np.abs(one).max()
        np.testing.assert_allclose(found, onnx(one, range), rtol=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_of_zeros_stays_one(kind, per_channel):
    draw, shape = KINDS[kind]
    layer, _ = built(draw(per_channel=per_channel), *shape)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    assert not layer.rounded_kernel().numpy().any()


PLAIN = {
    "convolution": (layers.Conv2D(5, 3, padding="same", activation="relu"), (6, 6, 4)),
    "stride": (layers.Conv2D(5, 3, strides=2, use_bias=False), (7, 7, 4)),
    "dilation": (layers.Conv2D(5, 3, dilation_rate=2), (7, 7, 4)),
    "groups": (layers.Conv2D(6, 3, groups=2), (7, 7, 4)),
    "depthwise": (layers.DepthwiseConv2D(3, padding="same", activation="swish"), (6, 6, 4)),
    "two filters": (layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2), (6, 6, 4)),
    "dense": (layers.Dense(5, activation="relu"), (7,)),
    "dense on maps": (layers.Dense(5, use_bias=False), (3, 3, 7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_layer_computes_what_kerass_does_with_the_rounded_kernel(kind, per_channel):
    """Its gradients too: that of the stored kernel is that of the rounded one."""
    original, shape = PLAIN[kind]
    plain, inputs = built(type(original).from_config(original.get_config()), *shape)
    quantized = QUANTIZED[type(plain)].from_config(
        plain.get_config() | {"per_channel": per_channel}
    )
    quantized.build(inputs.shape)
    assert [v.name for v in quantized.variables] == [v.name for v in plain.variables]
    quantized.set_weights(plain.get_weights())
    plain.kernel.assign(quantized.rounded_kernel())
    assert np.abs(plain.kernel.numpy() - quantized.kernel.numpy()).max() > 0
    for one, other in zip(gradients(quantized, inputs), gradients(plain, inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def gradients(layer, inputs):
    """A layer's output, and the gradients of its weights."""
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        loss = tf.reduce_sum(tf.square(outputs))
    return [outputs, *tape.gradient(loss, [v.value for v in layer.trainable_variables])]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", ["convolution", "depthwise", "dense"])
def test_a_kernel_is_rounded_in_float32_whatever_is_computed_in(kind, policy):
    """Cut to 8 bits of mantissa first, some of its values would round to other codes."""
    original, shape = PLAIN[kind]
    config = original.get_config() | {"dtype": policy}
    plain, inputs = built(type(original).from_config(config), *shape)
    quantized = QUANTIZED[type(plain)].from_config(config)
    quantized.build(inputs.shape)
    quantized.set_weights(plain.get_weights())
    plain.kernel.assign(quantized.rounded_kernel())
    assert quantized(inputs).dtype == quantized.compute_dtype
    np.testing.assert_array_equal(quantized(inputs), plain(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_layer_is_restored(kind):
    draw, shape = KINDS[kind]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, FakeQuantize(decay=0.5, name="q")(draw(per_channel=True)(inputs)))
    model(noise(2, *shape), training=True)
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(noise(2, *shape)), model(noise(2, *shape)))
    assert again.get_layer("q").decay == 0.5
    assert again.layers[1].per_channel
