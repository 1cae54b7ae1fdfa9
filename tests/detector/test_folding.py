"""A folded run gives what Keras gives: outputs, gradients, and moving statistics.

ReLU's kink turns a rounding of the forward pass into a step of the gradient: one unit in some
thousands is on in one run and off in the other.  So gradients are compared with a smooth softplus
in its place.  The bias of a convolution in front of a normalization by batch statistics has no
gradient at all but the rounding of it, and is left out.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import folding
from frcnn_core.detector.layers import BackboneConfig, BatchNormalization, Blocks
from frcnn_core.detector.quantized_layers import QuantizedConv2D, QuantizedDepthwiseConv2D
from frcnn_core.model_files.model import with_precision
from frcnn_mobilenet_v2 import MobileNetV2
from frcnn_resnet import ResNet


def randomized(model, seed=0):
    """The model with biases, statistics, gammas and betas that differ from their neutral start."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(random.normal(0, 0.3, weight.shape))
    return model


def smooth(model):
    """The same graph and weights, without kinks."""
    copy = keras.models.model_from_json(model.to_json().replace('"relu"', '"softplus"'))
    copy.set_weights(model.get_weights())
    return copy


def little_net(**config):
    """What folding meets: padding, strides, a projection, a last convolution without norm."""
    blocks = Blocks(BackboneConfig(**config))
    images = keras.Input((None, None, 3))
    x = blocks.conv_bn(images, 4, 3, name="conv0", block=0, strides=2)
    shortcut = blocks.conv_bn(x, 6, 1, name="project", block=1, strides=2, activation=None)
    x = blocks.conv_bn(x, 6, 3, name="conv1", block=1, strides=2)
    x = blocks.conv_bn(x, 6, 3, name="conv2", block=None, activation=None)
    x = keras.layers.Add()([x, shortcut])
    x = blocks.max_pool(blocks.activation(x, "relu", name="act"), 3, strides=2, name="pool")
    x = blocks.conv(x, 5, 3, name="last", block=None, use_bias=True, activation="relu")
    return keras.Model(images, x)


def rounded_net(**config):
    """Kernels that are fake-quantized, of both kinds.  No ranges of tensors: they would make steps
    out of roundings."""
    blocks = Blocks(BackboneConfig(**config))
    given = {"use_bias": blocks.config.use_bias, "padding": "same", "per_channel": True}
    trains = not blocks.config.freeze_blocks
    images = keras.Input((None, None, 3))
    x = QuantizedConv2D(6, 3, strides=2, trainable=trains, name="conv0", **given)(images)
    x = blocks.activation(blocks.norm(x, name="conv0_bn"), "relu", name="conv0_act")
    x = QuantizedDepthwiseConv2D(3, trainable=trains, name="wise", **given)(x)
    x = blocks.activation(blocks.norm(x, name="wise_bn"), "relu", name="wise_act")
    return keras.Model(images, QuantizedConv2D(4, 1, name="last")(x))


def resnet_10(**config):
    images = keras.Input((None, None, 3))
    blocks = Blocks(BackboneConfig(variant="10", **config))
    return keras.Model(images, ResNet().features(images, blocks))


def separable_net(**config):
    """Depthwise convolutions of both strides and paddings, one in a branch, one without norm."""
    blocks = Blocks(BackboneConfig(**config))
    images = keras.Input((None, None, 3))
    x = blocks.depthwise(images, 3, name="wise0", block=0, strides=2)
    x = blocks.activation(blocks.norm(x, name="wise0_bn"), "relu", name="wise0_act")
    x = blocks.conv_bn(x, 6, 1, name="conv0", block=1, activation=None)
    branch = blocks.depthwise(x, 5, name="wise1", block=1, strides=1, padding="tensorflow")
    branch = blocks.activation(blocks.norm(branch, name="wise1_bn"), "relu", name="wise1_act")
    x = keras.layers.Add()([x, branch])
    x = blocks.depthwise(x, 3, name="wise2", block=None, strides=2, padding="tensorflow")
    x = blocks.activation(blocks.norm(x, name="wise2_bn"), "relu", name="wise2_act")
    return keras.Model(images, blocks.depthwise(x, 3, name="last", block=None))


def mobilenet_v2(**config):
    images = keras.Input((None, None, 3))
    blocks = Blocks(BackboneConfig(options=MobileNetV2.Options(), **config))
    return keras.Model(images, MobileNetV2().features(images, blocks))


def noise(*shape):
    return tf.constant(np.random.default_rng(1).standard_normal(shape), tf.float32)


def descend(call, model, images):
    """Outputs and the gradients of a random sum of them."""
    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = call(images)
        total = tf.reduce_sum(outputs * tf.random.stateless_normal(tf.shape(outputs), (1, 2)))
    return outputs, tape.gradient(total, variables)


def has_gradient(variable, config):
    """False for a bias whose effect the batch's own mean takes away."""
    return config.get("freeze_bn") or variable.name != "bias" or "last" in variable.path


