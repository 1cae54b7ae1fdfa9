"""Detections and ground truth drawn onto their image, readable at any size."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from frcnn_core.structures import GroundTruth, ImageDetections

Colour = tuple[int, int, int]

_PADDING: Colour = (255, 255, 255)
"""Of the line where padding, which is dark or gray, begins."""

GOLDEN_RATIO = 0.6180339887
"""Steps of this much around the colour wheel keep any number of hues far apart."""


def class_colour(index: int) -> Colour:
    """The RGB colour of class id ``index``: the same in every picture of every run."""
    brightness = (1.0, 0.75)[index // 6 % 2]  # after six hues, neighbours differ in this as well
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1.0, 0.9, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    pixels: np.ndarray,
    detections: ImageDetections,
    class_names: Sequence[str],
    *,
    min_score: float = 0.0,
    caption: bool = True,
) -> Image.Image:
    """A picture of an image and its detections, the best on top.

    Args:
        pixels: (H, W, 1 or 3) uint8; grayscale becomes RGB, for the colours to be seen.
        detections: with boxes in pixels of that image.
        class_names: K names.
        min_score: draw the detections scored at least this.
        caption: write class and score at each box, as ``class: 0.9876``.
    """
    picture = _in_colour(pixels)
    canvas, line_width, font = _pen(picture)
    size = pixels.shape[:2]
    drawn = np.flatnonzero(np.asarray(detections.scores) >= min_score)
    drawn = drawn[np.argsort(np.asarray(detections.scores)[drawn], kind="stable")]
    for index in drawn:
        box = _whole_pixels(detections.boxes[index], *size)
        colour = class_colour(int(detections.classes[index]))
        canvas.rectangle(box, outline=colour, width=line_width)
    if caption:  # after all boxes, so that no line crosses a word
        for index in drawn:
            label = int(detections.classes[index])
            text = f"{class_names[label]}: {detections.scores[index]:.4f}"
            box = _whole_pixels(detections.boxes[index], *size)
            _write(canvas, text, box, class_colour(label), font, size)
    return picture


def draw_ground_truth(
    pixels: np.ndarray,
    truth: GroundTruth,
    class_names: Sequence[str],
    *,
    valid: tuple[int, int] | None = None,
) -> Image.Image:
    """A picture of an image and its objects, each with its class; the small ones on top.

    The lines around difficult objects are dashed.

    Args:
        pixels: (H, W, 1 or 3) uint8; grayscale becomes RGB, for the colours to be seen.
        truth: with boxes in pixels of that image.
        class_names: K names.
        valid: height and width of what is not padding; a dotted line tells where padding begins.
    """
    picture = _in_colour(pixels)
    canvas, line_width, font = _pen(picture)
    size = pixels.shape[:2]
    if valid is not None:
        _dot_padding(canvas, valid, size)
    boxes = np.asarray(truth.boxes, float).reshape(-1, 4)
    by_area = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    for index in by_area:
        box = _whole_pixels(boxes[index], *size)
        colour = class_colour(int(truth.classes[index]))
        if truth.difficult[index]:
            _dash(canvas, box, colour, line_width)
        else:
            canvas.rectangle(box, outline=colour, width=line_width)
    for index in by_area:
        label = int(truth.classes[index])
        text = class_names[label] + (" (difficult)" if truth.difficult[index] else "")
        box = _whole_pixels(boxes[index], *size)
        _write(canvas, text, box, class_colour(label), font, size)
    return picture


def _in_colour(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)


def _pen(picture: Image.Image) -> tuple[ImageDraw.ImageDraw, int, ImageFont.FreeTypeFont]:
    """What to draw with on a picture, the width of a line on it, and a font for its captions."""
    side = min(picture.size)
    # Of a size there is one that scales.
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=max(10, round(side / 32))))
    return ImageDraw.Draw(picture), max(1, round(side / 200)), font


def _dash(
    canvas: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: Colour, width: int
) -> None:
    """A rectangle whose sides are dashes and gaps of four line widths."""
    x1, y1, x2, y2 = box
    dash = 4 * width
    for x in range(x1, x2 + 1, 2 * dash):
        end = min(x + dash - 1, x2)
        canvas.rectangle((x, y1, end, min(y1 + width - 1, y2)), fill=colour)
        canvas.rectangle((x, max(y2 - width + 1, y1), end, y2), fill=colour)
    for y in range(y1, y2 + 1, 2 * dash):
        end = min(y + dash - 1, y2)
        canvas.rectangle((x1, y, min(x1 + width - 1, x2), end), fill=colour)
        canvas.rectangle((max(x2 - width + 1, x1), y, x2, end), fill=colour)


def _dot_padding(
    canvas: ImageDraw.ImageDraw, valid: tuple[int, int], size: tuple[int, int]
) -> None:
    """Dots along the first row and column of the padding, where there is any."""
    (height, width), (whole_height, whole_width) = valid, size
    if height < whole_height:
        canvas.point([(x, height) for x in range(0, whole_width, 3)], fill=_PADDING)
    if width < whole_width:
        canvas.point([(width, y) for y in range(0, whole_height, 3)], fill=_PADDING)


def _whole_pixels(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of the outermost pixels of a box, inside the image."""
    y1, x1, y2, x2 = (round(float(side)) for side in box)
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    # The box ends at the edge x2, whose last pixel is the one before it.
    return x1, y1, min(max(x2 - 1, x1), width - 1), min(max(y2 - 1, y1), height - 1)


def _write(
    canvas: ImageDraw.ImageDraw,
    text: str,
    box: tuple[int, int, int, int],
    colour: Colour,
    font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> None:
    """Text on a filled background above the box, or at its top where there is no room above."""
    height, width = size
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    margin = max(1, round(font.size / 6))
    plate_width, plate_height = right - left + 2 * margin, bottom - top + 2 * margin
    x = max(0, min(box[0], width - plate_width))
    y = box[1] - plate_height
    if y < 0:
        y = max(0, min(box[1], height - plate_height))
    plate = (x, y, x + plate_width - 1, y + plate_height - 1)
    canvas.rectangle(plate, fill=colour)
    canvas.text((x + margin - left, y + margin - top), text, fill=_readable_on(colour), font=font)


def _readable_on(colour: Colour) -> Colour:
    """Black on bright colours, white on dark ones."""
    red, green, blue = colour
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return (0, 0, 0) if brightness > 128 else (255, 255, 255)
