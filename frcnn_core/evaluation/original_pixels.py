"""From a batch in network pixels to single images in pixels of the original image (numpy).

Padding rows go, boxes are clipped to the image.  Used wherever results leave the network, so
that evaluation scores exactly the boxes that inference writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from frcnn_core.structures import Batch, Detections, GroundTruth, ImageDetections


def detections_per_image(
    detections: Detections, sizes: Any, scales: Any
) -> Iterator[ImageDetections]:
    """What was detected in each image of a batch.

    Args:
        detections: of B images; tensors or arrays.  Its ``proposals`` may be None.
        sizes: (B, 2) valid height and width in network pixels.
        scales: (B, 2) (y, x) network pixels per pixel of the original image.
    """
    sizes, scales = np.asarray(sizes), np.asarray(scales)
    boxes, scores, classes, counts = (np.asarray(part) for part in detections[:4])
    proposals = None if detections.proposals is None else np.asarray(detections.proposals)
    for image, count in enumerate(counts):
        yield ImageDetections(
            _restore(boxes[image, :count], sizes[image], scales[image]),
            scores[image, :count],
            classes[image, :count],
            None
            if proposals is None
            else _restore(_with_area(proposals[image]), sizes[image], scales[image]),
        )


def truth_per_image(batch: Batch) -> Iterator[GroundTruth]:
    """What is in each image of a batch."""
    boxes, classes, scales = (
        np.asarray(part) for part in (batch.boxes, batch.classes, batch.scales)
    )
    difficult = np.asarray(batch.difficult)
    for image, name in enumerate(np.asarray(batch.names).tolist()):
        real = classes[image] >= 0
        yield GroundTruth(
            name.decode() if isinstance(name, bytes) else name,
            boxes[image, real] / np.tile(scales[image], 2),
            classes[image, real],
            difficult[image, real],
        )


def _restore(boxes: np.ndarray, size: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N, 4) boxes of the original image, clipped to it."""
    return np.clip(boxes, 0, np.tile(size, 2)) / np.tile(scale, 2)


def _with_area(boxes: np.ndarray) -> np.ndarray:
    """The boxes that are not padding."""
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