CONFIGS = [
    {"freeze_bn": freeze_bn, "use_bias": use_bias, "freeze_blocks": frozenset(frozen)}
    for freeze_bn in (False, True)
    for use_bias in (False, True)
    for frozen in ((), (0, 1))
]
ALL = [pytest.param(little_net, config, id=f"little-{i}") for i, config in enumerate(CONFIGS)]
ALL += [
    pytest.param(separable_net, config, id=f"separable-{i}") for i, config in enumerate(CONFIGS)
]
ALL += [pytest.param(rounded_net, config, id=f"rounded-{i}") for i, config in enumerate(CONFIGS)]
ALL += [pytest.param(resnet_10, CONFIGS[i], id=f"resnet-{i}") for i in (0, 3, 4, 7)]
ALL += [pytest.param(mobilenet_v2, CONFIGS[i], id=f"mobilenet-{i}") for i in (0, 7)]


@pytest.mark.slow
@pytest.mark.parametrize("draw, config", ALL)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_equal_kerass(draw, config, training):
    model = randomized(draw(**config))
    images = noise(2, 48, 64, 3)
    expected = model(images, training=training).numpy()
    found = folding.run(model, images, training=training).numpy()
    # Batch statistics move in the first of the two calls, but are not used in the second one.
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("draw, config", ALL)
def test_gradients_equal_kerass(draw, config):
    model = smooth(randomized(draw(**config)))
    images = noise(2, 48, 64, 3)
    _, expected = descend(lambda images: model(images, training=True), model, images)
    _, found = descend(lambda images: folding.run(model, images, training=True), model, images)
    for variable, one, other in zip(model.trainable_variables, found, expected, strict=True):
        if has_gradient(variable, config):
            largest = np.abs(other).max()
            np.testing.assert_allclose(one, other, atol=1e-4 * largest, err_msg=variable.path)


