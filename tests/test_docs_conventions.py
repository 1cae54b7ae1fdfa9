"""The numbers on docs/conventions.md, computed again.

The original's formulas are written out here, with their +1, as plain arithmetic; ours are called.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core import boxes
from frcnn_core.data import augment, sources
from frcnn_core.detector import anchors, losses, matching, proposals
from frcnn_core.evaluation.scoring import iou

PAGE = (Path(__file__).parents[1] / "docs" / "conventions.md").read_text()


def table() -> list[list[float]]:
    """The rows of the table on +1: side, two IoUs, pixels, IoU."""
    lines = PAGE.split("<!-- table: plus one -->\n")[1].split("\n\n")[0].splitlines()
    return [[float(cell) for cell in line.strip("|").split("|")] for line in lines[2:]]


def square(side: float, *, centre: float = 0.0) -> np.ndarray:
    return np.array([centre - side / 2, centre - side / 2, centre + side / 2, centre + side / 2])


def original_iou(box, other) -> float:
    """The original's overlap, in target assignment and in evaluation."""
    height = min(box[2], other[2]) - max(box[0], other[0]) + 1
    width = min(box[3], other[3]) - max(box[1], other[1]) + 1
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
    return height * width / (sum(areas) - height * width)


def original_encode(box, anchor) -> list[float]:
    """The original's targets (dx, dy, dw, dh), before any factor."""
    (height, width, y, x), (h, w, v, u) = _inclusive(box), _inclusive(anchor)
    return [(x - u) / w, (y - v) / h, math.log(width / w), math.log(height / h)]


def original_decode(offsets, anchor, *, plus: int) -> np.ndarray:
    """The original's boxes: plus is 0 where it decodes the RPN's output and 1 for the head's."""
    y1, x1, y2, x2 = anchor
    h, w = y2 - y1 + plus, x2 - x1 + plus
    x, y = x1 + w / 2 + offsets[0] * w, y1 + h / 2 + offsets[1] * h
    width, height = math.exp(offsets[2]) * w, math.exp(offsets[3]) * h
    return np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2])


def _inclusive(box) -> tuple[float, float, float, float]:
    height, width = box[2] - box[0] + 1, box[3] - box[1] + 1
    return height, width, box[0] + height / 2, box[1] + width / 2


def round_trip(box, anchor) -> np.ndarray:
    """A box after our encode and decode."""
    box, anchor = (tf.constant(value, tf.float32) for value in (box, anchor))
    return boxes.decode(boxes.encode(box, anchor), anchor).numpy()


def width(box) -> float:
    return box[3] - box[1]


# An independent check of the formulas above: numbers worked out from the original's source.
BOX, TRUTH = (10, 20, 109, 219), (15, 30, 124, 209)


def test_the_formulas_are_the_originals():
    offsets = original_encode(TRUTH, BOX)
    assert offsets == pytest.approx([0.0, 0.1, -0.1053605157, 0.0953101798])
    assert original_iou(BOX, TRUTH) == pytest.approx(0.7533039648)
    assert original_decode(offsets, BOX, plus=0) == pytest.approx([14.95, 29.95, 123.85, 209.05])
    assert original_decode(offsets, BOX, plus=1) == pytest.approx([15, 30, 125, 210])


def test_ours_give_the_box_back():
    assert iou(BOX, TRUTH).item() == pytest.approx(0.7516304833)
    np.testing.assert_allclose(round_trip(TRUTH, BOX), TRUTH, atol=1e-4)


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row[0]:g}")
def test_the_table_on_plus_one(row):
    side, ours, with_plus_one, too_wide, best = row
    box, shifted, twice = square(side), square(side, centre=side / 10), square(2 * side)
    assert ours == pytest.approx(iou(box, shifted).item(), abs=5e-4)
    assert with_plus_one == pytest.approx(original_iou(box, shifted), abs=5e-4)
    proposal = original_decode(original_encode(twice, box), box, plus=0)
    assert too_wide == pytest.approx(width(proposal) - width(twice), abs=5e-4)
    detection = original_decode(original_encode(box, shifted), shifted, plus=1)
    assert best == pytest.approx(iou(box, detection).item(), abs=5e-4)


@pytest.mark.parametrize("side", [row[0] for row in table()])
def test_here_a_perfect_answer_is_decoded_to_the_object(side):
    box, shifted, twice = square(side), square(side, centre=side / 10), square(2 * side)
    assert width(round_trip(twice, box)) == pytest.approx(2 * side, rel=1e-6)
    assert iou(box, round_trip(box, shifted)).item() == pytest.approx(1.0, abs=1e-5)


def test_a_perfect_detection_of_16_pixels_fails_at_09_in_the_original():
    assert table()[0][-1] < 0.9


def test_a_ratio_of_2_drifts_to_109_by_three_more_square_roots():
    assert "a ratio of 2 is 1.09" in PAGE
    assert round(2 ** (1 / 8), 2) == 1.09


def test_an_image_without_objects_teaches_the_head_background():
    rois = tf.constant([[[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 0.0, 0.0]]])
    no_objects = tf.zeros([1, 1, 4])
    labels = matching.match_rois(rois, no_objects, low=0.0, high=0.5).labels
    assert labels.numpy().tolist() == [[matching.NEGATIVE, matching.IGNORE]]


@pytest.mark.parametrize(
    "said, value",
    [
        (r"log\(1000 / 16\) = ([\d.]+)", boxes.MAX_LOG_SCALE),
        (r"one cell for (\d+) pixels", anchors.STRIDE),
        (r"higher than (\d+) pixel are dropped", proposals.MIN_SIDE),
        (r"sigma (\d) for the RPN", losses.RPN_SIGMA),
        (r"RPN and (\d) for the head", losses.HEAD_SIGMA),
        (r"occlusion (\d) or more", sources.DIFFICULT_OCCLUSION),
        (r"less than (\d+) % of its area", 100 * augment.Augmentation.min_visibility),
        (r"grey ([\d.]+)\*\*", augment.FILL),
    ],
)
def test_a_number_on_the_page_is_that_of_the_code(said, value):
    (number,) = re.findall(said, " ".join(PAGE.split()))
    decimals = len(number.partition(".")[2])
    assert float(number) == round(value, decimals)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:frcnn_core|plugins)/[^`]*)`", PAGE))))
def test_the_module_that_holds_a_rule_is_there(path):
    assert (Path(__file__).parents[1] / path).exists()
