"""What stands in a street: figures of the labelled classes, and things that look a bit alike.

A drawer takes a random generator and a scale in pixels per metre, and returns a ``Figure``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from frcnn_core.sample_data.pen import Color, Pen, darker, varied

_TYRE = (28, 28, 32)
_GLASS = (70, 88, 104)
_LAMP = (252, 244, 200)
_RED_LAMP = (196, 26, 30)
_STEEL = (150, 154, 160)
_PAINTS = (
    (178, 34, 38),
    (30, 74, 150),
    (236, 236, 232),
    (40, 42, 48),
    (158, 162, 168),
    (226, 176, 40),
    (34, 110, 72),
    (120, 62, 130),
    (222, 110, 36),
    (88, 150, 190),
)
_SKINS = ((244, 208, 178), (222, 172, 132), (170, 116, 80), (104, 68, 48))
_HAIRS = ((36, 28, 24), (92, 60, 36), (196, 160, 96), (150, 148, 146))


@dataclass(frozen=True)
class Figure:
    """A picture of one thing, and its measures."""

    image: Image.Image
    """RGBA; the bottom row stands on the ground."""
    height: float
    """Metres, as are all measures."""
    width: float
    length: float
    rotation: float = 0.0
    """Radians around the vertical; 0 is facing right, -pi/2 away, as KITTI's rotation_y."""


def car(rng: np.random.Generator, scale: float) -> Figure:
    paint = varied(rng, _choice(rng, _PAINTS))
    height, width = rng.uniform(1.4, 1.8), rng.uniform(1.7, 1.85)
    length = rng.uniform(3.6, 4.6)
    if rng.random() < 0.55:
        mirrored = bool(rng.random() < 0.5)
        pen = Pen(length + 0.1, height + 0.05, scale, mirrored=mirrored)
        _car_from_the_side(pen, rng, paint, length, height)
        return Figure(pen.finished(), height, width, length, np.pi if mirrored else 0.0)
    away = bool(rng.random() < 0.5)
    pen = Pen(width + 0.1, height + 0.05, scale)
    _car_from_the_end(pen, paint, width, height, away=away)
    return Figure(pen.finished(), height, width, length, -np.pi / 2 if away else np.pi / 2)


def truck(rng: np.random.Generator, scale: float) -> Figure:
    paint, load = varied(rng, _choice(rng, _PAINTS)), varied(rng, _choice(rng, _PAINTS))
    height, width, length = rng.uniform(2.8, 3.3), rng.uniform(2.2, 2.5), rng.uniform(5.2, 6.4)
    if rng.random() < 0.6:
        mirrored = bool(rng.random() < 0.5)
        pen = Pen(length + 0.1, height + 0.05, scale, mirrored=mirrored)
        _truck_from_the_side(pen, rng, paint, load, length, height)
        return Figure(pen.finished(), height, width, length, np.pi if mirrored else 0.0)
    away = bool(rng.random() < 0.5)
    pen = Pen(width + 0.3, height + 0.05, scale)
    (_truck_from_behind if away else _truck_from_the_front)(pen, paint, load, width, height)
    return Figure(pen.finished(), height, width, length, -np.pi / 2 if away else np.pi / 2)


