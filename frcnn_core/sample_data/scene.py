"""One street scene: who stands where, the picture, and its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from frcnn_core.data import Object
from frcnn_core.sample_data.backdrop import backdrop
from frcnn_core.sample_data.figures import LABELLED, UNLABELLED, Figure

_SCALES = 27.0, 56.0
"""Pixels per metre of the farthest and the nearest figure, in a picture of 320 x 192."""
_LARGEST = 0.5
"""Of a labelled figure, as a fraction of the picture's width."""
_MOST_HIDDEN = 0.6
"""A figure of which more than this fraction is hidden is not labelled."""
_FREQUENCIES = {"Car": 0.35, "Cyclist": 0.2, "Person": 0.28, "Truck": 0.17}


@dataclass(frozen=True)
class _Placed:
    """A figure in the picture; ``left`` and ``top`` may lie outside of it."""

    figure: Figure
    class_name: str | None
    scale: float
    left: int
    top: int

    @property
    def bottom(self) -> int:
        return self.top + self.figure.image.height

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the canvas."""
        return self.left, self.top, self.left + self.figure.image.width, self.bottom


def scene(rng: np.random.Generator, width: int, height: int) -> tuple[Image.Image, list[Object]]:
    """A picture of the given size, and what is labelled in it.

    Boxes are those of the whole figure inside the picture, hidden parts included, as in KITTI.
    """
    horizon = rng.uniform(0.33, 0.45) * height
    camera_height = rng.uniform(2.1, 2.9)
    image = backdrop(rng, width, height, horizon)
    placed = _crowd(rng, width, height, horizon, camera_height)
    owner = _paint(image, placed)
    objects = [
        _label(item, item.class_name, owner == number, width, height, camera_height)
        for number, item in enumerate(placed)
        if item.class_name
    ]
    return _photographed(rng, image), [item for item in objects if item]


def _crowd(
    rng: np.random.Generator, width: int, height: int, horizon: float, camera_height: float
) -> list[_Placed]:
    """Figures in the order of painting, the farthest first."""
    names = list(_FREQUENCIES)
    # A few streets are empty: a detector must also learn to say nothing.
    count = 0 if rng.random() < 0.04 else int(rng.integers(2, 8))
    drawn = [str(rng.choice(names, p=list(_FREQUENCIES.values()))) for _ in range(count)]
    wanted: list[tuple[str | None, Callable[[np.random.Generator, float], Figure]]] = [
        (name, LABELLED[name]) for name in drawn
    ]
    for _ in range(int(rng.integers(1, 6))):
        wanted.append((None, UNLABELLED[int(rng.integers(len(UNLABELLED)))]))
    placed: list[_Placed] = []
    for class_name, draw in wanted:
        for _ in range(12):
            scale = float(np.exp(rng.uniform(*np.log(_SCALES)))) * min(height / 192, width / 320)
            item = _stand(rng, draw(rng, scale), class_name, scale, width, horizon, camera_height)
            if _fits(item, placed, width):
                placed.append(item)
                break
    return sorted(placed, key=lambda item: item.bottom)


def _stand(
    rng: np.random.Generator,
    figure: Figure,
    class_name: str | None,
    scale: float,
    width: int,
    horizon: float,
    camera_height: float,
) -> _Placed:
    """Put a figure on the ground, where the perspective asks for its scale."""
    ground = horizon + camera_height * scale
    left = rng.uniform(-0.4 * figure.image.width, width - 0.6 * figure.image.width)
    return _Placed(figure, class_name, scale, round(left), round(ground) - figure.image.height)


def _fits(item: _Placed, others: list[_Placed], width: int) -> bool:
    if item.class_name and item.figure.image.width > _LARGEST * width:
        return False
    return all(_covered(item, other) <= 0.35 for other in others)


def _covered(a: _Placed, b: _Placed) -> float:
    """Fraction of the farther one's canvas that the nearer one's may hide."""
    far = min(a, b, key=lambda item: item.bottom)
    near = b if far is a else a
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = far.box, near.box
    overlap = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    return overlap / ((ax2 - ax1) * (ay2 - ay1))


def _paint(image: Image.Image, placed: list[_Placed]) -> np.ndarray:
    """Draw the figures; returns (height, width) the number of the one seen at a pixel, or -1."""
    owner = np.full((image.height, image.width), -1)
    for number, item in enumerate(placed):
        _shadow(image, item)
        image.paste(item.figure.image, (item.left, item.top), item.figure.image)
        rows, columns = _inside(item, image.width, image.height)
        owner[rows, columns] = number
    return owner


def _shadow(image: Image.Image, item: _Placed) -> None:
    depth = max(2, round(0.25 * item.scale))
    width = item.figure.image.width
    cover = Image.new("L", (width + 2 * depth, 4 * depth))
    draw = ImageDraw.Draw(cover)
    draw.ellipse((depth, depth, depth + width, depth * 2.6), fill=110)
    cover = cover.filter(ImageFilter.GaussianBlur(depth * 0.25))
    image.paste((20, 20, 26), (item.left - depth, item.bottom - 2 * depth), cover)


def _solid(item: _Placed) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the figure's pixels in the picture's coordinates."""
    rows, columns = np.nonzero(np.asarray(item.figure.image)[..., 3] > 127)
    return rows + item.top, columns + item.left


def _inside(item: _Placed, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = _solid(item)
    keep = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return rows[keep], columns[keep]


def _label(
    item: _Placed, class_name: str, seen: np.ndarray, width: int, height: int, camera_height: float
) -> Object | None:
    rows, columns = _inside(item, width, height)
    if not rows.size or (hidden := 1 - seen.sum() / rows.size) > _MOST_HIDDEN:
        return None
    figure = item.figure
    # A pinhole camera whose focal length is the picture's width.
    distance = width / item.scale
    middle = item.left + figure.image.width / 2
    return Object(
        class_name=class_name,
        x1=float(columns.min()),
        y1=float(rows.min()),
        x2=float(columns.max() + 1),
        y2=float(rows.max() + 1),
        truncation=1 - rows.size / _solid(item)[0].size,
        occlusion=0 if hidden < 0.1 else 1 if hidden < 0.35 else 2,
        height=figure.height,
        width=figure.width,
        length=figure.length,
        x=(middle - width / 2) / item.scale,
        y=camera_height,
        z=distance,
        rotation_y=figure.rotation,
    )


def _photographed(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The picture as a cheap camera takes it: light of some colour, soft, noisy."""
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.55))))
    pixels = np.asarray(image, np.float32)
    light = rng.uniform(0.78, 1.12) * rng.uniform(0.94, 1.06, 3)
    pixels = (pixels - 128) * rng.uniform(0.85, 1.1) + 128
    pixels = pixels * light.astype(np.float32)
    pixels += rng.normal(0, rng.uniform(1.5, 5.0), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
