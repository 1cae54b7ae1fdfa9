"""Detections drawn onto their image, readable at any size."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from frcnn_core.structures import ImageDetections

Colour = tuple[int, int, int]

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
    height, width, channels = pixels.shape
    picture = Image.fromarray(np.repeat(pixels, 3, axis=2) if channels == 1 else pixels)
    canvas = ImageDraw.Draw(picture)
    line_width = max(1, round(min(height, width) / 200))
    font = ImageFont.load_default(size=max(10, round(min(height, width) / 32)))
    drawn = np.flatnonzero(np.asarray(detections.scores) >= min_score)
    drawn = drawn[np.argsort(np.asarray(detections.scores)[drawn], kind="stable")]
    for index in drawn:
        box = _whole_pixels(detections.boxes[index], height, width)
        colour = class_colour(int(detections.classes[index]))
        canvas.rectangle(box, outline=colour, width=line_width)
    if caption:  # after all boxes, so that no line crosses a word
        for index in drawn:
            label = int(detections.classes[index])
            text = f"{class_names[label]}: {detections.scores[index]:.4f}"
            box = _whole_pixels(detections.boxes[index], height, width)
            _write(canvas, text, box, class_colour(label), font, (height, width))
    return picture


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
