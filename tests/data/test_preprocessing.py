import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.data.preprocessing import Preprocessing, dynamic_size
from frcnn_core.detector.stride import canvas


def pixels(height, width, channels=3):
    """A uint8 image in which no two neighbours are alike."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_halving_an_image_takes_the_mean_of_four_pixels():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    fitted = Preprocessing(2, 2, channels=1, channel_order="l", means=(0,)).fit(image)
    assert fitted.image[..., 0].numpy().tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_stretching_gives_each_axis_its_own_scale():
    fitted = Preprocessing(30, 20).fit(pixels(60, 10))
    assert fitted.image.shape == (30, 20, 3)
    assert fitted.size.numpy().tolist() == [30, 20]
    assert fitted.scale.numpy().tolist() == [0.5, 2.0]


def test_an_image_of_the_right_size_is_not_resampled():
    image = pixels(30, 20)
    np.testing.assert_array_equal(Preprocessing(30, 20).fit(image).image, image)


def test_without_resize_a_small_image_is_padded_with_black_at_the_right_and_bottom():
    image = pixels(2, 3)
    fitted = Preprocessing(4, 5, resize=False).fit(image)
    np.testing.assert_array_equal(fitted.image[:2, :3], image)
    assert tf.reduce_sum(fitted.image) == image.sum()
    assert fitted.size.numpy().tolist() == [2, 3]
    assert fitted.scale.numpy().tolist() == [1, 1]


def test_without_resize_a_large_image_is_cut_at_the_right_and_bottom():
    image = pixels(6, 3)
    fitted = Preprocessing(4, 5, resize=False).fit(image)
    np.testing.assert_array_equal(fitted.image[:, :3], image[:4])
    assert fitted.size.numpy().tolist() == [4, 3]


def test_means_are_subtracted_then_the_scale_divides():
    preprocessing = Preprocessing(1, 1, means=(1, 2, 3), scale=2)
    assert preprocessing.normalize(tf.constant([10.0, 20.0, 30.0])).numpy().tolist() == [
        4.5,
        9.0,
        13.5,
    ]


def test_bgr_reverses_the_channels_together_with_their_means():
    preprocessing = Preprocessing(1, 1, channel_order="bgr", means=(1, 2, 3), scale=2)
    assert preprocessing.normalize(tf.constant([10.0, 20.0, 30.0])).numpy().tolist() == [
        13.5,
        9.0,
        4.5,
    ]


def test_a_batch_is_normalized_like_its_images():
    preprocessing = Preprocessing(4, 4, channel_order="bgr", means=(103.9, 116.8, 123.7))
    images = tf.constant(np.stack([pixels(4, 4), 255 - pixels(4, 4)]), tf.float32)
    one_by_one = tf.stack([preprocessing.normalize(image) for image in images])
    np.testing.assert_array_equal(preprocessing.normalize(images), one_by_one)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(4, 4, channel_order="rgb", means=(123.68, 116.8, 103.9), scale=58.0),
        Preprocessing(4, 4, channel_order="bgr", means=(123.68, 116.8, 103.9), scale=1 / 3),
        Preprocessing(4, 4, channels=1, channel_order="l", means=(117.3,), scale=255.0),
    ],
    ids=["rgb", "bgr", "gray"],
)
def test_pixels_come_back_from_what_the_network_is_given(preprocessing):
    image = np.arange(256, dtype=np.uint8).reshape(2, 16, 8, 1)  # every value, a batch of two
    image = np.concatenate([image, 255 - image, image // 2][: preprocessing.channels], axis=-1)
    normalized = preprocessing.normalize(tf.constant(image, tf.float32)).numpy()
    np.testing.assert_array_equal(preprocessing.pixels(normalized), image)


def test_pixels_beyond_black_and_white_are_cut():
    preprocessing = Preprocessing(1, 1, means=(100, 100, 100), scale=2)
    assert preprocessing.pixels(np.float32([-99, 0, 99])).tolist() == [0, 100, 255]


def test_a_png_is_decoded_without_loss():
    image = pixels(5, 7)
    np.testing.assert_array_equal(Preprocessing(5, 7).decode(tf.io.encode_png(image)), image)


def test_a_jpeg_is_decoded_with_the_accurate_transform():
    data = tf.io.encode_jpeg(pixels(16, 24))
    accurate = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(Preprocessing(16, 24).decode(data), accurate)


def test_an_rgb_file_becomes_luma_for_a_grayscale_network():
    red = tf.io.encode_png(np.full((1, 1, 3), (255, 0, 0), np.uint8))
    grayscale = Preprocessing(1, 1, channels=1, channel_order="l", means=(0,))
    assert grayscale.decode(red).numpy().tolist() == [[[76]]]  # 0.299 * 255 = 76.2


def test_data_that_is_no_image_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        Preprocessing(1, 1).decode(b"hello")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 1242), (301, 1000)),
        ((1080, 1920), (562, 1000)),
        ((500, 375), (800, 600)),
        ((600, 600), (600, 600)),
        ((1, 5000), (1, 1000)),  # a fifth of a pixel is one
        ((3, 2), (900, 600)),
        ((60000, 30000), (1000, 500)),  # the product of two sides is beyond 32 bits
    ],
)
def test_dynamic_sizes_are_the_published_ones(size, expected):
    height, width = dynamic_size(*size, 600, 1000)
    assert (int(height), int(width)) == expected


def test_a_dynamic_shape_scales_boxes_by_what_was_really_done():
    resampled = Preprocessing(0, 0, min_side=20, max_side=27).resample(pixels(41, 60))
    assert resampled.image.shape == (18, 27, 3)  # 41 * 27 / 60 = 18.45, rounded down
    assert resampled.size.numpy().tolist() == [18, 27]
    np.testing.assert_allclose(resampled.scale, [18 / 41, 27 / 60])


def test_a_dynamic_shape_is_padded_with_black_to_whole_cells_and_keeps_its_size():
    preprocessing = Preprocessing(0, 0, min_side=20, max_side=27)
    image = np.maximum(pixels(41, 60), 1)
    fitted = preprocessing.fit(image)
    assert fitted.image.shape == (32, 32, 3)
    np.testing.assert_array_equal(fitted.image[:18, :27], preprocessing.resample(image).image)
    assert not fitted.image[18:].numpy().any()
    assert not fitted.image[:, 27:].numpy().any()
    assert fitted.size.numpy().tolist() == [18, 27]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((16, 32), (16, 32)), ((17, 31), (32, 32)), ((1, 1), (16, 16)), ((0, 0), (0, 0))],
)
def test_a_canvas_is_the_size_in_whole_cells_of_16_pixels(size, expected):
    assert tuple(canvas(size).numpy()) == expected
    assert tuple(canvas(np.array([size], "float32")).numpy()[0]) == expected


def test_inside_and_outside_of_a_graph_the_result_is_the_same_to_the_bit():
    preprocessing = Preprocessing(
        24, 31, channel_order="bgr", means=(123.68, 116.8, 103.9), scale=3
    )
    image = pixels(50, 71)

    def network_input(image):
        return preprocessing.normalize(preprocessing.fit(image).image)

    dataset = tf.data.Dataset.from_tensors(image).map(network_input)
    np.testing.assert_array_equal(next(iter(dataset)), network_input(image))
    np.testing.assert_array_equal(tf.function(network_input)(image), network_input(image))


def test_the_description_survives_json():
    preprocessing = Preprocessing(384, 1248, channel_order="bgr", means=(1.5, 2, 3), scale=2)
    text = json.dumps(preprocessing.as_dict())
    assert Preprocessing.from_dict(json.loads(text)) == preprocessing


def test_the_description_for_people_says_what_happens():
    preprocessing = Preprocessing(384, 1248, resize=False, means=(1.5, 2, 3), scale=2)
    assert preprocessing.describe() == (
        "cut or padded to 384x1248 (height x width), rgb, (pixel - (1.5, 2, 3)) / 2"
    )
    dynamic = Preprocessing(0, 0, min_side=600, max_side=1000)
    assert dynamic.describe().startswith("short side 600, long side at most 1000, rgb")


@pytest.mark.parametrize(
    "fields",
    [
        {"height": 4, "width": 4, "channels": 1},
        {"height": 4, "width": 4, "channel_order": "gbr"},
        {"height": 4, "width": 4, "means": (1, 2)},
        {"height": 4, "width": 0},
        {"height": 0, "width": 0},
        {"height": 0, "width": 0, "min_side": 9, "max_side": 8},
        {"height": 4, "width": 4, "scale": 0},
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields):
    with pytest.raises(ValueError):
        Preprocessing(**fields)


def test_describing_a_preprocessing_needs_no_tensorflow():
    code = (
        "import sys; from frcnn_core.data.preprocessing import Preprocessing;"
        "Preprocessing(4, 4).describe(); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_largest_canvas_is_the_input_itself_or_whole_cells_around_the_longest_sides():
    assert Preprocessing(height=64, width=96).largest_canvas == (64, 96)
    # 160 is ten cells; 250 needs sixteen, which are 256.
    assert Preprocessing(height=0, width=0, min_side=160, max_side=250).largest_canvas == (160, 256)
