"""The steps between the parts, each against TensorFlow's on numbers of its own."""

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from exporters.onnx.added_nodes import model_of
from frcnn_core import boxes as geometry
from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.proposals import propose
from frcnn_core.detector.roi_pooling import crop_and_resize
from frcnn_core.detector.settings import DetectionSettings
from frcnn_onnx import detection
from frcnn_onnx.graph import Graph

SIZE, CELLS = (64, 96), (4, 6)
LIMITS = np.array([64, 96, 64, 96], "float32")
ANCHORS = Anchors(scales=(16.0, 32.0), ratios=(1.0, 0.5, 2.0))


def run(graph, results, **inputs):
    """The tensors ``results`` in ONNX Runtime."""
    model = model_of(graph, results, inputs)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


def proposed(logits, deltas, settings, limits=LIMITS, **inputs):
    graph = Graph("test")
    rois = detection.proposals(
        graph,
        graph.tensor("logits"),
        graph.tensor("deltas"),
        grid=ANCHORS.over(*CELLS).numpy(),
        num_rois=min(settings.rpn_nms_max_boxes, ANCHORS.per_cell * CELLS[0] * CELLS[1]),
        limits=limits if isinstance(limits, np.ndarray) else limits(graph),
        settings=settings,
    )
    channels_first = {"logits": logits, "deltas": deltas}
    channels_first = {
        name: np.ascontiguousarray(maps.transpose(0, 3, 1, 2))
        for name, maps in channels_first.items()
    }
    return run(graph, [rois], **channels_first, **inputs)[0]


def rpn_maps(batch=2, seed=0):
    """Logits (B, h, w, A) and deltas (B, h, w, 4A)."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(batch, *CELLS, ANCHORS.per_cell))
    deltas = random.normal(0, 0.7, size=(batch, *CELLS, 4 * ANCHORS.per_cell))
    return logits.astype("float32"), deltas.astype("float32")


def expected_proposals(logits, deltas, settings, sizes):
    batch = len(logits)
    return propose(
        tf.sigmoid(logits.reshape(batch, -1)),
        deltas.reshape(batch, -1, 4),
        ANCHORS.over(*CELLS),
        tf.constant(sizes, tf.float32),
        pre_nms=settings.rpn_pre_nms_top_n,
        post_nms=settings.rpn_nms_max_boxes,
        iou=settings.rpn_nms_overlap_threshold,
    ).boxes.numpy()


@pytest.mark.parametrize(
    "settings",
    [
        DetectionSettings(rpn_pre_nms_top_n=100, rpn_nms_max_boxes=12),
        # More boxes than anchors, and suppression that leaves few: padding.
        DetectionSettings(
            rpn_pre_nms_top_n=1000, rpn_nms_max_boxes=120, rpn_nms_overlap_threshold=0.1
        ),
    ],
)
def test_proposals_are_those_of_tensorflow(settings):
    logits, deltas = rpn_maps()
    expected = expected_proposals(logits, deltas, settings, [SIZE] * 2)
    rois = proposed(logits, deltas, settings)
    assert rois.shape == expected.shape
    assert (expected.any(-1).sum(1) > 5).all(), "a test without proposals shows nothing"
    np.testing.assert_allclose(rois, expected, atol=1e-4)


def test_more_boxes_than_tensorrt_sorts_are_sorted_in_pieces(monkeypatch):
    monkeypatch.setattr(detection, "MOST", 30)
    settings = DetectionSettings(rpn_pre_nms_top_n=100, rpn_nms_max_boxes=70)
    logits, deltas = rpn_maps()
    expected = expected_proposals(logits, deltas, settings, [SIZE] * 2)
    np.testing.assert_allclose(proposed(logits, deltas, settings), expected, atol=1e-4)


def test_proposals_end_where_each_image_does():
    sizes = np.array([[64, 96], [40, 50]], "float32")
    settings = DetectionSettings(rpn_pre_nms_top_n=100, rpn_nms_max_boxes=12)
    logits, deltas = rpn_maps()

    def limits(graph):
        twice = graph.add("Tile", graph.tensor("sizes"), np.array([1, 2], np.int64))
        return twice.unsqueeze(1)

    expected = expected_proposals(logits, deltas, settings, sizes)
    rois = proposed(logits, deltas, settings, limits=limits, sizes=sizes)
    assert rois[1, :, 2].max() == 40
    np.testing.assert_allclose(rois, expected, atol=1e-4)


def test_a_wild_delta_cannot_overflow():
    logits, deltas = rpn_maps(batch=1)
    deltas[:] = 1000.0
    assert np.isfinite(proposed(logits, deltas, DetectionSettings(rpn_nms_max_boxes=5))).all()


@pytest.mark.parametrize("side", [1, 2, 7])
def test_crops_are_those_of_tensorflow(side):
    random = np.random.default_rng(1)
    features = random.normal(size=(2, *CELLS, 3)).astype("float32")
    corners = random.uniform(0, 40, (2, 5, 2))
    rois = np.concatenate([corners, corners + random.uniform(2, 24, (2, 5, 2))], -1)
    rois[0, 0] = 0, 0, *SIZE  # the whole image
    rois[0, 1] = 50, 80, *SIZE  # up to its border, beyond the middle of the last cell
    rois[0, 2] = 0  # padding
    rois[0, 3] = 60, 90, 64, 96  # so small that several samples are beyond it
    rois = rois.astype("float32")
    expected = crop_and_resize(
        tf.constant(features), tf.constant(rois), tf.constant(SIZE), side=side
    )
    graph = Graph("test")
    crops = detection.crops(
        graph,
        graph.tensor("features"),
        graph.tensor("rois"),
        num_rois=5,
        size=np.float32(SIZE),
        cells=np.float32(CELLS),
        side=side,
    )
    channels_first = np.ascontiguousarray(features.transpose(0, 3, 1, 2))
    (found,) = run(graph, [crops], features=channels_first, rois=rois)
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, atol=1e-4)
    if side > 1:
        assert not found[1, :, -1].any(), "what is beyond the last cell is nothing"


SETTINGS = DetectionSettings(
    classifier_nms_max_boxes=8, object_confidence_thres=0.2, classifier_nms_overlap_threshold=0.3
)
SCALE = (10.0, 10.0, 5.0, 5.0)


def head_answers(num_rois=10, num_classes=3, seed=4):
    """Logits (2P, K+1), deltas (2P, 4K) and RoIs (2, P, 4), the last ones padding."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 40, (2, num_rois, 2))
    rois = np.concatenate([corners, corners + random.uniform(8, 50, (2, num_rois, 2))], -1)
    rois = np.minimum(rois, [*SIZE, *SIZE])
    rois[1, -2:] = 0
    logits = random.normal(0, 2, (2 * num_rois, num_classes + 1))
    deltas = random.normal(0, 1, (2 * num_rois, 4 * num_classes))
    return [array.astype("float32") for array in (logits, deltas, rois)]