def person(rng: np.random.Generator, scale: float) -> Figure:
    height = rng.uniform(1.55, 1.9)
    mirrored = bool(rng.random() < 0.5)
    pen = Pen(1.3, 1.78, scale * height / 1.75, mirrored=mirrored)
    skin, hair = _choice(rng, _SKINS), _choice(rng, _HAIRS)
    top, trousers = varied(rng, _choice(rng, _PAINTS)), varied(rng, (58, 60, 84), 30)
    stride = rng.uniform(0.04, 0.3)
    shoe = (40, 34, 32)
    for side, tint in ((-1, 0.8), (1, 1.0)):
        knee, foot = (side * stride * 0.45, 0.46), (side * stride, 0.06)
        pen.line([(0.0 + side * 0.06, 0.86), knee, foot], 0.15, darker(trousers, tint))
        pen.line([foot, (foot[0] + 0.1, 0.05)], 0.09, shoe)
    swing = rng.uniform(0.05, 0.3)
    pen.line(
        [(-0.18, 1.36), (-0.2 - swing * 0.5, 1.1), (-0.16 - swing, 0.88)], 0.1, darker(top, 0.75)
    )
    pen.box(-0.22, 0.8, 0.22, 1.46, top, round=0.12)
    pen.line([(0.18, 1.36), (0.2 + swing * 0.3, 1.1), (0.2 + swing, 0.9)], 0.11, darker(top, 0.88))
    pen.disc(0.22 + swing, 0.87, 0.055, skin)
    if rng.random() < 0.3:
        pen.box(-0.36, 0.95, -0.17, 1.38, varied(rng, _choice(rng, _PAINTS)), round=0.06)
    pen.box(-0.05, 1.4, 0.05, 1.52, darker(skin, 0.85))
    pen.disc(0.0, 1.62, 0.125, hair, tall=1.1)
    pen.disc(0.03, 1.59, 0.1, skin, tall=1.1)
    return Figure(pen.finished(), height, 0.6, 0.4, np.pi if mirrored else 0.0)


def cyclist(rng: np.random.Generator, scale: float) -> Figure:
    mirrored = bool(rng.random() < 0.5)
    skin = _choice(rng, _SKINS)
    top, trousers = varied(rng, _choice(rng, _PAINTS)), varied(rng, (58, 60, 84), 30)
    frame, helmet = varied(rng, _choice(rng, _PAINTS)), varied(rng, _choice(rng, _PAINTS))
    pen = Pen(1.85, 1.85, scale, mirrored=mirrored)
    turn = rng.uniform(0, 2 * np.pi)
    pedals = [
        (np.cos(turn + half) * 0.17, 0.34 + np.sin(turn + half) * 0.17) for half in (0, np.pi)
    ]
    hip, shoulder, hand = (-0.2, 0.98), (0.16, 1.42), (0.46, 1.05)
    for x in (-0.53, 0.53):
        pen.ring(x, 0.36, 0.36, 0.07, _TYRE)
        pen.ring(x, 0.36, 0.29, 0.025, _STEEL)
        for spoke in np.arange(4) * np.pi / 4 + turn:
            tip = np.cos(spoke) * 0.29, np.sin(spoke) * 0.29
            pen.line([(x - tip[0], 0.36 - tip[1]), (x + tip[0], 0.36 + tip[1])], 0.012, _STEEL)
    pen.line([hip, (0.12 - 0.3, 0.72), pedals[1]], 0.13, darker(trousers, 0.75))
    pen.line([(-0.53, 0.36), (-0.2, 0.8), (0.38, 0.82), (0.0, 0.34), (-0.53, 0.36)], 0.05, frame)
    pen.line([(0.0, 0.34), (-0.22, 0.9)], 0.05, frame)
    pen.line([(0.53, 0.36), (0.38, 0.9), (0.34, 1.0), hand], 0.05, frame)
    pen.line([(-0.32, 0.92), (-0.1, 0.92)], 0.08, _TYRE)
    knee = (0.22, 0.74 + (pedals[0][1] - 0.34) * 0.8)
    pen.line([hip, knee, pedals[0]], 0.15, trousers)
    pen.line([pedals[0], (pedals[0][0] + 0.1, pedals[0][1])], 0.08, (40, 34, 32))
    pen.line([hip, (0.0, 1.22), shoulder], 0.28, top)
    pen.line([shoulder, (0.36, 1.2), hand], 0.1, darker(top, 0.8))
    pen.disc(*hand, 0.05, skin)
    pen.disc(0.27, 1.63, 0.12, skin, tall=1.1)
    pen.polygon([(0.11, 1.64), (0.14, 1.76), (0.26, 1.81), (0.38, 1.76), (0.42, 1.66)], helmet)
    return Figure(pen.finished(), 1.8, 0.6, 1.8, np.pi if mirrored else 0.0)


