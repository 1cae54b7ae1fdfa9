import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from frcnn_core.data.augment import (
    FILL,
    Affine,
    Augmentation,
    Draw,
    colour,
    flip,
    move,
    recolour,
    spatial,
    warp,
)

HEIGHT, WIDTH = 64, 96
MARKER = (22.0, 40.0, 42.0, 56.0)
"""A white rectangle in the middle of an image of the grey that fills uncovered parts."""
STILL = Draw(
    hflip=tf.constant(False),
    vflip=tf.constant(False),
    translate=tf.zeros(2),
    zoom=tf.constant(1.0),
    offset=tf.zeros(2),
    angle=tf.constant(0.0),
    contrast=tf.constant(0.0),
    hue=tf.constant(0.0),
    saturation=tf.constant(1.0),
    brightness=tf.constant(0.0),
)


def marked_image():
    image = np.full((HEIGHT, WIDTH, 3), FILL, np.float32)
    y1, x1, y2, x2 = (int(side) for side in MARKER)
    image[y1:y2, x1:x2] = 255
    return tf.constant(image)


def where_the_marker_is(image) -> list[float]:
    """The box around every pixel that is at least half marker."""
    ys, xs = np.nonzero(np.asarray(image)[..., 0] > (FILL + 255) / 2)
    return [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]


def seed(number):
    return tf.constant((number, 0), tf.int64)


def augmented(augmentation, number, image=None, boxes=(MARKER,)):
    image = marked_image() if image is None else image
    boxes = tf.constant(boxes)
    classes = tf.range(len(boxes))
    return augmentation.apply(image, boxes, classes, tf.zeros(len(boxes), tf.bool), seed(number))


def draws(augmentation, count=2000, size=(HEIGHT, WIDTH)) -> Draw:
    """Many draws, as numpy arrays with one row each."""
    seeds = tf.stack([tf.range(count), tf.zeros(count, tf.int32)], axis=1)
    size = tf.constant(size, tf.float32)
    signature = Draw(*(tf.TensorSpec(field.shape, field.dtype) for field in STILL))

    @tf.function
    def draw_all():
        draw = lambda seed: augmentation.draw(seed, size)  # noqa: E731
        return tf.map_fn(draw, seeds, fn_output_signature=signature)

    return Draw(*(field.numpy() for field in draw_all()))


# --- geometry


def test_the_defaults_leave_image_and_boxes_as_they_are():
    image = tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 9, 3)), tf.float32)
    changed, boxes, classes, difficult = augmented(
        Augmentation(), 1, image, [(1.5, 2.25, 3.0, 4.0)]
    )
    np.testing.assert_array_equal(changed, image)
    assert boxes.numpy().tolist() == [[1.5, 2.25, 3, 4]]
    assert (classes.numpy().tolist(), difficult.numpy().tolist()) == ([0], [False])


def test_a_horizontal_flip_mirrors_x_about_the_middle():
    image, boxes, *_ = augmented(Augmentation(hflip_probability=1.0), 1)
    assert boxes.numpy().tolist() == [[22, 96 - 56, 42, 96 - 40]]
    np.testing.assert_array_equal(image, marked_image()[:, ::-1])


