"""Drawing in metres: a figure stands on the ground at y = 0, x = 0 is its middle, y is up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

_FINER = 4
"""Shapes are drawn this many times larger and reduced, as PIL draws jagged edges."""


class Pen:
    """Draws one figure on a transparent canvas.

    Args:
        width: of the canvas in metres.
        height: of the canvas in metres.
        scale: pixels per metre.
        mirrored: draw everything facing the other way.
    """

    def __init__(self, width: float, height: float, scale: float, *, mirrored: bool = False):
        self._pixels = math.ceil(width * scale), math.ceil(height * scale)
        self._scale = scale * _FINER
        self._side = -1 if mirrored else 1
        size = self._pixels[0] * _FINER, self._pixels[1] * _FINER
        self._image = Image.new("RGBA", size)
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        self._draw.polygon([self._at(point) for point in points], fill=color)

    def box(
        self, x1: float, y1: float, x2: float, y2: float, color: Color, round: float = 0
    ) -> None:
        """A rectangle between two heights, with corners of the given radius."""
        (left, bottom), (right, top) = self._at((x1, y1)), self._at((x2, y2))
        left, right = min(left, right), max(left, right)
        radius = min(round * self._scale, (right - left) / 2, (bottom - top) / 2)
        self._draw.rounded_rectangle((left, top, right, bottom), radius, fill=color)

    def disc(self, x: float, y: float, radius: float, color: Color, *, tall: float = 1.0) -> None:
        """A circle, or an ellipse that is ``tall`` times as high as wide."""
        center_x, center_y = self._at((x, y))
        rx, ry = radius * self._scale, radius * tall * self._scale
        corners = (center_x - rx, center_y - ry, center_x + rx, center_y + ry)
        self._draw.ellipse(corners, fill=color)

    def ring(self, x: float, y: float, radius: float, thickness: float, color: Color) -> None:
        center_x, center_y = self._at((x, y))
        r = radius * self._scale
        corners = (center_x - r, center_y - r, center_x + r, center_y + r)
        self._draw.ellipse(corners, outline=color, width=max(1, round(thickness * self._scale)))

    def line(self, points: Sequence[Point], thickness: float, color: Color) -> None:
        """Joined strokes with round ends."""
        path = [self._at(point) for point in points]
        width = max(1, round(thickness * self._scale))
        self._draw.line(path, fill=color, width=width, joint="curve")
        for x, y in path:
            r = width / 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def finished(self) -> Image.Image:
        """The figure at its own size, lit from above."""
        pixels = np.asarray(self._image.resize(self._pixels, Image.Resampling.BOX), np.float32)
        light = np.linspace(1.12, 0.85, self._pixels[1], dtype=np.float32)[:, None, None]
        pixels = np.concatenate([pixels[..., :3] * light, pixels[..., 3:]], axis=-1)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGBA")

    def _at(self, point: Point) -> Point:
        x, y = point
        width, height = self._image.size
        return width / 2 + self._side * x * self._scale, height - y * self._scale


def darker(color: Color, factor: float) -> Color:
    """The colour times a factor; above 1 it gets lighter."""
    red, green, blue = (min(255, round(value * factor)) for value in color)
    return red, green, blue


def varied(rng: np.random.Generator, color: Color, amount: int = 20) -> Color:
    """A colour near the given one."""
    red, green, blue = (
        int(value) for value in np.clip(rng.integers(-amount, amount + 1, 3) + color, 0, 255)
    )
    return red, green, blue