def tree(rng: np.random.Generator, scale: float) -> Figure:
    height = rng.uniform(3.0, 5.5)
    pen = Pen(3.4, height + 0.1, scale)
    trunk, leaf = varied(rng, (86, 64, 44)), varied(rng, (62, 104, 48), 30)
    pen.polygon([(-0.14, 0), (-0.09, height * 0.6), (0.09, height * 0.6), (0.14, 0)], trunk)
    if rng.random() < 0.3:
        for step in range(4):
            base, half = height * (0.22 + 0.19 * step), 1.2 - 0.26 * step
            tip = min(base + height * 0.32, height)
            pen.polygon([(-half, base), (0, tip), (half, base)], darker(leaf, 0.75 + 0.09 * step))
    else:
        for _ in range(22):
            x, y = rng.normal(0, 0.5), rng.normal(height * 0.72, height * 0.09)
            color = darker(leaf, rng.uniform(0.7, 1.25))
            pen.disc(
                float(np.clip(x, -1.2, 1.2)), min(y, height - 0.45), rng.uniform(0.25, 0.45), color
            )
    return Figure(pen.finished(), height, 2.0, 2.0)


def lamp_post(rng: np.random.Generator, scale: float) -> Figure:
    height, steel = rng.uniform(3.6, 5.0), varied(rng, (84, 88, 94))
    pen = Pen(1.8, height + 0.1, scale, mirrored=bool(rng.random() < 0.5))
    pen.box(-0.1, 0, 0.1, 0.5, steel)
    pen.line([(0, 0.1), (0, height - 0.3), (0.2, height - 0.1), (0.7, height - 0.08)], 0.09, steel)
    pen.box(0.5, height - 0.18, 0.85, height - 0.06, _LAMP, round=0.05)
    return Figure(pen.finished(), height, 0.2, 0.9)


def road_sign(rng: np.random.Generator, scale: float) -> Figure:
    height = rng.uniform(1.7, 2.4)
    pen = Pen(0.9, height + 0.1, scale)
    pen.box(-0.035, 0, 0.035, height - 0.3, _STEEL)
    y, color = height - 0.32, _choice(rng, ((192, 32, 36), (34, 80, 160), (238, 186, 36)))
    kind = rng.integers(3)
    if kind == 0:
        pen.disc(0, y, 0.32, color)
        pen.disc(0, y, 0.22, (240, 240, 236))
    elif kind == 1:
        pen.polygon([(-0.37, y - 0.28), (0, y + 0.34), (0.37, y - 0.28)], color)
        pen.polygon([(-0.2, y - 0.18), (0, y + 0.15), (0.2, y - 0.18)], (240, 240, 236))
    else:
        pen.box(-0.32, y - 0.3, 0.32, y + 0.3, color, round=0.06)
        pen.box(-0.07, y - 0.2, 0.07, y + 0.2, (240, 240, 236))
    return Figure(pen.finished(), height, 0.1, 0.7)


def crate(rng: np.random.Generator, scale: float) -> Figure:
    width, height = rng.uniform(0.7, 1.8), rng.uniform(0.6, 1.5)
    color = varied(rng, _choice(rng, ((150, 116, 74), (60, 100, 70), (110, 112, 118))))
    pen = Pen(width + 0.05, height + 0.05, scale)
    pen.box(-width / 2, 0, width / 2, height, color)
    for y in np.linspace(0, height, 5)[1:-1]:
        pen.line([(-width / 2, y), (width / 2, y)], 0.03, darker(color, 0.7))
    for x in (-width / 2 + 0.06, width / 2 - 0.06):
        pen.line([(x, 0.03), (x, height - 0.03)], 0.07, darker(color, 0.8))
    return Figure(pen.finished(), height, width, width)


def bush(rng: np.random.Generator, scale: float) -> Figure:
    width, height = rng.uniform(1.2, 3.0), rng.uniform(0.7, 1.2)
    leaf = varied(rng, (70, 104, 52), 25)
    pen = Pen(width + 0.8, height + 0.2, scale)
    for _ in range(16):
        radius = rng.uniform(0.18, 0.34)
        x, y = rng.uniform(-width / 2, width / 2), rng.uniform(0.1, height - radius)
        pen.disc(x, y, radius, darker(leaf, rng.uniform(0.7, 1.25)))
    return Figure(pen.finished(), height, width, width)


