"""Pictures of detections, looked at pixel by pixel."""

import numpy as np
import pytest

from frcnn_core.inference.drawing import class_colour, draw, draw_ground_truth
from frcnn_core.structures import GroundTruth, ImageDetections

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


def truth(*rows):
    """Rows are (box, class, difficult)."""
    return GroundTruth(
        "a.png",
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int32),
        np.array([row[2] for row in rows], bool),
    )


def outline(picture, box):
    """Of the pixels along the inner edge of a box, from top left, which have the class's colour."""
    y1, x1, y2, x2 = box
    edge = [(x, y1) for x in range(x1, x2)] + [(x, y2 - 1) for x in range(x1, x2)]
    edge += [(x1, y) for y in range(y1, y2)] + [(x2 - 1, y) for y in range(y1, y2)]
    return np.array([picture.getpixel(place) == class_colour(0) for place in edge])


def test_objects_have_the_line_and_colour_that_detections_have():
    box = [50, 20, 90, 60]
    picture = draw_ground_truth(blank(), truth((box, 0, False)), NAMES)
    assert outline(picture, box).all()
    assert picture.getpixel((40, 70)) == GRAY


def test_the_line_around_a_difficult_object_is_dashed_and_its_caption_says_why():
    box = [50, 20, 90, 60]
    picture = draw_ground_truth(blank(), truth((box, 0, True)), NAMES)
    assert 0.4 < outline(picture, box).mean() < 0.7
    easy = np.asarray(draw_ground_truth(blank(), truth((box, 0, False)), NAMES))
    assert _words(np.asarray(picture)[:50]) > _words(easy[:50]) > 10


def test_a_small_object_is_drawn_over_a_large_one_around_it():
    large, small = [10, 10, 90, 90], [10, 10, 40, 40]
    for rows in ([(large, 1, False), (small, 0, False)], [(small, 0, False), (large, 1, False)]):
        picture = draw_ground_truth(blank(), truth(*rows), NAMES)
        assert picture.getpixel((10, 35)) == class_colour(0)


def test_dots_tell_where_padding_begins():
    picture = draw_ground_truth(blank(), truth(), NAMES, valid=(70, 100))
    assert changed(picture) == (70, 0, 70, 99)
    picture = draw_ground_truth(blank(), truth(), NAMES, valid=(100, 40))
    assert changed(picture) == (0, 40, 99, 40)


@pytest.mark.slow
def test_an_image_without_padding_and_objects_stays_as_it_is():
    picture = draw_ground_truth(blank(channels=1), truth(), NAMES, valid=(100, 100))
    assert (np.asarray(picture) == 90).all()
