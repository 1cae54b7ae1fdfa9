"""The empty street: sky, skyline, ground and road."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from frcnn_core.sample_data.pen import Color, darker, varied

_SKIES = (
    ((96, 148, 214), (206, 224, 240)),
    ((150, 162, 176), (206, 210, 214)),
    ((88, 100, 150), (240, 190, 150)),
    ((64, 110, 170), (170, 200, 222)),
)
_GROUNDS = ((104, 128, 70), (150, 142, 126), (132, 134, 138), (160, 146, 112))
_WALLS = ((158, 110, 88), (186, 172, 146), (142, 146, 152), (196, 190, 180), (116, 96, 92))
_FINER = 2


def backdrop(rng: np.random.Generator, width: int, height: int, horizon: float) -> Image.Image:
    """An RGB street without anybody in it.

    Args:
        horizon: row in pixels where the ground begins.
    """
    width, height, horizon = width * _FINER, height * _FINER, round(horizon * _FINER)
    image = Image.fromarray(_sky(rng, width, height, horizon))
    _clouds(rng, image, horizon)
    draw = ImageDraw.Draw(image)
    _skyline(rng, draw, width, horizon)
    _ground(rng, draw, width, height, horizon)
    image = image.resize((width // _FINER, height // _FINER), Image.Resampling.BOX)
    texture = _clouded_noise(rng, image.height, image.width, cell=5) * 0.045
    texture += _clouded_noise(rng, image.height, image.width, cell=31) * 0.07
    texture[: horizon // _FINER] *= 0.3
    pixels = np.asarray(image, np.float32) * (1 + texture[..., None])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _sky(rng: np.random.Generator, width: int, height: int, horizon: int) -> np.ndarray:
    above, below = _SKIES[int(rng.integers(len(_SKIES)))]
    zenith, haze = np.array(varied(rng, above), float), np.array(varied(rng, below, 12), float)
    rows = np.linspace(0, 1, horizon)[:, None] * (haze - zenith) + zenith
    rows = np.concatenate([rows, np.tile(haze, (height - horizon, 1))])
    return np.tile(rows[:, None], (1, width, 1)).astype(np.uint8)


def _clouds(rng: np.random.Generator, image: Image.Image, horizon: int) -> None:
    cover = Image.new("L", image.size)
    draw = ImageDraw.Draw(cover)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, image.width), rng.uniform(0, horizon * 0.7)
        for _ in range(6):
            rx, ry = rng.uniform(0.02, 0.08) * image.width, rng.uniform(0.02, 0.05) * image.height
            left, top = x + rng.normal(0, 0.05 * image.width) - rx, y - ry
            draw.ellipse((left, top, left + 2 * rx, top + 2 * ry), fill=int(rng.integers(90, 190)))
    cover = cover.filter(ImageFilter.GaussianBlur(image.height * 0.012))
    image.paste((250, 250, 252), (0, 0), cover)


def _skyline(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, horizon: int) -> None:
    if rng.random() < 0.35:
        _hills(rng, draw, width, horizon)
    x, crowded, dusk = 0.0, rng.uniform(0.3, 1.0), bool(rng.random() < 0.2)
    while x < width:
        wide = rng.uniform(0.06, 0.22) * width
        if rng.random() < crowded:
            tall = rng.uniform(0.3, 0.95) * horizon
            _building(rng, draw, (x, horizon - tall, x + wide, horizon + 4), dusk=dusk)
        x += wide


def _hills(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, horizon: int) -> None:
    color = varied(rng, (110, 128, 120))
    for _ in range(3):
        x, wide, tall = rng.uniform(0, width), rng.uniform(0.3, 0.7) * width, horizon * 0.3
        draw.ellipse((x - wide, horizon - tall, x + wide, horizon + tall), fill=color)
        color = darker(color, 0.9)


def _building(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: tuple[float, ...], *, dusk: bool
) -> None:
    wall = varied(rng, _WALLS[int(rng.integers(len(_WALLS)))], 14)
    x1, y1, x2, y2 = box
    draw.rectangle(box, fill=wall)
    draw.rectangle((x1, y1, x2, y1 + 4), fill=darker(wall, 0.75))
    step_x, step_y = rng.uniform(14, 24), rng.uniform(16, 26)
    pane, lit = darker(wall, 0.5), (244, 214, 140)
    for y in np.arange(y1 + 12, y2 - step_y, step_y):
        for x in np.arange(x1 + 7, x2 - step_x * 0.6, step_x):
            color: Color = lit if dusk and rng.random() < 0.4 else pane
            draw.rectangle((x, y, x + step_x * 0.5, y + step_y * 0.55), fill=color)


def _ground(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int, horizon: int
) -> None:
    ground = varied(rng, _GROUNDS[int(rng.integers(len(_GROUNDS)))], 14)
    asphalt = darker(varied(rng, (98, 98, 102), 5), rng.uniform(0.65, 1.3))
    draw.rectangle((0, horizon, width, height), fill=ground)
    if rng.random() < 0.5:
        _road_ahead(rng, draw, width, height, horizon, asphalt)
    else:
        _road_across(rng, draw, width, height, horizon, asphalt)


def _road_ahead(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    width: int,
    height: int,
    horizon: int,
    asphalt: Color,
) -> None:
    """A road that runs to a vanishing point."""
    vanish = rng.uniform(0.3, 0.7) * width
    left, right = vanish - rng.uniform(0.7, 1.3) * width, vanish + rng.uniform(0.7, 1.3) * width
    kerb = 0.06 * width
    for spread, color in ((kerb, darker(asphalt, 1.5)), (0, asphalt)):
        draw.polygon(
            [(left - spread, height), (vanish, horizon), (right + spread, height)], fill=color
        )
    for lane in (0.25, 0.5, 0.75):
        foot = left + (right - left) * lane
        for near in np.arange(0.08, 1.0, 0.13) ** 1.6:
            far, half = near * 1.18, 0.009 * width
            points = [
                (vanish + (foot - vanish) * t + sign * half * t, horizon + (height - horizon) * t)
                for t, sign in ((near, -1), (far, -1), (far, 1), (near, 1))
            ]
            draw.polygon(points, fill=(222, 220, 206))


def _road_across(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    width: int,
    height: int,
    horizon: int,
    asphalt: Color,
) -> None:
    """A road that runs from left to right."""
    depth = height - horizon
    top, bottom = horizon + depth * rng.uniform(0.1, 0.25), horizon + depth * rng.uniform(0.75, 1.1)
    draw.rectangle((0, top - depth * 0.05, width, bottom + depth * 0.06), fill=darker(asphalt, 1.4))
    draw.rectangle((0, top, width, bottom), fill=asphalt)
    middle, dash = (top + bottom * 0.85) / 1.85, rng.uniform(0.05, 0.09) * width
    for x in np.arange(rng.uniform(-dash, 0), width, 2 * dash):
        draw.rectangle((x, middle, x + dash, middle + depth * 0.025), fill=(222, 220, 206))


def _clouded_noise(rng: np.random.Generator, height: int, width: int, *, cell: int) -> np.ndarray:
    """(height, width) smooth noise of unit deviation, with blobs of ``cell`` pixels."""
    coarse = rng.normal(size=(height // cell + 2, width // cell + 2)).astype(np.float32)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image)