def cone(rng: np.random.Generator, scale: float) -> Figure:
    pen = Pen(0.6, 0.85, scale)
    orange = varied(rng, (228, 92, 28))
    pen.box(-0.27, 0, 0.27, 0.08, darker(orange, 0.8))
    pen.polygon([(-0.2, 0.08), (-0.04, 0.8), (0.04, 0.8), (0.2, 0.08)], orange)
    pen.polygon([(-0.14, 0.32), (-0.1, 0.5), (0.1, 0.5), (0.14, 0.32)], (240, 240, 236))
    return Figure(pen.finished(), 0.8, 0.5, 0.5)


LABELLED: dict[str, Callable[[np.random.Generator, float], Figure]] = {
    "Car": car,
    "Cyclist": cyclist,
    "Person": person,
    "Truck": truck,
}
UNLABELLED = (tree, lamp_post, road_sign, crate, bush, cone)


def _car_from_the_side(
    pen: Pen, rng: np.random.Generator, paint: Color, length: float, height: float
) -> None:
    half, belt = length / 2, height * 0.58
    front, rear = rng.uniform(0.42, 0.6) * half, rng.uniform(0.6, 0.95) * half
    roof = [(-rear + 0.1, height), (front - 0.5, height)]
    pen.polygon([(-rear - 0.15, belt), *roof, (front + 0.15, belt)], darker(paint, 0.92))
    pen.box(-half, 0.24, half, belt + 0.04, paint, round=0.22)
    pen.polygon([(-rear + 0.02, belt), *_lowered(roof, 0.1), (front, belt)], _GLASS)
    pillar = (front - rear) / 2 - 0.1
    pen.line([(pillar, 0.3), (pillar, height - 0.05)], 0.07, darker(paint, 0.8))
    pen.box(-half, 0.24, half, 0.34, darker(paint, 0.6), round=0.05)
    pen.line([(pillar - 0.35, belt - 0.12), (pillar - 0.2, belt - 0.12)], 0.05, darker(paint, 0.6))
    pen.box(half - 0.22, belt - 0.24, half, belt - 0.08, _LAMP, round=0.05)
    pen.box(-half, belt - 0.24, -half + 0.16, belt - 0.06, _RED_LAMP, round=0.04)
    for x in (-half * 0.62, half * 0.62):
        pen.disc(x, 0.33, 0.36, darker(paint, 0.45))
        _wheel(pen, x, 0.31)


def _car_from_the_end(pen: Pen, paint: Color, width: float, height: float, *, away: bool) -> None:
    half, belt = width / 2, height * 0.58
    for x in (-half + 0.18, half - 0.18):
        pen.box(x - 0.12, 0, x + 0.12, 0.4, _TYRE, round=0.05)
    roof = [(-half + 0.28, height), (half - 0.28, height)]
    pen.polygon([(-half + 0.06, belt), *roof, (half - 0.06, belt)], darker(paint, 0.92))
    pen.polygon([(-half + 0.17, belt), *_lowered(roof, 0.1), (half - 0.17, belt)], _GLASS)
    pen.box(-half, 0.22, half, belt + 0.04, paint, round=0.18)
    pen.box(-half, 0.22, half, 0.38, darker(paint, 0.6), round=0.08)
    for side in (-1, 1):
        x = side * (half - 0.22)
        pen.box(
            x - 0.17, belt - 0.3, x + 0.17, belt - 0.12, _RED_LAMP if away else _LAMP, round=0.06
        )
        pen.box(side * half - 0.06, belt, side * half + 0.06, belt + 0.13, darker(paint, 0.7))
    if not away:
        pen.box(-0.4, belt - 0.34, 0.4, belt - 0.14, darker(paint, 0.35), round=0.04)
    pen.box(-0.26, 0.38, 0.26, 0.5, (232, 232, 226))