def test_a_vertical_flip_mirrors_y_about_the_middle():
    image, boxes, *_ = augmented(Augmentation(vflip_probability=1.0), 1)
    assert boxes.numpy().tolist() == [[64 - 42, 40, 64 - 22, 56]]
    np.testing.assert_array_equal(image, marked_image()[::-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("augmentation", "tolerance"),
    [
        (Augmentation(translate_max_x=9, translate_max_y=9), 0.0),
        (Augmentation(zoom_min=1.1, zoom_max=1.6), 0.51),
        (Augmentation(zoom_min=0.8, zoom_max=0.95), 0.51),
        # the corner of a turned rectangle is a point, which no pixel centre needs to meet
        (Augmentation(rotate_rad_max=0.7), 1.5),
        (Augmentation(0.5, 0.5, 0.8, 1.3, 5, 5, rotate_rad_max=0.3), 1.5),
    ],
    ids=["translate", "zoom out", "zoom in", "rotate", "everything"],
)
def test_the_box_follows_the_marker(augmentation, tolerance):
    moved = 0
    for number in range(12):
        image, boxes, *_ = augmented(augmentation, number)
        box = boxes.numpy()[0]
        np.testing.assert_allclose(box, where_the_marker_is(image), rtol=0, atol=tolerance)
        moved += not np.allclose(box, MARKER, atol=1)
    assert moved >= 8


def test_a_translation_moves_whole_pixels_and_uncovers_grey():
    drawn = STILL._replace(translate=tf.constant((2.0, -3.0)))
    image = tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 9, 3)), tf.float32)
    moved = warp(image, spatial(drawn, tf.constant((8.0, 9.0)))).numpy()
    np.testing.assert_array_equal(moved[2:, :-3], image[:-2, 3:])
    assert (moved[:2] == FILL).all()
    assert (moved[:, -3:] == FILL).all()


def test_a_positive_angle_turns_clockwise():
    image = tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 8, 3)), tf.float32)
    turn = spatial(STILL._replace(angle=tf.constant(math.pi / 2)), tf.constant((8.0, 8.0)))
    np.testing.assert_allclose(warp(image, turn), np.rot90(image, k=-1), atol=1e-3)
    np.testing.assert_allclose(
        move(tf.constant([[0.0, 0.0, 2.0, 3.0]]), turn), [[0, 6, 3, 8]], atol=1e-5
    )


def test_a_turned_box_encloses_all_four_corners():
    turn = spatial(STILL._replace(angle=tf.constant(math.pi / 4)), tf.constant((20.0, 20.0)))
    half_diagonal = math.sqrt(2) * 4
    square = tf.constant([[6.0, 6.0, 14.0, 14.0]])
    expected = [[10 - half_diagonal] * 2 + [10 + half_diagonal] * 2]
    np.testing.assert_allclose(move(square, turn), expected, atol=1e-5)


def test_a_ratio_above_one_shrinks_the_content_and_keeps_all_of_it():
    white = tf.fill((40, 40, 3), 255.0)
    for number in range(5):
        image, boxes, *_ = augmented(
            Augmentation(zoom_min=2, zoom_max=2), number, white, [(0.0, 0.0, 40.0, 40.0)]
        )
        y1, x1, y2, x2 = boxes.numpy()[0]
        assert (y2 - y1, x2 - x1) == pytest.approx((20, 20))
        assert np.mean(image.numpy() > 250) == pytest.approx(0.25, abs=0.05)


def test_a_ratio_below_one_enlarges_and_never_uncovers_grey():
    white = tf.fill((40, 40, 3), 255.0)
    for number in range(5):
        image, boxes, *_ = augmented(
            Augmentation(zoom_min=0.5, zoom_max=0.5), number, white, [(0.0, 0.0, 40.0, 40.0)]
        )
        assert boxes.numpy().tolist() == [[0, 0, 40, 40]]
        assert image.numpy()[1:-1, 1:-1].min() > 250


@pytest.mark.slow
def test_a_box_is_clipped_and_dropped_when_too_little_of_it_is_left():
    augmentation = Augmentation(translate_max_x=10, min_visibility=0.25)
    kept = []
    for number in range(30):
        x = float(augmentation.draw(seed(number), tf.constant((10.0, 10.0))).translate[1])
        _, boxes, *_ = augmented(
            augmentation, number, tf.zeros((10, 10, 3)), [(0.0, 0.0, 10.0, 10.0)]
        )
        expected = [[0, max(x, 0), 10, min(10 + x, 10)]] if abs(x) <= 7 else []
        assert boxes.numpy().tolist() == expected
        kept.append(len(expected))
    assert 0 < sum(kept) < 30


