"""The three plugins of TensorRT in numpy, for ONNX's reference evaluator.

Written from TensorRT's open source: ``proposalKernel.cu``, ``cropAndResizeKernel.cu`` and
``kernels/`` of ``nmsPlugin``; slow, and one box at a time where they are.
"""

import numpy as np
from onnx.reference.op_run import OpRun


def overlap(a, b, plus):
    """IoU of boxes x1, y1, x2, y2 whose sides are ``plus`` longer than their corners tell."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + plus, 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + plus, 0.0)
    areas = [(box[2] - box[0] + plus) * (box[3] - box[1] + plus) for box in (a, b)]
    return width * height / max(sum(areas) - width * height, 1e-12)


def survivors(boxes, *, iou, most, plus):
    """Numbers of the boxes, best first, that none before them overlaps by more than ``iou``."""
    kept = []
    for i, box in enumerate(boxes):
        if len(kept) < most and all(overlap(box, boxes[j], plus) <= iou for j in kept):
            kept.append(i)
    return kept


class ProposalDynamic(OpRun):
    op_domain = ""

    def _run(
        self,
        scores,
        deltas,
        input_height,
        input_width,
        rpn_stride,
        roi_min_size,
        nms_iou_threshold,
        pre_nms_top_n,
        post_nms_top_n,
        anchor_sizes,
        anchor_ratios,
    ):
        rois = np.zeros([len(scores), post_nms_top_n, 4, 1], np.float32)
        for image, out in enumerate(rois):
            boxes, ranks = [], []
            for (anchor, row, column), score in np.ndenumerate(scores[image]):
                size = anchor_sizes[anchor // len(anchor_ratios)]
                root = np.sqrt(anchor_ratios[anchor % len(anchor_ratios)])
                width, height = size * root, size / root
                dx, dy, dw, dh = deltas[image, 4 * anchor : 4 * anchor + 4, row, column]
                x = (column + 0.5) * rpn_stride + width * dx
                y = (row + 0.5) * rpn_stride + height * dy
                width, height = width * np.exp(dw), height * np.exp(dh)
                last = np.array([input_width, input_height] * 2) - 1.0
                box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
                box = np.clip(box, 0.0, last)
                is_small = box[2] - box[0] <= roi_min_size or box[3] - box[1] <= roi_min_size
                boxes.append(box / 1.0)
                ranks.append(-np.inf if is_small else score)
            order = np.argsort(-np.array(ranks), kind="stable")[:pre_nms_top_n]
            boxes = np.array(boxes)[order]
            kept = survivors(boxes, iou=nms_iou_threshold, most=post_nms_top_n, plus=1.0)
            out[: len(kept), :, 0] = (boxes[kept] / last)[:, [1, 0, 3, 2]]
        return (rois,)


class CropAndResizeDynamic(OpRun):
    op_domain = ""

    def _run(self, features, rois, crop_height, crop_width):
        images, depth, height, width = features.shape
        crops = np.zeros([images, rois.shape[1], depth, crop_height, crop_width], np.float32)
        for image, roi in np.ndindex(crops.shape[:2]):
            y1, x1, y2, x2 = rois[image, roi, :, 0]
            for i, j in np.ndindex(crop_height, crop_width):
                y = (y1 + i * (y2 - y1) / (crop_height - 1)) * (height - 1)
                x = (x1 + j * (x2 - x1) / (crop_width - 1)) * (width - 1)
                if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                    continue
                top, left = int(np.floor(y)), int(np.floor(x))
                bottom, right = int(np.ceil(y)), int(np.ceil(x))
                upper, lower = (
                    features[image, :, row, left] * (left + 1 - x)
                    + features[image, :, row, right] * (x - left)
                    for row in (top, bottom)
                )
                crops[image, roi, :, i, j] = upper * (top + 1 - y) + lower * (y - top)
        return (crops,)


class NMSDynamic_TRT(OpRun):
    op_domain = ""

    def _run(
        self,
        *inputs,
        shareLocation,
        varianceEncodedInTarget,
        backgroundLabelId,
        confidenceThreshold,
        nmsThreshold,
        topK,
        codeType,
        keepTopK,
        numClasses,
        inputOrder,
        confSigmoid,
        isNormalized,
        scoreBits,
    ):
        # What follows knows these alone.
        assert (shareLocation, varianceEncodedInTarget, codeType) == (0, 1, 1)
        assert (confSigmoid, isNormalized) == (0, 1)
        locations, confidences, priors = (inputs[i] for i in inputOrder)
        images = len(priors)
        rows = np.zeros([images, 1, keepTopK, 7], np.float32)
        rows[..., 1] = -1
        counts = np.zeros([images, 1, 1, 1], np.int32)
        for image in range(images):
            anchors = priors[image, 0].reshape(-1, 4)
            offsets = locations[image].reshape(len(anchors), numClasses, 4)
            scores = confidences[image].reshape(len(anchors), numClasses)
            found = []
            for label in set(range(numClasses)) - {backgroundLabelId}:
                order = np.argsort(-scores[:, label], kind="stable")
                order = [i for i in order if scores[i, label] > confidenceThreshold][:topK]
                boxes = [self._decode(anchors[i], offsets[i, label]) for i in order]
                for i in survivors(boxes, iou=nmsThreshold, most=len(boxes), plus=0.0):
                    found.append((image, label, scores[order[i], label], *boxes[i]))
            found = sorted(found, key=lambda row: -row[2])[:keepTopK]
            rows[image, 0, : len(found)] = np.reshape(found, [-1, 7])
            counts[image] = len(found)
        return rows, counts

    @staticmethod
    def _decode(anchor, offset):
        x1, y1, x2, y2 = anchor
        x = (x1 + x2) / 2 + offset[0] * (x2 - x1)
        y = (y1 + y2) / 2 + offset[1] * (y2 - y1)
        width, height = np.exp(offset[2]) * (x2 - x1), np.exp(offset[3]) * (y2 - y1)
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


PLUGINS = [ProposalDynamic, CropAndResizeDynamic, NMSDynamic_TRT]
