"""What stands between the three parts of a detector, in standard ONNX operators.

The steps and their order are those of ``FasterRCNN.detect`` (frcnn_core/detector/faster_rcnn.py,
proposals.py, roi_pooling.py), and so are the numbers, up to rounding.  Three things are written
differently, because ONNX has other operators:

* Suppression answers with as many boxes as remain.  Their scores are scattered over -1 and the
  best are taken of that, so that every tensor but one has a fixed size and no order is relied on.
* Boxes of the head differ by class, ``NonMaxSuppression`` shares them among classes: classes
  become images of a larger batch.
* ``RoiAlign`` with one sample per bin is ``crop_and_resize`` of a RoI that is half a bin larger at
  each side, and begins half a cell later.

Shape letters are those of ``frcnn_core.structures``; k is the number of boxes before suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frcnn_core.boxes import MAX_LOG_SCALE
from frcnn_core.detector import MIN_SIDE, STRIDE, Anchors, DetectionSettings
from frcnn_onnx.graph import Graph, Tensor

MOST = 3840
"""What TensorRT's TopK gives at most; for more, the best are taken out and the next ones follow."""


@dataclass(frozen=True)
class Found:
    """Detections of a batch; rows beyond the count are zeros, their class -1."""

    boxes: Tensor
    """(B, D, 4) float32 y1, x1, y2, x2 in network pixels."""
    scores: Tensor
    """(B, D) float32, best first."""
    classes: Tensor
    """(B, D) int32."""
    counts: Tensor
    """(B,) int32."""


def proposals(
    graph: Graph,
    logits: Tensor,
    deltas: Tensor,
    *,
    grid: Tensor | np.ndarray,
    num_rois: int,
    limits: Tensor | np.ndarray,
    settings: DetectionSettings,
) -> Tensor:
    """Boxes (B, P, 4) in network pixels, best first; rows of zeros are padding.

    Args:
        logits: (B, A, h, w) objectness.
        deltas: (B, 4A, h, w).
        grid: (N, 4) anchors; a tensor where N depends on the image.
        num_rois: P.
        limits: (4,) or (B, 1, 4) height, width, height, width in pixels.
    """
    scores = graph.add("Sigmoid", logits.transpose(0, 2, 3, 1).reshape(0, -1))  # (B, N)
    deltas = deltas.transpose(0, 2, 3, 1).reshape(0, -1, 4)
    boxes = _clip(_decode(deltas, grid), limits)  # (B, N, 4)
    y1, x1, y2, x2 = boxes.split(4, axis=-1)
    usable = (y2 - y1 > MIN_SIDE) & (x2 - x1 > MIN_SIDE)
    scores = graph.add("Where", usable.reshape(0, -1), scores, -1.0)
    most = settings.rpn_pre_nms_top_n
    num_boxes: Tensor | int
    if isinstance(grid, Tensor):
        count = graph.add("Shape", grid, start=0, end=1)
        num_boxes = graph.add("Min", count, np.array([most], np.int64))
    else:
        num_boxes = min(most, len(grid))
    scores, order = _best(scores, num_boxes)  # (B, k)
    boxes = _rows(boxes, order)
    kept = _suppress(
        boxes,
        scores,
        most=settings.rpn_nms_max_boxes,
        iou=settings.rpn_nms_overlap_threshold,
        threshold=-0.5,
    )
    if isinstance(grid, Tensor):  # there may be fewer anchors than P
        kept = graph.add("Pad", kept, np.array([0, 0, 0, num_rois], np.int64), -1.0)
        boxes = graph.add("Pad", boxes, np.array([0, 0, 0, 0, num_rois, 0], np.int64), 0.0)
    scores, order = _best(kept, num_rois)  # (B, P)
    return _where_found(scores, _rows(boxes, order))


def crops(
    graph: Graph,
    features: Tensor,
    rois: Tensor,
    *,
    num_rois: int,
    size: Tensor | np.ndarray,
    cells: Tensor | np.ndarray,
    side: int,
) -> Tensor:
    """Crops (B*P, C, S, S) of the feature map (B, C, h, w) under RoIs (B, P, 4).

    Args:
        num_rois: P.
        size: (2,) float32 H and W; tensors for a dynamic shape, whose RoIs end at the last pixel
            (``roi_pooling.crop_and_resize``).
        cells: (2,) float32 h and w.
        side: S.
    """
    is_dynamic = isinstance(size, Tensor)
    last_pixel: Any
    last_cell: Any
    last_pixel, last_cell = (twice(pair) - 1.0 for pair in (size, cells))
    if is_dynamic:
        corners = graph.add("Min", rois / last_pixel, np.float32(1.0 - 1e-6)) * last_cell
    else:
        corners = rois * (last_cell / last_pixel)
    corners = corners.reshape(-1, 4)  # (B*P, 4) in cells
    y1, x1, y2, x2 = corners.split(4, axis=-1)
    # Samples are in the middle of bins, the first and last of them on the RoI's border.
    widen = 0.5 / (side - 1) if side > 1 else -0.5
    bounds = [
        edge + (end - start) * (sign * widen) + 0.5
        for sign, edges in ((-1, (x1, y1)), (1, (x2, y2)))
        for edge, start, end in zip(edges, (x1, y1), (x2, y2), strict=True)
    ]
    crops = graph.add(
        "RoiAlign",
        features,
        graph.add("Concat", *bounds, axis=-1),
        _image_of_each(rois, num_rois),
        mode="avg",
        output_height=side,
        output_width=side,
        sampling_ratio=1,
        spatial_scale=1.0,
        coordinate_transformation_mode="half_pixel",
    )
    if is_dynamic:
        return crops
    # A RoI may end at the image's border, beyond the middle of the last cell. There is nothing
    # there, where RoiAlign goes on with the last cell.
    along = np.linspace(0, 1, side, dtype=np.float32) if side > 1 else np.array([0.5], np.float32)
    rows = y1 + (y2 - y1) * along > last_cell[0]  # (B*P, S)
    columns = x1 + (x2 - x1) * along > last_cell[1]
    beyond = graph.add("Or", rows.unsqueeze(1, 3), columns.unsqueeze(1, 2))  # (B*P, 1, S, S)
    return graph.add("Where", beyond, 0.0, crops)