def _truck_from_the_side(
    pen: Pen, rng: np.random.Generator, paint: Color, load: Color, length: float, height: float
) -> None:
    half, cab = length / 2, rng.uniform(1.5, 1.8)
    front, floor = half - cab, 0.85
    pen.box(-half, 0.55, half - 0.1, floor, (52, 54, 60))
    pen.box(-half, floor, front - 0.12, height, load, round=0.05)
    pen.box(-half, floor, front - 0.12, floor + 0.14, darker(load, 0.65))
    pen.box(-half, height - 0.12, front - 0.12, height, darker(load, 0.8))
    if rng.random() < 0.6:
        band = floor + (height - floor) * rng.uniform(0.3, 0.5)
        pen.box(-half, band, front - 0.12, band + 0.4, varied(rng, _choice(rng, _PAINTS)))
    top = height * rng.uniform(0.74, 0.86)
    outline = [(front, 0.45), (front, top), (half - 0.35, top), (half, top * 0.58), (half, 0.45)]
    pen.polygon(outline, paint)
    pane = [(half - 0.85, top * 0.6), (half - 0.85, top - 0.15), (half - 0.42, top - 0.15)]
    pen.polygon([*pane, (half - 0.12, top * 0.6)], _GLASS)
    pen.box(front, 0.45, half, 0.62, darker(paint, 0.55))
    pen.box(half - 0.14, 0.7, half, 0.92, _LAMP)
    pen.box(-half, 0.6, -half + 0.12, 0.8, _RED_LAMP)
    for x in (-half + 0.8, -half + 1.75, half - 0.85):
        _wheel(pen, x, 0.46)


def _truck_from_the_front(pen: Pen, paint: Color, load: Color, width: float, height: float) -> None:
    half, top = width / 2, height * 0.82
    for x in (-half + 0.25, half - 0.25):
        pen.box(x - 0.17, 0, x + 0.17, 0.7, _TYRE, round=0.06)
    pen.box(-half, 0.8, half, height, darker(load, 0.85), round=0.05)
    pen.box(-half + 0.08, 0.38, half - 0.08, top, paint, round=0.12)
    pen.box(-half + 0.2, top * 0.56, half - 0.2, top - 0.18, _GLASS, round=0.08)
    pen.box(-half + 0.5, 0.72, half - 0.5, top * 0.5, darker(paint, 0.4), round=0.05)
    pen.box(-half + 0.08, 0.38, half - 0.08, 0.62, darker(paint, 0.6), round=0.06)
    for side in (-1, 1):
        x = side * (half - 0.3)
        pen.box(x - 0.17, 0.68, x + 0.17, 0.9, _LAMP, round=0.05)
        pen.box(
            side * (half + 0.07) - 0.06, top * 0.6, side * (half + 0.07) + 0.06, top - 0.2, _TYRE
        )


def _truck_from_behind(pen: Pen, paint: Color, load: Color, width: float, height: float) -> None:
    half = width / 2
    for x in (-half + 0.3, half - 0.3):
        pen.box(x - 0.22, 0, x + 0.22, 0.75, _TYRE, round=0.06)
    pen.box(-half, 0.55, half, 0.85, (52, 54, 60))
    pen.box(-half, 0.8, half, height, load, round=0.04)
    pen.box(-half + 0.1, 0.92, half - 0.1, height - 0.12, darker(load, 0.88))
    pen.line([(0, 0.92), (0, height - 0.15)], 0.05, darker(load, 0.6))
    for side in (-1, 1):
        pen.line([(side * 0.25, 1.1), (side * 0.25, height - 0.3)], 0.05, _STEEL)
        x = side * (half - 0.25)
        pen.box(x - 0.2, 0.58, x + 0.2, 0.76, _RED_LAMP)
    pen.box(-0.3, 0.58, 0.3, 0.74, paint)


def _wheel(pen: Pen, x: float, radius: float) -> None:
    pen.disc(x, radius, radius, _TYRE)
    pen.disc(x, radius, radius * 0.58, _STEEL)
    pen.disc(x, radius, radius * 0.2, _TYRE)


def _lowered(points: Iterable[tuple[float, float]], by: float) -> list[tuple[float, float]]:
    return [(x, y - by) for x, y in points]


def _choice(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[int(rng.integers(len(colors)))]