def found_in(logits, deltas, rois, settings):
    graph = Graph("test")
    found = detection.detections(
        graph,
        graph.tensor("logits"),
        graph.tensor("deltas"),
        graph.tensor("rois"),
        num_rois=rois.shape[1],
        num_classes=deltas.shape[1] // 4,
        regression_scale=SCALE,
        limits=LIMITS,
        settings=settings,
    )
    rows = detection.nms_rows(graph, found, size=np.float32(SIZE))
    results = [found.boxes, found.scores, found.classes, found.counts, *rows]
    return run(graph, results, logits=logits, deltas=deltas, rois=rois)


def slowly(logits, deltas, rois, settings):
    """(score, class, box) of each image, best first, by loops over boxes."""
    num_rois, num_classes = rois.shape[1], deltas.shape[1] // 4
    images = []
    for image in range(len(rois)):
        kept = []
        for label in range(num_classes):
            candidates = []
            for i in range(num_rois):
                row = image * num_rois + i
                y1, x1, y2, x2 = rois[image, i]
                exps = np.exp(logits[row] - logits[row].max())
                score = exps[label] / exps.sum()
                if (y2 - y1) * (x2 - x1) > 0 and score > settings.object_confidence_thres:
                    delta = deltas[row, 4 * label : 4 * label + 4] / np.array(SCALE)
                    box = geometry.decode(tf.constant(delta, tf.float32), rois[image, i]).numpy()
                    candidates.append((score, label, np.clip(box, 0, LIMITS)))
            chosen = []
            for candidate in sorted(candidates, key=lambda one: -one[0]):
                overlaps = [
                    geometry.iou(candidate[2][None], one[2][None]).numpy() for one in chosen
                ]
                if all(iou <= settings.classifier_nms_overlap_threshold for iou in overlaps):
                    chosen.append(candidate)
            kept += chosen
        kept.sort(key=lambda one: -one[0])
        images.append(kept[: settings.classifier_nms_max_boxes])
    return images


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 8, 40])
def test_detections_are_those_of_a_slow_loop(most):
    settings = DetectionSettings(**{**vars(SETTINGS), "classifier_nms_max_boxes": most})
    given = head_answers()
    boxes, scores, classes, counts, _, _ = found_in(*given, settings)
    assert boxes.shape == (2, most, 4)
    for image, expected in enumerate(slowly(*given, settings)):
        assert counts[image] == len(expected) > 2
        for row, (score, label, box) in enumerate(expected):
            assert classes[image, row] == label
            np.testing.assert_allclose(scores[image, row], score, atol=1e-6)
            np.testing.assert_allclose(boxes[image, row], box, atol=1e-4)
        assert (classes[image, counts[image] :] == -1).all()
        assert not boxes[image, counts[image] :].any()
        assert not scores[image, counts[image] :].any()


def test_rows_are_image_class_score_and_fractions_of_the_image():
    boxes, scores, classes, counts, rows, number = found_in(*head_answers(), SETTINGS)
    assert rows.shape == (2, 1, 8, 7)
    np.testing.assert_array_equal(number[:, 0, 0, 0], counts)
    np.testing.assert_array_equal(rows[:, 0, :, 0], [[0] * 8, [1] * 8])
    np.testing.assert_array_equal(rows[:, 0, :, 1], classes)
    np.testing.assert_array_equal(rows[:, 0, :, 2], scores)
    height, width = SIZE
    y1, x1, y2, x2 = np.moveaxis(boxes, -1, 0)
    expected = np.stack([x1 / width, y1 / height, x2 / width, y2 / height], -1)
    np.testing.assert_allclose(rows[:, 0, :, 3:], expected, atol=1e-6)


@pytest.mark.slow
def test_nothing_is_found_where_no_score_is_high_enough():
    settings = DetectionSettings(classifier_nms_max_boxes=5, object_confidence_thres=0.999)
    boxes, _, classes, counts, rows, _ = found_in(*head_answers(), settings)
    assert not counts.any() and not boxes.any()
    assert (classes == -1).all() and (rows[:, 0, :, 1] == -1).all()