def detections(
    graph: Graph,
    logits: Tensor,
    deltas: Tensor,
    rois: Tensor,
    *,
    num_rois: int,
    num_classes: int,
    regression_scale: tuple[float, float, float, float],
    limits: Tensor | np.ndarray,
    settings: DetectionSettings,
) -> Found:
    """The head's answer after decoding and suppression.

    Args:
        logits: (B*P, K+1), background last.
        deltas: (B*P, 4K).
        rois: (B, P, 4) in network pixels.
        num_rois: P.
        num_classes: K.
        regression_scale: that deltas are divided by (``classifier_regr_std``).
        limits: as for ``proposals``.
    """
    scores = graph.add("Softmax", logits, axis=-1)
    scores = scores.reshape(-1, num_rois, num_classes + 1).slice(0, num_classes, axis=2)
    y1, x1, y2, x2 = rois.split(4, axis=-1)
    is_roi = (y2 - y1) * (x2 - x1) > 0.0  # (B, P, 1)
    scores = graph.add("Where", is_roi, scores, 0.0).transpose(0, 2, 1)  # (B, K, P)
    deltas = deltas.reshape(-1, num_rois, num_classes, 4).transpose(0, 2, 1, 3)  # (B, K, P, 4)
    deltas = deltas / np.array(regression_scale, np.float32)
    boxes = _decode(deltas, rois.unsqueeze(1)).reshape(-1, num_classes * num_rois, 4)
    boxes = _clip(boxes, limits)  # (B, K*P, 4)
    kept = _suppress(
        boxes.reshape(-1, num_rois, 4),
        scores.reshape(-1, num_rois),
        most=settings.classifier_nms_max_boxes,
        iou=settings.classifier_nms_overlap_threshold,
        threshold=settings.object_confidence_thres,
    ).reshape(-1, num_classes * num_rois)
    num_found = settings.classifier_nms_max_boxes
    if num_found > num_classes * num_rois:
        missing = np.array([0, 0, 0, num_found - num_classes * num_rois], np.int64)
        kept = graph.add("Pad", kept, missing, -1.0)
        boxes = graph.add("Pad", boxes, np.insert(missing, [2, 4], 0), 0.0)
    scores, order = _best(kept, num_found)  # (B, D)
    found = scores > -0.5
    classes = (order / num_rois).cast(np.int32)
    return Found(
        boxes=_where_found(scores, _rows(boxes, order)),
        scores=graph.add("Where", found, scores, 0.0),
        classes=graph.add("Where", found, classes, np.int32(-1)),
        counts=graph.add("ReduceSum", found.cast(np.int32), np.array([1], np.int64), keepdims=0),
    )


def anchor_grid(features: Tensor, anchors: Anchors) -> Tensor:
    """Anchors (h*w*A, 4) over a feature map (B, C, h, w) of any size; as ``Anchors.over``."""
    graph = features.graph

    def centres(axis: int) -> Tensor:
        count = graph.add("Shape", features, start=axis, end=axis + 1)
        last = graph.add("Squeeze", count, np.array([0], np.int64))
        return (graph.add("Range", np.int64(0), last, np.int64(1)).cast(np.float32) + 0.5) * float(
            STRIDE
        )

    y = centres(2).reshape(-1, 1, 1, 1)
    x = centres(3).reshape(1, -1, 1, 1)
    y, x = y + x * 0.0, x + y * 0.0  # (h, w, 1, 1)
    half = 0.5 * anchors.sizes  # (A, 2)
    corners = np.concatenate([-half, half], axis=-1)  # (A, 4)
    return (graph.add("Concat", y, x, y, x, axis=-1) + corners).reshape(-1, 4)