def test_the_other_columns_are_dropped_with_their_box():
    far_left, middle = (0.0, 0.0, 10.0, 4.0), (0.0, 40.0, 10.0, 50.0)
    augmentation = Augmentation(translate_max_x=30)
    number = next(
        i for i in range(99) if augmentation.draw(seed(i), tf.zeros(2)).translate[1] < -10
    )
    _, boxes, classes, difficult = augmented(augmentation, number, boxes=[far_left, middle])
    assert (len(boxes), classes.numpy().tolist(), len(difficult)) == (1, [1], 1)


def test_nothing_moves_points_by_the_identity():
    identity = Affine(tf.eye(2), tf.zeros(2))
    np.testing.assert_array_equal(warp(marked_image(), identity), marked_image())


# --- all of it against homogeneous matrices and a sampler written out in numpy


def by_steps(drawn: Draw, height, width) -> np.ndarray:
    """(3, 3) matrix from (x, y, 1) in the image to where it comes, one factor a step."""

    def shifted(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)

    def scaled(x, y):
        return np.diag([x, y, 1.0])

    angle, zoom = float(drawn.angle), float(drawn.zoom)
    (ty, tx), (oy, ox) = drawn.translate.numpy(), drawn.offset.numpy()
    # y points down, so this turns clockwise as seen
    turn = np.array(
        [
            [math.cos(angle), -math.sin(angle), 0],
            [math.sin(angle), math.cos(angle), 0],
            [0, 0, 1],
        ]
    )
    steps = [
        shifted(width, 0) @ scaled(-1, 1) if drawn.hflip else np.eye(3),
        shifted(0, height) @ scaled(1, -1) if drawn.vflip else np.eye(3),
        shifted(tx, ty),
        shifted(ox, oy) @ scaled(1 / zoom, 1 / zoom),
        shifted(width / 2, height / 2) @ turn @ shifted(-width / 2, -height / 2),
    ]
    whole = np.eye(3)
    for step in steps:
        whole = step @ whole
    return whole


