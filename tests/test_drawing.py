"""Pictures of detections, looked at pixel by pixel."""

import numpy as np
import pytest

from frcnn_core.drawing import class_colour, draw
from frcnn_core.structures import ImageDetections

NAMES = ("car", "dog")
GRAY = (90, 90, 90)


def found(*rows):
    """Rows are (box, class, score)."""
    return ImageDetections(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[1] for row in rows], np.int32),
        None,
    )


def blank(height=100, width=100, channels=3):
    return np.full((height, width, channels), 90, np.uint8)


def changed(picture, height=100, width=100):
    """Top, left, bottom, right of what differs from the blank image, ends included."""
    rows, columns = np.nonzero((np.asarray(picture) != 90).any(axis=2))
    return rows.min(), columns.min(), rows.max(), columns.max()


def test_the_line_runs_along_the_inner_edge_of_the_box():
    picture = draw(blank(), found(([10, 20, 50, 60], 1, 0.9)), NAMES, caption=False)
    assert changed(picture) == (10, 20, 49, 59)
    assert picture.getpixel((20, 10)) == picture.getpixel((59, 49)) == class_colour(1)
    assert picture.getpixel((40, 30)) == GRAY


def test_lines_are_wider_on_larger_images():
    picture = draw(blank(1000, 1000), found(([0, 0, 900, 900], 0, 0.9)), NAMES, caption=False)
    assert picture.getpixel((4, 500)) == class_colour(0)
    assert picture.getpixel((5, 500)) == GRAY


def test_detections_below_the_threshold_are_not_drawn():
    rows = found(([10, 10, 50, 50], 0, 0.59), ([60, 60, 90, 90], 0, 0.6))
    picture = draw(blank(), rows, NAMES, min_score=np.float32(0.6), caption=False)
    assert changed(picture) == (60, 60, 89, 89)


def test_the_best_detection_is_on_top():
    box = [10, 10, 50, 50]
    picture = draw(blank(), found((box, 0, 0.9), (box, 1, 0.5)), NAMES, caption=False)
    assert picture.getpixel((10, 10)) == class_colour(0)


@pytest.mark.parametrize("box", [[0, 0, 20, 20], [0, 90, 20, 100], [95, 95, 100, 100]])
def test_a_caption_stays_inside_the_image(box):
    """Its background is a rectangle of full size wherever the box is."""
    picture = np.asarray(draw(blank(), found((box, 0, 0.98765)), NAMES))
    corner = np.asarray(draw(blank(), found(([40, 0, 41, 1], 0, 0.98765)), NAMES))
    assert _words(picture) == _words(corner) > 20


def _words(picture):
    """Number of pixels of a caption's letters, which are white on the colour of the first class."""
    return int((picture.astype(int).sum(axis=2) > 600).sum())


def test_a_grayscale_image_is_drawn_upon_in_colour():
    picture = draw(blank(channels=1), found(([10, 10, 50, 50], 0, 0.9)), NAMES)
    assert picture.mode == "RGB"
    assert picture.getpixel((10, 10)) == class_colour(0)


def test_the_image_itself_is_not_drawn_upon():
    pixels = blank()
    draw(pixels, found(([10, 10, 50, 50], 0, 0.9)), NAMES)
    assert (pixels == 90).all()


def test_a_box_beyond_the_image_is_cut_to_it():
    picture = draw(blank(), found(([-50, 30, 500, 500], 0, 0.9)), NAMES, caption=False)
    assert changed(picture) == (0, 30, 99, 99)


def test_twelve_classes_have_colours_that_are_far_apart():
    colours = np.array([class_colour(index) for index in range(12)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 999 * np.eye(12, dtype=int)
    assert distances.min() >= 60


def test_no_detections_leave_the_image_as_it_is():
    assert (np.asarray(draw(blank(), found(), NAMES)) == 90).all()