def twice(pair: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """(4,) height, width, height, width of (2,)."""
    if isinstance(pair, Tensor):
        return pair.graph.add("Tile", pair, np.array([2], np.int64))
    return np.tile(pair, 2)


def nms_rows(graph: Graph, found: Found, *, size: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """The outputs ``NMS`` (B, 1, D, 7) and ``NMS_1`` (B, 1, 1, 1) of the original's graph.

    Rows are image of the batch, class, score, x1, y1, x2, y2; boxes as fractions of ``size``,
    height and width of the network's input in pixels.

    Source: what TensorRT's plugin NMS_TRT makes and DeepStream's parser of it reads.
    """
    height, width = size.split(2, axis=0) if isinstance(size, Tensor) else size
    y1, x1, y2, x2 = found.boxes.split(4, axis=-1)  # (B, D, 1)
    number = (
        _numbers(found.boxes).cast(np.float32).reshape(-1, 1, 1)
        + found.boxes.slice(0, 1, axis=2) * 0.0
    )
    columns = [
        number,
        found.classes.cast(np.float32).unsqueeze(-1),
        found.scores.unsqueeze(-1),
        x1 / width,
        y1 / height,
        x2 / width,
        y2 / height,
    ]
    rows = graph.add("Concat", *columns, axis=-1)
    return rows.unsqueeze(1), found.counts.reshape(-1, 1, 1, 1)


def _decode(deltas: Tensor, anchors: Tensor | np.ndarray) -> Tensor:
    """Boxes of deltas (..., 4) from anchors (..., 4), which broadcast; as ``boxes.decode``."""
    graph = deltas.graph
    dx, dy, dw, dh = deltas.split(4, axis=-1)
    sides: Sequence[Any]
    if isinstance(anchors, Tensor):
        sides = anchors.split(4, axis=-1)
    else:
        sides = np.split(anchors, 4, axis=-1)
    y1, x1, y2, x2 = sides
    height, width, y, x = y2 - y1, x2 - x1, (y1 + y2) * 0.5, (x1 + x2) * 0.5
    y, x = dy * height + y, dx * width + x
    most = np.float32(MAX_LOG_SCALE)
    half_height = graph.add("Exp", graph.add("Min", dh, most)) * height * 0.5
    half_width = graph.add("Exp", graph.add("Min", dw, most)) * width * 0.5
    corners = [y - half_height, x - half_width, y + half_height, x + half_width]
    return graph.add("Concat", *corners, axis=-1)


def _clip(boxes: Tensor, limits: Tensor | np.ndarray) -> Tensor:
    graph = boxes.graph
    return graph.add("Min", graph.add("Max", boxes, 0.0), limits)


def _best(scores: Tensor, number: Tensor | int) -> tuple[Tensor, Tensor]:
    """The largest of scores (B, N), and their indices int64; of equal ones the first."""
    graph = scores.graph
    if isinstance(number, Tensor):
        return graph.add("TopK", scores, number, axis=-1, num_results=2)
    count = np.array([min(number, MOST)], np.int64)
    best, order = graph.add("TopK", scores, count, axis=-1, num_results=2)
    if number <= MOST:
        return best, order
    others = graph.add("ScatterElements", scores, order, best * 0.0 - 2.0, axis=1)
    worse, following = _best(others, number - MOST)
    return (
        graph.add("Concat", best, worse, axis=-1),
        graph.add("Concat", order, following, axis=-1),
    )


def _rows(boxes: Tensor, order: Tensor) -> Tensor:
    """Boxes (B, N, 4) in another order (B, k)."""
    return boxes.graph.add("GatherND", boxes, order.unsqueeze(-1), batch_dims=1)


def _where_found(scores: Tensor, boxes: Tensor) -> Tensor:
    """Boxes (B, N, 4), zeros where the scores (B, N) are -1."""
    return boxes.graph.add("Where", (scores > -0.5).unsqueeze(-1), boxes, 0.0)


def _suppress(boxes: Tensor, scores: Tensor, *, most: int, iou: float, threshold: float) -> Tensor:
    """Scores (B, N), with -1 for what is suppressed or does not exceed the threshold."""
    graph = boxes.graph
    scores = scores.unsqueeze(1)  # (B, 1, N): one class
    kept = graph.add(
        "NonMaxSuppression",
        boxes,
        scores,
        np.array([most], np.int64),
        np.array([iou], np.float32),
        np.array([threshold], np.float32),
    )  # image, class, box of each
    nothing = scores * 0.0 - 1.0
    remaining = graph.add("ScatterND", nothing, kept, graph.add("GatherND", scores, kept))
    return graph.add("Squeeze", remaining, np.array([1], np.int64))


def _numbers(tensor: Tensor) -> Tensor:
    """(B,) int64: 0, 1, ... for a tensor (B, ...)."""
    graph = tensor.graph
    batch = graph.add("Shape", tensor, start=0, end=1)
    count = graph.add("Squeeze", batch, np.array([0], np.int64))
    return graph.add("Range", np.int64(0), count, np.int64(1))


def _image_of_each(rois: Tensor, num_rois: int) -> Tensor:
    """(B*P,) int64: to which image of the batch each RoI belongs."""
    ones = np.ones([1, num_rois], np.int64)
    return (_numbers(rois).unsqueeze(1) * ones).reshape(-1)
