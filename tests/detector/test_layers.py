import keras
import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector.layers import BackboneConfig, BatchNormalization, Blocks


def normalization(**given):
    """A layer of one channel, built, with gamma 2, beta 3, mean 10 and variance 4."""
    layer = BatchNormalization(epsilon=0.0, **given)
    layer.build((None, None, None, 1))
    for weight, value in zip(
        (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance),
        (2.0, 3.0, 10.0, 4.0),
        strict=True,
    ):
        weight.assign([value])
    return layer


def cells(*values):
    return tf.reshape(tf.constant(values, tf.float32), (1, 1, -1, 1))


def statistics(layer):
    return float(layer.moving_mean.numpy()[0]), float(layer.moving_variance.numpy()[0])


# BatchNormalization ---------------------------------------------------------------------------


def test_in_inference_the_moving_statistics_are_used_and_kept():
    layer = normalization()
    # (14 - 10) / 2 * 2 + 3
    assert layer(cells(14.0)).numpy().item() == pytest.approx(7)
    assert statistics(layer) == (10, 4)


def test_in_training_the_batch_is_normalised_by_its_own_statistics():
    layer = normalization()
    layer.epsilon = 1e-4
    # Mean 3 and variance 4: 1 is one deviation below, 5 one above.
    np.testing.assert_allclose(layer(cells(1, 5), training=True).numpy().ravel(), [1, 5], atol=1e-3)


def test_in_training_the_statistics_move_by_a_hundredth_towards_the_biased_ones():
    layer = normalization()
    layer(cells(1, 5), training=True)
    mean, variance = statistics(layer)
    assert mean == pytest.approx(0.99 * 10 + 0.01 * 3)
    assert variance == pytest.approx(0.99 * 4 + 0.01 * 4)


def test_it_equals_keras_own_layer_in_training():
    ours, theirs = BatchNormalization(), keras.layers.BatchNormalization()
    images = tf.constant(np.random.default_rng(0).normal(2, 3, (3, 4, 5, 6)), tf.float32)
    for _ in range(3):
        np.testing.assert_allclose(
            ours(images, training=True), theirs(images, training=True), atol=1e-5
        )
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5)


def gradients(layer, images):
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(images, training=True) ** 2)
    return tape.gradient(total, [v.value for v in layer.trainable_variables])


def test_frozen_statistics_stay_in_training_while_gamma_and_beta_learn():
    layer = normalization(frozen_statistics=True)
    assert layer(cells(14.0), training=True).numpy().item() == pytest.approx(7)
    # The output is 7: d(7^2) / d beta = 14, and 14 times the normalised 2 for gamma.
    assert [float(g.numpy()[0]) for g in gradients(layer, cells(14.0))] == [28, 14]
    assert statistics(layer) == (10, 4)


def test_frozen_statistics_stay_inside_a_model_called_for_training():
    images = keras.Input((None, None, 1))
    layer = BatchNormalization(frozen_statistics=True)
    model = keras.Model(images, layer(images))
    model(cells(1, 5), training=True)
    assert statistics(layer) == (0, 1)


def test_frozen_statistics_survive_saving():
    layer = BatchNormalization.from_config(normalization(frozen_statistics=True).get_config())
    assert layer.frozen_statistics


def test_a_layer_that_does_not_train_keeps_its_statistics():
    layer = normalization()
    layer.trainable = False
    assert layer(cells(14.0), training=True).numpy().item() == pytest.approx(7)
    assert statistics(layer) == (10, 4)


def test_affine_is_the_layer_as_scale_and_offset():
    scale, offset = normalization().affine()
    # (x - 10) / 2 * 2 + 3
    assert (scale.numpy().item(), offset.numpy().item()) == (1, -7)


@pytest.mark.parametrize("given", [{"scale": False}, {"center": False}])
def test_it_does_without_gamma_or_beta(given):
    images = tf.constant(np.random.default_rng(0).normal(2, 3, (3, 4, 5, 6)), tf.float32)
    ours, theirs = BatchNormalization(**given), keras.layers.BatchNormalization(**given)
    for training in (True, False):
        np.testing.assert_allclose(
            ours(images, training=training), theirs(images, training=training), atol=1e-5
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("frozen", [False, True])
def test_in_mixed_precision_outputs_are_half_and_statistics_whole(policy, frozen):
    layer = BatchNormalization(frozen_statistics=frozen, dtype=policy)
    outputs = layer(cells(1, 5), training=True)
    assert outputs.dtype == keras.DTypePolicy(policy).compute_dtype
    assert {weight.dtype for weight in layer.weights} == {"float32"}


# Blocks ---------------------------------------------------------------------------------------


def drawn(draw, channels=1, **config):
    """The model of what ``draw(x, blocks)`` draws."""
    images = keras.Input((None, None, channels))
    return keras.Model(images, draw(images, Blocks(BackboneConfig(**config))))


@pytest.mark.parametrize("size, cells", [(8, 4), (9, 5)])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_a_strided_convolution_rounds_its_size_up(size, cells, kernel):
    model = drawn(lambda x, b: b.conv(x, 2, kernel, name="c", block=None, strides=2))
    assert model(np.zeros((1, size, size, 1), "float32")).shape == (1, cells, cells, 2)


def test_a_strided_convolution_looks_first_at_the_first_pixel():
    model = drawn(lambda x, b: b.conv(x, 1, 3, name="c", block=None, strides=2))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1] = 1  # the middle tap alone: which pixel is the centre?
    model.get_layer("c").kernel.assign(kernel)
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    assert model(image).numpy().ravel().tolist() == [0, 2, 8, 10]