@pytest.mark.parametrize("freeze_bn", [False, True])
def test_moving_statistics_move_as_in_keras(freeze_bn):
    model = randomized(little_net(freeze_bn=freeze_bn))
    images, before = noise(2, 48, 64, 3), model.get_weights()
    model(images, training=True)
    expected = model.get_weights()
    model.set_weights(before)
    folding.run(model, images, training=True)
    for one, other, start in zip(model.get_weights(), expected, before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
        assert not freeze_bn or (one == start).all()


def test_a_depthwise_convolution_costs_no_pass_for_its_normalization():
    """Nothing is multiplied in the size of a map; the one sum of that size is the branch's."""
    model = separable_net(freeze_bn=True)
    run = tf.function(lambda images: folding.run(model, images, training=True), autograph=False)
    graph = run.get_concrete_function(noise(1, 32, 32, 3)).graph
    of_maps = [op for op in graph.get_operations() if op.outputs and op.outputs[0].shape.rank == 4]
    kinds = [op.type for op in of_maps if "kernel" not in op.name]
    assert kinds.count("DepthwiseConv2dNative") == 4
    assert "FusedBatchNormV3" not in kinds
    maps = [op for op in of_maps if op.outputs[0].shape[1] in (8, 16)]
    assert not [op for op in maps if op.type in ("Mul", "Sub")]
    assert len([op for op in maps if op.type == "AddV2"]) == 1


@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_depthwise_convolution_may_have_several_filters_for_a_channel(strides, dilation):
    images = keras.Input((12, 12, 3))
    x = keras.layers.DepthwiseConv2D(
        3, depth_multiplier=2, strides=strides, dilation_rate=dilation, padding="same"
    )(images)
    model = randomized(keras.Model(images, BatchNormalization(frozen_statistics=True)(x)))
    inputs = noise(2, 12, 12, 3)
    np.testing.assert_allclose(
        folding.run(model, inputs, training=True), model(inputs, training=True), atol=1e-5
    )


def test_a_kernel_is_rounded_before_the_scale_of_its_normalization():
    """One kernel of int8 codes serves any scale; rounding the product would need others."""
    model = randomized(rounded_net(freeze_bn=True))
    images = noise(1, 16, 16, 3)
    expected = folding.run(model, images, training=False)
    for name in ("conv0", "wise", "last"):
        layer = model.get_layer(name)
        layer.kernel.assign(layer.rounded_kernel())  # rounding it again changes nothing
    np.testing.assert_allclose(folding.run(model, images, training=False), expected, atol=1e-5)


@pytest.mark.slow
def test_no_gradient_is_computed_for_frozen_kernels():
    model = little_net(freeze_bn=True, freeze_blocks=frozenset({0, 1}))

    @tf.function
    def step(images):
        return descend(lambda x: folding.run(model, x, training=True), model, images)[1]

    # Large enough that convolution.conv2d leaves the gradients to TensorFlow.
    graph = step.get_concrete_function(noise(1, 256, 256, 3)).graph
    computed = [op for op in needed_for(graph.outputs) if op.type == "Conv2DBackpropFilter"]
    # Of five kernels those of conv0, project and conv1 are frozen.
    assert len(computed) == 2


@pytest.mark.slow
def test_no_gradient_is_computed_for_frozen_depthwise_kernels():
    model = separable_net(freeze_bn=True, freeze_blocks=frozenset({0, 1}))

    @tf.function
    def step(images):
        return descend(lambda x: folding.run(model, x, training=True), model, images)[1]

    graph = step.get_concrete_function(noise(1, 64, 64, 3)).graph
    kind = "DepthwiseConv2dNativeBackpropFilter"
    # Of four kernels those of wise0 and wise1 are frozen.
    assert len([op for op in needed_for(graph.outputs) if op.type == kind]) == 2


def needed_for(tensors):
    """The operations that tensors depend on; TensorFlow runs no other."""
    found, waiting = set(), [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def test_several_outputs_come_as_a_list_in_order():
    blocks = Blocks(BackboneConfig(freeze_bn=True))
    images = keras.Input((None, None, 3))
    x = blocks.conv(images, 4, 3, name="shared", block=None)
    normed = blocks.norm(x, name="norm")
    model = randomized(keras.Model(images, [normed, x]))
    inputs = noise(1, 8, 8, 3)
    found, expected = folding.run(model, inputs, training=True), model(inputs, training=True)
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_layers_it_does_not_know_are_called_as_they_are():
    images = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(3, 3)(images)
    x = BatchNormalization(frozen_statistics=True)(x)
    x = keras.layers.Conv2D(4, 3, groups=1, activation="relu", padding="same")(x)
    x = BatchNormalization(frozen_statistics=True)(x)  # after an activation: cannot be folded
    x = keras.layers.ZeroPadding2D(1)(x)
    padded_for_two = keras.layers.Conv2D(4, 3)(x), keras.layers.MaxPooling2D(3, strides=1)(x)
    x = keras.layers.Concatenate()(padded_for_two)
    model = randomized(keras.Model(images, keras.layers.Flatten()(x)))
    inputs = noise(2, 8, 8, 3)
    np.testing.assert_allclose(
        folding.run(model, inputs, training=True), model(inputs, training=True), atol=1e-5
    )


def test_a_model_in_the_model_is_folded_too():
    """Also one of several inputs, as of a residual unit."""
    x, shortcut = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    y = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    y = BatchNormalization(frozen_statistics=True)(y)
    unit = keras.Model([x, shortcut], keras.layers.Add()([y, shortcut]), name="unit")
    images = keras.Input((8, 8, 4))
    model = randomized(keras.Model(images, unit([keras.layers.ReLU()(images), images])))
    inputs = noise(2, 8, 8, 4)
    run = tf.function(lambda x: folding.run(model, x, training=True), autograph=False)
    np.testing.assert_allclose(run(inputs), model(inputs, training=True), atol=1e-5)
    operations = {op.type for op in run.get_concrete_function(inputs).graph.get_operations()}
    assert {"Conv2D", "BiasAdd"} <= operations  # beta went into a bias


def test_dropout_drops_in_training_only():
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Dropout(0.5, seed=1)(images))
    ones = tf.ones((1, 8, 8, 3))
    assert (folding.run(model, ones, training=False).numpy() == 1).all()
    assert 0 < (folding.run(model, ones, training=True).numpy() == 0).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("freeze_bn", [False, True])
def test_mixed_precision_stays_close_to_float32(freeze_bn):
    model = randomized(little_net(freeze_bn=freeze_bn))
    text = model.to_json().replace('{"name": "float32"}', '{"name": "mixed_bfloat16"}')
    mixed = keras.models.model_from_json(text)
    mixed.set_weights(model.get_weights())
    images = noise(2, 48, 64, 3)
    found = folding.run(mixed, images, training=True)
    assert found.dtype == tf.bfloat16
    expected = folding.run(model, images, training=True).numpy()
    error = np.abs(tf.cast(found, tf.float32).numpy() - expected).max()
    assert error < 0.05 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda x: keras.layers.Conv2D(8, 3, padding="same")(x),
        lambda x: keras.layers.DepthwiseConv2D(3, padding="same")(x),
        lambda x: BatchNormalization(frozen_statistics=True)(
            keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        ),
        lambda x: keras.layers.Dense(8)(keras.layers.Flatten()(x)),
    ],
    ids=["plain", "depthwise", "folded", "dense"],
)
def test_gradients_in_bfloat16_are_near_those_in_float32(draw):
    maps = keras.Input((7, 7, 16))
    model = randomized(keras.Model(maps, draw(maps)))
    mixed = keras.models.model_from_json(with_precision(model.to_json(), "mixed_bfloat16"))
    mixed.set_weights(model.get_weights())
    inputs = tf.abs(noise(2048, 7, 7, 16))
    upstream = 0.3 + noise(*model.compute_output_shape(inputs.shape))

    def descend(graph):
        with tf.GradientTape() as tape:
            outputs = tf.cast(folding.run(graph, inputs, training=True), tf.float32)
            loss = tf.reduce_sum(outputs * upstream)
        return tape.gradient(loss, graph.trainable_variables)

    for expected, found in zip(descend(model), descend(mixed), strict=True):
        assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
