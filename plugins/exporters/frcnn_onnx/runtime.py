"""A runtime around anything that computes an exported graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from frcnn_core.detector import canvas
from frcnn_core.plugin import Runtime
from frcnn_core.structures import Detections
from frcnn_onnx.joined import IMAGES, SIZES
from frcnn_onnx.metadata import Metadata
from frcnn_onnx.outputs import cut, detections

Answer = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Inputs of the graph by name to its outputs by name."""


def runtime(
    described: Metadata,
    answer: Answer,
    *,
    takes_sizes: bool,
    least: int = 1,
    most: int | None = None,
) -> Runtime:
    """What detects by ``answer``.

    Args:
        takes_sizes: the graph has the input ``image_sizes``.
        least, most: images in the smallest and in the largest batch that ``answer`` takes; None is
            any number.
    """
    is_dynamic = described.preprocessing.is_dynamic
    if is_dynamic:
        least = most = 1  # an image must not see the padding that a batch adds to it

    def run(images: np.ndarray, sizes: np.ndarray) -> Detections:
        if is_dynamic:
            height, width = canvas(sizes[0]).numpy()
            images = images[:, :, :height, :width]
        given = {IMAGES: np.ascontiguousarray(images)} | ({SIZES: sizes} if takes_sizes else {})
        return cut(detections(answer(given), size=images.shape[2:]), sizes)

    def detect(images: Any, sizes: Any) -> Detections:
        channels_first = np.transpose(np.asarray(images, np.float32), (0, 3, 1, 2))
        sizes = np.asarray(sizes, np.float32)
        return in_batches(run, channels_first, sizes, least=least, most=most)

    return Runtime(
        detect,
        described.class_names,
        described.preprocessing,
        described.settings,
        described.precision,
        knows_sizes=takes_sizes,
    )


def in_batches(
    run: Callable[[np.ndarray, np.ndarray], Detections],
    images: np.ndarray,
    sizes: np.ndarray,
    *,
    least: int,
    most: int | None,
) -> Detections:
    """What ``run`` finds in batches of ``least`` to ``most`` images; zeros fill up a smaller one.

    Args:
        run: (images (B, ...), sizes (B, 2)) to detections without proposals.
        images: (N, ...), any number of them.
        sizes: (N, 2).
    """
    if least <= len(images) and (most is None or len(images) <= most):
        return run(images, sizes)
    found = []
    for start in range(0, len(images), most or len(images)):
        part, limits = (array[start:][:most] for array in (images, sizes))
        missing = max(least - len(part), 0)
        answer = run(_filled(part, missing), _filled(limits, missing))
        found.append([field[: len(part)] for field in answer[:-1]])
    boxes, scores, classes, counts = (np.concatenate(fields) for fields in zip(*found, strict=True))
    return Detections(boxes, scores, classes, counts, None)


def _filled(array: np.ndarray, missing: int) -> np.ndarray:
    return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
