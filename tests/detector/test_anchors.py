import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.detector.anchors import Anchors

PUBLISHED = Anchors(scales=(64.0,), ratios=(1.0, 0.5, 2.0))


def test_published_sizes_of_scale_64():
    # Width over height is the ratio, the area stays 64 x 64.
    expected = [(64, 64), (90.5097, 45.2548), (45.2548, 90.5097)]
    np.testing.assert_allclose(PUBLISHED.sizes, expected, rtol=1e-6)


def test_scales_are_the_outer_loop_of_the_anchors_of_a_cell():
    anchors = Anchors(scales=(10.0, 20.0), ratios=(1.0, 4.0))
    assert anchors.per_cell == 4
    np.testing.assert_allclose(anchors.sizes, [(10, 10), (5, 20), (20, 20), (10, 40)])


def test_the_first_anchors_are_centred_on_the_first_cell():
    expected = [
        (8 - 32, 8 - 32, 8 + 32, 8 + 32),
        (8 - 45.25483, 8 - 22.62742, 8 + 45.25483, 8 + 22.62742),
        (8 - 22.62742, 8 - 45.25483, 8 + 22.62742, 8 + 45.25483),
    ]
    np.testing.assert_allclose(PUBLISHED.over(2, 3)[:3], expected, rtol=1e-5)


def test_cells_follow_each_other_by_row_then_column():
    anchors = Anchors(scales=(16.0,), ratios=(1.0,)).over(2, 3).numpy()
    corners = [(y, x) for y in (0, 16) for x in (0, 16, 32)]
    assert [tuple(anchor[:2]) for anchor in anchors] == corners


@pytest.mark.parametrize("channels_per_anchor", [1, 4])
def test_the_order_is_that_of_a_flattened_rpn_output(channels_per_anchor):
    anchors = Anchors(scales=(8.0, 16.0), ratios=(1.0, 0.5, 2.0))
    height, width, count = 2, 3, anchors.per_cell
    grid = anchors.over(height, width).numpy()
    # An RPN output whose every value tells its row, column and anchor.
    output = np.zeros((1, height, width, count * channels_per_anchor, 3))
    for y in range(height):
        for x in range(width):
            for a in range(count):
                first = a * channels_per_anchor
                output[0, y, x, first : first + channels_per_anchor] = (y, x, a)
    flat = output.reshape(-1, channels_per_anchor, 3)
    assert len(flat) == len(grid)
    for (y, x, a), anchor in zip(flat[:, 0].astype(int), grid, strict=True):
        centre = (16 * (y + 0.5), 16 * (x + 0.5))
        np.testing.assert_allclose((anchor[:2] + anchor[2:]) / 2, centre, atol=1e-4)
        np.testing.assert_allclose(anchor[2:] - anchor[:2], anchors.sizes[a], rtol=1e-5)


def test_the_grid_may_be_as_large_as_a_tensor_says():
    grid = PUBLISHED.over(tf.constant(2), tf.constant(3))
    np.testing.assert_array_equal(grid, PUBLISHED.over(2, 3))


@pytest.mark.slow
def test_places_are_those_in_a_grid_of_the_images_own_size():
    cells = np.array([[2, 3], [4, 1], [4, 5], [0, 0]], "int32")
    own, places = (one.numpy() for one in PUBLISHED.places(4, 5, cells))
    whole = PUBLISHED.over(4, 5).numpy()
    for (height, width), mine, at in zip(cells, own, places, strict=True):
        grid = PUBLISHED.over(height, width).numpy()
        assert mine.sum() == len(grid)
        np.testing.assert_array_equal(grid[at[mine]], whole[mine])
        np.testing.assert_array_equal(at[mine], np.arange(len(grid)))  # in the same order
        assert (at[~mine] < 3).all()  # those of the first cell
