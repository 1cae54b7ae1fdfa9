"""Detections from what an exported graph answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from frcnn_core.structures import Detections


def detections(outputs: Mapping[str, np.ndarray], *, size: tuple[int, int]) -> Detections:
    """Detections in network pixels, without proposals.

    Args:
        outputs: by name: ``NMS`` (B, 1, D, 7) and ``NMS_1`` (B, 1, 1, 1), or ``boxes``,
            ``scores``, ``classes`` and ``counts``.
        size: H and W of the network's input in pixels.
    """
    if "boxes" in outputs:
        boxes, scores, classes, counts = (
            outputs[name] for name in ("boxes", "scores", "classes", "counts")
        )
        return Detections(boxes, scores, classes.astype(np.int32), counts.astype(np.int32), None)
    rows = outputs["NMS"]
    rows = rows.reshape(rows.shape[0], -1, 7)  # (B, D, 7)
    counts = outputs["NMS_1"].reshape(-1).astype(np.int32)
    found = np.arange(rows.shape[1]) < counts[:, None]
    boxes = rows[..., [4, 3, 6, 5]] * np.array(size * 2, np.float32)
    return Detections(
        boxes=np.where(found[..., None], boxes, np.float32(0)),
        scores=np.where(found, rows[..., 2], np.float32(0)),
        classes=np.where(found, rows[..., 1], -1).astype(np.int32),
        counts=counts,
        proposals=None,
    )


def cut(found: Detections, sizes: np.ndarray) -> Detections:
    """Detections whose boxes end where the image does.

    Args:
        sizes: (B, 2) height and width in pixels of the part that is no padding.
    """
    limits = np.tile(np.asarray(sizes, np.float32), 2)[:, None, :]
    return found._replace(boxes=np.minimum(found.boxes, limits))