@pytest.mark.parametrize("size, kernel, cells", [(8, 3, 4), (9, 3, 5), (8, 2, 4), (9, 2, 5)])
def test_pools_round_up(size, kernel, cells):
    model = drawn(lambda x, b: b.max_pool(x, kernel, strides=2, name="p"))
    assert model(np.zeros((1, size, size, 1), "float32")).shape == (1, cells, cells, 1)


def test_a_last_odd_row_or_column_is_pooled_alone():
    model = drawn(lambda x, b: b.max_pool(x, 2, strides=2, name="p"))
    image = -np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    assert model(image).numpy().ravel().tolist() == [0, -2, -6, -8]


def test_tensorflows_padding_looks_first_at_the_second_pixel_of_even_sizes():
    def draw(x, b):
        return b.conv(x, 1, 3, name="c", block=None, strides=2, padding="tensorflow")

    model = drawn(draw)
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1] = 1
    model.get_layer("c").kernel.assign(kernel)
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    assert model(image).numpy().ravel().tolist() == [5, 7, 13, 15]
    image = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    assert model(image).numpy().ravel().tolist() == [0, 2, 6, 8]


@pytest.mark.parametrize("padding", ["symmetric", "tensorflow"])
def test_a_depthwise_convolution_has_one_filter_per_channel_and_samples_as_any_other(padding):
    def draw(x, b):
        x = keras.layers.Concatenate()([x, x])
        return b.depthwise(x, 3, name="dw", block=2, strides=2, padding=padding)

    model = drawn(draw, freeze_blocks=frozenset({2}))
    layer = model.get_layer("dw")
    assert not layer.trainable and layer.depthwise_regularizer is None
    kernel = np.zeros((3, 3, 2, 1), "float32")
    kernel[1, 1] = [[1], [10]]
    layer.kernel.assign(kernel)
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    first = {"symmetric": [0, 2, 8, 10], "tensorflow": [5, 7, 13, 15]}[padding]
    assert model(image)[..., 0].numpy().ravel().tolist() == first
    assert model(image)[..., 1].numpy().ravel().tolist() == [10 * value for value in first]


def test_dropout_is_drawn_only_where_something_is_dropped():
    for rate, kinds in ((0.0, []), (0.5, ["Dropout"])):
        model = drawn(lambda x, b: b.dropout(x, name="drop"), dropout_rate=rate)
        assert [type(layer).__name__ for layer in model.layers[1:]] == kinds


def test_a_dropped_branch_is_dropped_whole_and_what_is_kept_is_scaled_up():
    model = drawn(lambda x, b: b.drop_branch(x, 0.5, name="drop"))
    answer = model(np.ones((64, 2, 2, 1), "float32"), training=True).numpy().reshape(64, 4)
    assert {tuple(row) for row in answer.tolist()} == {(0.0,) * 4, (2.0,) * 4}
    assert len(drawn(lambda x, b: b.drop_branch(x, 0.0, name="drop")).layers) == 1


def test_only_the_convolutions_of_frozen_blocks_are_frozen():
    def draw(x, blocks):
        for block in (0, 1, None):
            x = blocks.conv_bn(x, 2, 3, name=f"conv_{block}", block=block)
        return x

    model = drawn(draw, freeze_blocks=frozenset({1}))
    assert {layer.name for layer in model.layers if not layer.trainable} == {"conv_1"}


def test_freeze_bn_reaches_every_normalization():
    model = drawn(lambda x, b: b.conv_bn(x, 2, 3, name="c", block=0), freeze_bn=True)
    assert model.get_layer("c_bn").frozen_statistics


def test_names_of_normalization_and_activation_follow_the_convolutions():
    model = drawn(lambda x, b: b.conv_bn(x, 2, 3, name="c", block=0))
    assert [layer.name for layer in model.layers[1:]] == ["c", "c_bn", "c_act"]


@pytest.mark.parametrize("use_bias", [False, True])
def test_use_bias_is_the_specs_unless_a_layer_has_its_own(use_bias):
    def draw(x, blocks):
        x = blocks.conv(x, 2, 3, name="as_spec", block=None)
        return blocks.conv(x, 2, 3, name="own", block=None, use_bias=not use_bias)

    model = drawn(draw, use_bias=use_bias)
    assert model.get_layer("as_spec").use_bias == use_bias
    assert model.get_layer("own").use_bias != use_bias


def test_kernels_are_regularized_and_biases_not():
    def draw(x, blocks):
        x = blocks.conv(x, 2, 3, name="c", block=None, use_bias=True)
        return blocks.dense(keras.layers.GlobalAveragePooling2D()(x), 2, name="d")

    model = drawn(draw, kernel_regularizer=keras.regularizers.L2(0.5))
    for weight in model.weights:
        weight.assign(np.ones(weight.shape))
    # L2 is the weight times the sum of squares: 9 x 2 taps, and 2 x 2 connections.
    assert sorted(float(loss) for loss in model.losses) == [2, 9]


@pytest.mark.slow
def test_pool_size_2x_doubles_the_side_of_pooled_rois():
    assert BackboneConfig(pool_size=7).roi_side == 7
    assert BackboneConfig(pool_size=7, pool_size_2x=True).roi_side == 14
