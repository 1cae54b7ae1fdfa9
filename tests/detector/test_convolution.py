import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector import convolution


def gradients(conv, images, kernel, upstream):
    images, kernel = tf.convert_to_tensor(images), tf.convert_to_tensor(kernel)
    with tf.GradientTape() as tape:
        tape.watch((images, kernel))
        outputs = conv(images, kernel)
        total = tf.reduce_sum(outputs * upstream)
    return (outputs, *tape.gradient(total, (images, kernel)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "size, kernel_size, given",
    [
        ((7, 7), 3, {}),
        ((5, 8), 1, {}),
        ((5, 8), 1, {"padding": "VALID"}),
        ((7, 7), 5, {}),
        ((2, 3), 5, {}),  # a kernel larger than the map
        ((1, 6), 3, {}),
        ((16, 16), 3, {}),  # the largest that counts as small
        ((20, 20), 3, {}),  # too large, and so are the rest for other reasons
        ((7, 7), 3, {"padding": "VALID"}),
        ((7, 7), 3, {"strides": (2, 2)}),
        ((7, 7), 3, {"dilations": (2, 2)}),
        ((7, 7), 2, {}),
    ],
)
def test_output_and_gradients_equal_tensorflows(size, kernel_size, given):
    random = np.random.default_rng(0)
    images = random.standard_normal((2, *size, 3), "float32")
    kernel = random.standard_normal((kernel_size, kernel_size, 3, 4), "float32")

    def plain(images, kernel):
        return tf.nn.conv2d(images, kernel, **{"strides": (1, 1), "padding": "SAME", **given})

    upstream = random.standard_normal(plain(images, kernel).shape, "float32")
    try:
        expected = gradients(plain, images, kernel, upstream)
    except tf.errors.InvalidArgumentError as error:
        if "dilation" not in error.message:
            raise
        pytest.skip("TensorFlow has no gradient of dilated convolutions on this processor")
    found = gradients(
        lambda images, kernel: convolution.conv2d(images, kernel, **given),
        images,
        kernel,
        upstream,
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_map_whose_size_is_not_known_before_it_runs_has_the_same_gradients():
    random = np.random.default_rng(0)
    kernel = random.standard_normal((3, 3, 3, 4), "float32")
    images = random.standard_normal((2, 6, 6, 3), "float32")
    upstream = random.standard_normal((2, 6, 6, 4), "float32")

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def traced(images):
        return gradients(convolution.conv2d, images, kernel, upstream)[2]

    expected = gradients(convolution.conv2d, images, kernel, upstream)[2]
    np.testing.assert_allclose(traced(images), expected, rtol=1e-4, atol=1e-4)


def test_half_precision_stays_half_precision():
    images, kernel = tf.ones((1, 4, 4, 2), "bfloat16"), tf.ones((3, 3, 2, 2), "bfloat16")
    _, into_images, into_kernel = gradients(
        convolution.conv2d, images, kernel, tf.ones((1, 4, 4, 2), "bfloat16")
    )
    assert into_images.dtype == into_kernel.dtype == tf.bfloat16
    # The middle tap sees all 16 cells, a corner tap 9 of them.
    assert into_kernel[1, 1, 0, 0] == 16
    assert into_kernel[0, 0, 0, 0] == 9


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_gradient_of_a_bias_is_a_sum_that_does_not_stand_still(dtype):
    maps, bias = tf.ones((1, 64, 64, 2), dtype), tf.constant([0.0, 1.0], dtype)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        biased = convolution.add_bias(maps, bias)
    assert biased.dtype == maps.dtype
    assert (biased[0, 0, 0].numpy() == [1, 2]).all()
    assert (tape.gradient(biased, bias).numpy() == 64 * 64).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [{}, {"strides": (2, 2)}, {"padding": "VALID"}, {"dilations": (2, 2)}],
    ids=["same", "stride", "valid", "dilated"],
)
def test_depthwise_gradients_in_bfloat16_are_sums_in_float32(given):
    """100,352 cells of about 1: added up in bfloat16 they would come to 256 or little more."""
    random = np.random.default_rng(0)
    images = random.uniform(0.5, 1.5, (2048, 7, 7, 3)).astype("float32")
    kernel = random.normal(0, 1, (3, 3, 3, 2)).astype("float32")

    def conv(images, kernel):
        return convolution.depthwise_conv2d(images, kernel, **given)

    upstream = random.uniform(0.5, 1.5, conv(images, kernel).shape).astype("float32")
    expected = gradients(conv, images, kernel, upstream)
    halves = [tf.cast(array, tf.bfloat16) for array in (images, kernel, upstream)]
    for exact, found in zip(expected, gradients(conv, *halves), strict=True):
        assert found.dtype == tf.bfloat16
        assert np.abs(tf.cast(found, tf.float32) - exact).max() < 0.02 * np.abs(exact).max()


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"strides": (2, 2)}, {"dilations": (2, 2)}])
def test_a_depthwise_convolution_in_float32_is_tensorflows(given):
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (2, 9, 8, 3)).astype("float32")
    kernel = random.normal(0, 1, (3, 3, 3, 2)).astype("float32")
    expected = tf.nn.depthwise_conv2d(
        images,
        kernel,
        [1, *given.get("strides", (1, 1)), 1],
        "SAME",
        dilations=given.get("dilations"),
    )
    np.testing.assert_array_equal(convolution.depthwise_conv2d(images, kernel, **given), expected)
