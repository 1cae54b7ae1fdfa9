import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector.roi_pooling import crop_and_resize


def pooled(features, rois, image_size, side):
    rois = np.array(rois, "float32")
    return crop_and_resize(tf.constant(features), rois, tf.constant(image_size), side=side).numpy()


def slow_crop(features, roi, image_size, side):
    """One crop (side, side, C), point by point."""
    height, width, channels = features.shape
    crop = np.zeros((side, side, channels))
    y1, x1 = (roi[i] / (image_size[i] - 1) * (features.shape[i] - 1) for i in (0, 1))
    y2, x2 = (roi[2 + i] / (image_size[i] - 1) * (features.shape[i] - 1) for i in (0, 1))
    for i in range(side):
        for j in range(side):
            y, x = y1 + (y2 - y1) * i / (side - 1), x1 + (x2 - x1) * j / (side - 1)
            if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                continue  # beyond the map there is nothing
            top, left = int(np.floor(y)), int(np.floor(x))
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            below, beside = y - top, x - left
            crop[i, j] = (1 - below) * (
                (1 - beside) * features[top, left] + beside * features[top, right]
            ) + below * ((1 - beside) * features[bottom, left] + beside * features[bottom, right])
    return crop


def test_published_sampling_rows():
    # 384 pixels on 24 rows: pixel p is looked up at p * 23 / 383.
    rows = np.tile(np.arange(24, dtype="float32")[None, :, None, None], (1, 1, 24, 1))
    crop = pooled(rows, [[[100, 0, 227, 383]]], (384, 384), 7)
    expected = [6.00522, 7.27633, 8.54743, 9.81854, 11.08964, 12.36075, 13.63185]
    np.testing.assert_allclose(crop[0, :, 3, 0], expected, atol=1e-4)


def test_it_equals_bilinear_interpolation_point_by_point():
    random = np.random.default_rng(0)
    features = random.standard_normal((2, 5, 7, 3)).astype("float32")
    corners = random.uniform(0, 40, (2, 4, 2))
    rois = np.concatenate([corners, corners + random.uniform(4, 60, (2, 4, 2))], -1)
    expected = [slow_crop(features[i], roi, (80, 112), 4) for i in (0, 1) for roi in rois[i]]
    np.testing.assert_allclose(pooled(features, rois, (80, 112), 4), expected, atol=1e-4)


CANVASES = ((32, 96), (64, 64), (64, 16))
"""On a batch's map of 5 x 7 cells, which is larger than each of them."""


def test_on_canvases_a_crop_is_what_it_is_in_a_batch_of_its_own():
    random = np.random.default_rng(1)
    features = random.standard_normal((3, 5, 7, 2)).astype("float32")
    rois = []
    for (height, width), one in zip(CANVASES, features, strict=True):
        one[height // 16 :] = one[:, width // 16 :] = np.nan
        top, left = random.uniform(0, 8, (2, 4))
        bottom, right = random.uniform(9, height, 4), random.uniform(9, width, 4)
        bottom[0], right[0] = height, width  # the last pixel of the canvas and beyond
        bottom[1], right[1] = height - 1, width - 1
        rois.append(np.stack([top, left, bottom, right], -1).astype("float32"))
    together = crop_and_resize(
        tf.constant(features), tf.constant(rois), tf.constant(CANVASES), side=3
    ).numpy()
    for i, (height, width) in enumerate(CANVASES):
        own = features[i, : height // 16, : width // 16]
        alone = pooled(own[None], [rois[i]], [(height, width)], 3)
        np.testing.assert_allclose(together[4 * i : 4 * i + 4], alone, atol=1e-4)
        # As for a fixed shape, but RoIs end at the last pixel.
        last = np.array([height - 1, width - 1] * 2) * (1 - 1e-6)
        slow = [slow_crop(own, np.minimum(roi, last), (height, width), 3) for roi in rois[i]]
        np.testing.assert_allclose(alone, slow, atol=1e-3)


def test_crops_come_image_by_image():
    features = np.stack([np.full((4, 4, 1), value, "float32") for value in (1, 2)])
    rois = [[[0, 0, 31, 31]] * 3] * 2
    crops = pooled(features, rois, (64, 64), 2)
    assert crops.shape == (6, 2, 2, 1)
    assert crops[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_a_padding_row_reads_the_first_cell():
    features = np.arange(16, dtype="float32").reshape(1, 4, 4, 1) + 5
    assert (pooled(features, [[[0, 0, 0, 0]]], (64, 64), 2) == 5).all()


def test_the_gradient_flows_into_the_map_and_not_into_the_rois():
    features = tf.Variable(np.ones((1, 4, 4, 1), "float32"))
    rois = tf.Variable([[[0.0, 0.0, 63.0, 63.0]]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(crop_and_resize(features, rois, tf.constant((64, 64)), side=4))
    into_map, into_rois = tape.gradient(total, (features, rois))
    # All of the 4 x 4 points fall on cells.
    np.testing.assert_allclose(into_map, np.ones((1, 4, 4, 1)), atol=1e-4)
    assert into_rois is None


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_crops_have_the_type_of_the_map(dtype):
    features = tf.ones((1, 4, 4, 2), dtype)
    crops = crop_and_resize(
        features, tf.constant([[[0.0, 0, 9, 9]]]), tf.constant((64, 64)), side=3
    )
    assert crops.dtype == dtype
