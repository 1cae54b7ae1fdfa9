import numpy as np
import pytest
from PIL import Image

from frcnn_core.inference.sheet import contact_sheet


def plain(width, height, colour=(200, 0, 0)):
    return Image.new("RGB", (width, height), colour)


def red_parts(sheet):
    """Number of red pixels."""
    return int((np.asarray(sheet) == (200, 0, 0)).all(axis=2).sum())


def test_small_pictures_are_pasted_as_they_are():
    sheet = contact_sheet([[("a", plain(30, 20)), ("b", plain(30, 20))], [("c", plain(30, 10))]])
    assert sheet.width == 8 + 2 * (30 + 8)
    assert red_parts(sheet) == 2 * 30 * 20 + 30 * 10
    assert sheet.getpixel((8, 8)) == sheet.getpixel((8 + 38, 8)) == (200, 0, 0)


def test_large_pictures_are_shrunk_with_their_aspect_kept():
    sheet = contact_sheet([[("a", plain(400, 200))]], side=100)
    assert sheet.width == 8 + 100 + 8
    assert red_parts(sheet) == 100 * 50


def test_each_picture_has_its_caption_below():
    with_words = np.asarray(contact_sheet([[("word", plain(60, 20))]]))
    without = np.asarray(contact_sheet([[("", plain(60, 20))]]))
    rows = np.nonzero((with_words != without).any(axis=(1, 2)))[0]
    assert rows.min() >= 8 + 20


@pytest.mark.slow
def test_a_long_caption_keeps_its_end_and_leaves_the_next_picture_alone():
    sheet = contact_sheet([[("n" * 99 + ", draw 1", plain(60, 20)), ("", plain(60, 20))]])
    short = contact_sheet([[("", plain(60, 20)), ("", plain(60, 20))]])
    columns = np.nonzero((np.asarray(sheet) != np.asarray(short)).any(axis=(0, 2)))[0]
    assert columns.max() < 8 + 60