def sampled(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image moved by a matrix, bilinear on endless gray, and which pixels are far outside."""
    height, width, channels = image.shape
    border = 2
    canvas = np.full((height + 2 * border, width + 2 * border, channels), FILL)
    canvas[border:-border, border:-border] = image
    back = np.linalg.inv(matrix)
    moved, outside = np.empty(image.shape), np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y, _ = back @ (column + 0.5, row + 0.5, 1)
            x, y = x - 0.5, y - 0.5  # pixel 0 has its centre at 0.5
            outside[row, column] = not (-1 <= x <= width and -1 <= y <= height)
            x = min(max(x, -border), width - 1 + border - 1e-9) + border
            y = min(max(y, -border), height - 1 + border - 1e-9) + border
            left, top = int(x), int(y)
            right, bottom = x - left, y - top
            square = canvas[top : top + 2, left : left + 2]
            weights = np.outer([1 - bottom, bottom], [1 - right, right])
            moved[row, column] = np.tensordot(weights, square, 2)
    return moved, outside


def corners_moved(box, matrix) -> list[float]:
    """(y1, x1, y2, x2) around the four corners of a box."""
    y1, x1, y2, x2 = box
    points = np.array([matrix @ (x, y, 1) for y in (y1, y2) for x in (x1, x2)])
    return [points[:, 1].min(), points[:, 0].min(), points[:, 1].max(), points[:, 0].max()]


EVERYTHING = Augmentation(
    hflip_probability=0.5,
    vflip_probability=0.5,
    zoom_min=0.6,
    zoom_max=1.7,
    translate_max_x=9,
    translate_max_y=5,
    rotate_rad_max=math.pi,
    min_visibility=0.0,
)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 40), (41, 23)])
@pytest.mark.parametrize("number", range(8))
def test_pixels_and_boxes_are_those_of_the_steps_one_by_one(number, size):
    height, width = size
    image = np.random.default_rng(number).uniform(0, 255, (height, width, 3)).astype(np.float32)
    box = (5.25, 6.5, 18.0, 20.75)
    drawn = EVERYTHING.draw(seed(number), tf.constant((float(height), float(width))))
    matrix = by_steps(drawn, height, width)
    changed, boxes, *_ = augmented(EVERYTHING, number, tf.constant(image), [box])
    expected, outside = sampled(image, matrix)
    np.testing.assert_allclose(changed, expected, atol=0.1)
    np.testing.assert_allclose(changed.numpy()[outside], FILL, atol=1e-5)  # one bit of a float
    corners = np.clip(corners_moved(box, matrix), 0, [height, width, height, width])
    np.testing.assert_allclose(boxes[0], corners, atol=1e-3)


@pytest.mark.slow
def test_those_draws_flip_and_turn_and_uncover_gray():
    """So that the test above is about something."""
    size = tf.constant((24.0, 40.0))
    drawn = [EVERYTHING.draw(seed(number), size) for number in range(8)]
    assert {bool(d.hflip) for d in drawn} == {bool(d.vflip) for d in drawn} == {True, False}
    assert {float(d.zoom) > 1 for d in drawn} == {True, False}
    shares = [np.mean(sampled(np.zeros((24, 40, 1)), by_steps(d, 24, 40))[1]) for d in drawn]
    assert sum(share > 0.1 for share in shares) >= 4


def test_pil_moves_an_image_to_the_same_place():
    """PIL is another sampler with another border; inside of the image the pixels are the same."""
    drawn = STILL._replace(
        translate=tf.constant((3.0, -5.0)),
        zoom=tf.constant(1.3),
        offset=tf.constant((4.0, 6.0)),
        angle=tf.constant(0.4),
        hflip=tf.constant(True),
    )
    height, width = 48, 64
    pixels = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    matrix = by_steps(drawn, height, width)
    by_pil = Image.fromarray(pixels).transform(
        (width, height),
        Image.Transform.AFFINE,
        np.linalg.inv(matrix)[:2].ravel().tolist(),
        Image.Resampling.BILINEAR,
        fillcolor=-1,
    )
    image, _ = flip(tf.constant(pixels[..., None]), tf.zeros((0, 4)), drawn)
    moved = warp(image, spatial(drawn, tf.constant((height, width), tf.float32)))[..., 0].numpy()
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y, _ = np.einsum(
        "ij,jhw->ihw", np.linalg.inv(matrix), np.stack([columns, rows, columns * 0 + 1])
    )
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(moved[inside], np.asarray(by_pil)[inside], atol=0.1)


# --- colour


def recoloured(pixel, contrast_center=0.5, **changes):
    drawn = STILL._replace(**{key: tf.constant(value) for key, value in changes.items()})
    image = tf.constant([[pixel]], tf.float32)
    return recolour(image, *colour(drawn, contrast_center)).numpy()[0, 0]


def test_no_change_of_colour_is_the_identity():
    np.testing.assert_allclose(recoloured((10, 120, 250)), (10, 120, 250), atol=1e-3)


def test_brightness_is_added_in_units_of_white():
    np.testing.assert_allclose(
        recoloured((10, 100, 250), brightness=0.1), (35.5, 125.5, 255), atol=1e-3
    )


def test_contrast_stretches_about_its_centre():
    changed = recoloured((127.5, 137.5, 27.5), contrast=0.5)
    np.testing.assert_allclose(changed, (127.5, 142.5, 0), atol=1e-3)  # 27.5 -> -22.5, clipped
    dark_centre = recoloured((20, 100, 0), contrast_center=0.0, contrast=0.5)
    np.testing.assert_allclose(dark_centre, (30, 150, 0), atol=1e-3)


def test_without_saturation_everything_is_its_luma():
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    np.testing.assert_allclose(recoloured((200, 100, 50), saturation=0.0), [luma] * 3, atol=1e-3)


def test_turning_the_hue_leaves_grey_alone_and_comes_back_after_a_full_turn():
    np.testing.assert_allclose(recoloured((90, 90, 90), hue=1.0), (90, 90, 90), atol=0.5)
    np.testing.assert_allclose(
        recoloured((200, 100, 50), hue=2 * math.pi), (200, 100, 50), atol=1e-2
    )


def test_a_third_of_a_turn_makes_red_mostly_one_other_primary():
    red, green, blue = recoloured((150, 0, 0), hue=2 * math.pi / 3)
    assert max(red, green, blue) == blue


def test_contrast_comes_before_brightness():
    # (1 + 1) * 100 - 0.5 * 255 + 0.1 * 255
    np.testing.assert_allclose(
        recoloured((100, 100, 100), contrast=1.0, brightness=0.1), [98] * 3, atol=0.01
    )


@pytest.mark.parametrize("number", range(4))
def test_a_grayscale_image_changes_as_the_gray_colours_of_an_rgb_image_do(number):
    augmentation = Augmentation(
        color_shift_stddev=0.2,
        contrast_scale_max=0.6,
        contrast_center=0.3,
        hue_rotation_max=180,
        saturation_shift_max=0.8,
    )
    gray = tf.constant(np.random.default_rng(0).uniform(60, 160, (8, 9, 1)), tf.float32)
    box = [(0.0, 0.0, 5.0, 5.0)]
    changed, *_ = augmented(augmentation, number, gray, box)
    in_rgb, *_ = augmented(augmentation, number, tf.repeat(gray, 3, axis=2), box)
    assert changed.shape == gray.shape
    assert abs(changed - gray).numpy().max() > 3
    np.testing.assert_allclose(np.repeat(changed, 3, axis=2), in_rgb, atol=0.4)


def test_hue_and_saturation_do_nothing_to_a_grayscale_image():
    gray = tf.constant(np.random.default_rng(0).uniform(0, 255, (8, 9, 1)), tf.float32)
    augmentation = Augmentation(hue_rotation_max=360, saturation_shift_max=1)
    for number in range(5):
        changed, *_ = augmented(augmentation, number, gray, [(0.0, 0.0, 5.0, 5.0)])
        np.testing.assert_allclose(changed, gray, atol=0.3)


def colour_by_steps(pixels, drawn, centre):
    """Contrast, hue, saturation and brightness one after the other, as TLT's table has them.

    Pixels are (N, 3) in units of white.  Half of the table's matrix B is its other half: a turn
    by 90 degrees within the plane of equal luma.
    """
    quarter_turn = np.array([[0.168, -0.328, 1.25], [0.33, 0.035, -1.05], [-0.497, 0.292, -0.203]])
    pixels = pixels + drawn["contrast"] * (pixels - centre)
    luma = pixels @ np.array([[0.299], [0.587], [0.114]])
    chroma = pixels - luma
    turned = np.cos(drawn["hue"]) * chroma + np.sin(drawn["hue"]) * (pixels @ quarter_turn)
    return luma + drawn["saturation"] * turned + drawn["brightness"]


def test_one_matrix_does_what_the_steps_do_one_by_one():
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 1, (50, 3))
    for _ in range(20):
        drawn = {
            "contrast": rng.uniform(-0.9, 0.9),
            "hue": rng.uniform(-math.pi, math.pi),
            "saturation": rng.uniform(0, 2),
            "brightness": rng.uniform(-0.3, 0.3),
        }
        centre = rng.uniform(0, 1)
        expected = 255 * np.clip(colour_by_steps(pixels, drawn, centre), 0, 1)
        tensors = {key: tf.constant(value, tf.float32) for key, value in drawn.items()}
        matrix, offset = colour(STILL._replace(**tensors), centre)
        image = tf.constant(255 * pixels[None], tf.float32)
        np.testing.assert_allclose(recolour(image, matrix, offset)[0], expected, atol=0.01)


@pytest.mark.parametrize("hue", [-2.0, 0.5, math.pi / 2, 3.0])
def test_a_turn_of_the_hue_keeps_the_luma_of_every_colour(hue):
    pixels = np.random.default_rng(0).uniform(100, 155, (1, 200, 3))
    matrix, offset = colour(STILL._replace(hue=tf.constant(hue)), 0.5)
    turned = recolour(tf.constant(pixels, tf.float32), matrix, offset).numpy()
    luma = [0.299, 0.587, 0.114]
    np.testing.assert_allclose(turned @ luma, pixels @ luma, atol=0.2)
    assert np.abs(turned - pixels).max() > 5


def test_two_turns_of_the_hue_are_one_by_the_sum_of_their_angles():
    def turn(angle):
        return colour(STILL._replace(hue=tf.constant(angle)), 0.5)[0]

    np.testing.assert_allclose(turn(0.7) @ turn(0.9), turn(1.6), atol=0.02)


# --- chance


def test_equal_seeds_draw_alike_and_others_do_not():
    augmentation = Augmentation(zoom_min=0.5, zoom_max=2, hue_rotation_max=90)
    size = tf.constant((64.0, 96.0))
    first, again, other = (augmentation.draw(seed(number), size) for number in (5, 5, 6))
    assert [field.numpy().tolist() for field in first] == [
        field.numpy().tolist() for field in again
    ]
    assert first.zoom != other.zoom
    assert first.hue != other.hue


@pytest.mark.slow
def test_flips_come_as_often_as_their_probability_says():
    drawn = draws(Augmentation(hflip_probability=0.3, vflip_probability=0.8))
    assert drawn.hflip.mean() == pytest.approx(0.3, abs=0.04)
    assert drawn.vflip.mean() == pytest.approx(0.8, abs=0.04)
    both = 0.3 * 0.8
    assert (drawn.hflip & drawn.vflip).mean() == pytest.approx(both, abs=0.04)


@pytest.mark.slow
def test_every_whole_number_of_pixels_is_as_likely_a_translation():
    drawn = draws(Augmentation(translate_max_x=2, translate_max_y=1))
    for column, most in ((0, 1), (1, 2)):
        values, counts = np.unique(drawn.translate[:, column], return_counts=True)
        assert values.tolist() == list(range(-most, most + 1))
        np.testing.assert_allclose(counts / 2000, 1 / (2 * most + 1), atol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [(1.2, 1.6), (0.5, 0.9)])
def test_zoom_is_uniform_and_its_place_random(low, high):
    drawn = draws(Augmentation(zoom_min=low, zoom_max=high))
    assert drawn.zoom.min() >= low
    assert drawn.zoom.max() <= high
    assert drawn.zoom.mean() == pytest.approx((low + high) / 2, abs=0.02)
    share = drawn.offset / (np.array([HEIGHT, WIDTH]) * (1 - 1 / drawn.zoom[:, None]))
    assert share.min() >= -1e-4
    assert share.max() <= 1 + 1e-4
    np.testing.assert_allclose(share.mean(axis=0), 0.5, atol=0.04)


@pytest.mark.slow
def test_the_angle_is_uniform_in_radians_and_only_as_often_as_asked():
    drawn = draws(Augmentation(rotate_rad_max=0.4, rotate_probability=0.25))
    turned = drawn.angle[drawn.angle != 0]
    assert len(turned) / 2000 == pytest.approx(0.25, abs=0.04)
    assert np.abs(turned).max() <= 0.4
    assert np.abs(turned).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.slow
def test_colour_follows_its_distributions():
    drawn = draws(
        Augmentation(
            color_shift_stddev=0.1,
            hue_rotation_max=20,
            saturation_shift_max=0.3,
            contrast_scale_max=0.2,
        )
    )
    cut_normal = 0.88  # standard deviation of a unit normal cut at 2
    for values, deviation in (
        (drawn.brightness, 0.1),
        (np.degrees(drawn.hue), 10),
        (drawn.contrast, 0.1),
    ):
        assert np.abs(values).max() <= 2 * deviation * (1 + 1e-5)
        assert values.mean() == pytest.approx(0, abs=0.1 * deviation)
        assert values.std() == pytest.approx(cut_normal * deviation, rel=0.06)
    assert drawn.saturation.min() >= 0.7
    assert drawn.saturation.max() <= 1.3
    assert drawn.saturation.std() == pytest.approx(0.6 / math.sqrt(12), rel=0.06)


def test_an_empty_range_of_zoom_is_refused():
    with pytest.raises(ValueError, match="zoom_min 2"):
        Augmentation(zoom_min=2, zoom_max=1)


# --- distributions, by the largest distance between what was drawn and what should be

SAMPLES = 2000
CLOSE = 0.04
"""Of 2000 samples of the right distribution 0.3 % are further away, by Kolmogorov's formula; the
seeds are fixed, so it is always the same 2000."""


def distance(values, cumulative) -> float:
    """Kolmogorov and Smirnov's statistic."""
    expected = cumulative(np.sort(values))
    steps = np.arange(len(values) + 1) / len(values)
    return max(np.max(expected - steps[:-1]), np.max(steps[1:] - expected))


def uniform(low, high):
    return lambda x: np.clip((x - low) / (high - low), 0, 1)


def normal(deviation):
    """Cut at twice the deviation."""
    whole = np.vectorize(lambda x: (1 + math.erf(x / deviation / math.sqrt(2))) / 2)
    low, high = whole(-2 * deviation), whole(2 * deviation)
    return lambda x: np.clip((whole(x) - low) / (high - low), 0, 1)


def reciprocal(low, high):
    """Of a ratio whose 1 / r is uniform."""
    return lambda x: (1 / low - 1 / x) / (1 / low - 1 / high)


LIVELY = Augmentation(
    zoom_min=0.5,
    zoom_max=2.0,
    rotate_rad_max=0.4,
    color_shift_stddev=0.1,
    hue_rotation_max=20.0,
    saturation_shift_max=0.3,
    contrast_scale_max=0.2,
)


@pytest.fixture(scope="module")
def lively() -> Draw:
    return draws(LIVELY, SAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("zoom", uniform(0.5, 2), reciprocal(0.5, 2)),
        ("angle", uniform(-0.4, 0.4), uniform(-math.radians(0.4), math.radians(0.4))),
        ("angle", uniform(-0.4, 0.4), normal(0.2)),
        ("angle", uniform(-0.4, 0.4), uniform(0, 0.4)),
        ("brightness", normal(0.1), uniform(-0.2, 0.2)),
        ("brightness", normal(0.1), normal(0.05)),
        ("hue", normal(math.radians(10)), normal(math.radians(20))),
        ("hue", normal(math.radians(10)), uniform(-math.radians(20), math.radians(20))),
        ("saturation", uniform(0.7, 1.3), uniform(1, 1.3)),
        ("saturation", uniform(0.7, 1.3), lambda x: normal(0.15)(x - 1)),
        ("contrast", normal(0.1), normal(0.2)),
        ("contrast", normal(0.1), uniform(-0.2, 0.2)),
    ],
)
def test_parameters_follow_their_distribution_and_no_other(lively, name, right, wrong):
    values = getattr(lively, name)
    assert distance(values, right) < CLOSE
    assert distance(values, wrong) > 1.5 * CLOSE


def test_the_place_of_a_zoomed_image_is_uniform_in_both_directions(lively):
    room = np.array([HEIGHT, WIDTH]) * (1 - 1 / lively.zoom[:, None])
    for share in (lively.offset / room).T:
        assert distance(share, uniform(0, 1)) < CLOSE
    assert abs(np.corrcoef((lively.offset / room).T)[0, 1]) < 0.06


@pytest.mark.slow
def test_no_parameter_tells_anything_of_another(lively):
    columns = [lively.zoom, lively.angle, lively.brightness, lively.hue, lively.saturation]
    correlations = np.corrcoef([*columns, lively.contrast]) - np.eye(6)
    assert np.abs(correlations).max() < 0.08
