"""What the network sees of images and boxes: the rules of the input pipeline, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from frcnn_core.data import ClassMap, Preprocessing
from frcnn_core.data.preprocessing import dynamic_size


class Fit(NamedTuple):
    """How an image comes to the network."""

    size: tuple[int, int]
    """(height, width) in network pixels, padding not counted."""
    scale: tuple[float, float]
    """(y, x) network pixels per pixel of the image."""


@dataclass(frozen=True)
class NetworkView:
    """How an experiment spec has images and objects brought to the network."""

    preprocessing: Preprocessing
    class_map: ClassMap
    min_box_size: tuple[float, float] = (1.0, 1.0)
    """(height, width) in network pixels, at least 1: smaller objects are left out."""
    max_objects: int | None = None
    """In training only the largest are kept of more; None is no limit."""

    def class_of(self, label: str) -> str | None:
        """The class that objects of this label name are of; None if they are left out."""
        return self.class_map.target(label)

    def of_split(self, *, trains: bool) -> NetworkView:
        """The view of a split; evaluation leaves out only what is below a pixel."""
        return self if trains else replace(self, min_box_size=(1.0, 1.0), max_objects=None)

    def fit(self, size: tuple[int, int]) -> Fit:
        """How an image of (height, width) comes to the network."""
        return _fit(self.preprocessing, size)

    def boxes(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Boxes in network pixels, clipped to what is seen of the image.

        Args:
            boxes: (N, 4) (y1, x1, y2, x2) in pixels of the image.
            size: (height, width) of the image.

        Returns:
            (N, 4) float32.
        """
        seen, scale = self.fit(size)
        scaled = np.asarray(boxes, np.float32).reshape(-1, 4) * np.array(
            [*scale, *scale], np.float32
        )
        return np.clip(scaled, 0, np.array([*seen, *seen], np.float32))

    def large_enough(self, boxes: np.ndarray) -> np.ndarray:
        """(N,) bool: which boxes (N, 4) in network pixels are not left out for their size."""
        least = np.maximum(np.array(self.min_box_size, np.float32), 1)
        return ((boxes[:, 2:] - boxes[:, :2]) >= least).all(axis=1)


@lru_cache(maxsize=65536)
def _fit(preprocessing: Preprocessing, size: tuple[int, int]) -> Fit:
    height, width = size
    if preprocessing.is_dynamic:
        sides = dynamic_size(height, width, preprocessing.min_side, preprocessing.max_side)
        target = (int(sides[0]), int(sides[1]))
    elif preprocessing.resize:
        target = (preprocessing.height, preprocessing.width)
    else:
        return Fit((min(height, preprocessing.height), min(width, preprocessing.width)), (1.0, 1.0))
    return Fit(target, (target[0] / height, target[1] / width))
