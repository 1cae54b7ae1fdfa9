"""The VOC metrics: published numbers, the devkit's definition in plain loops, and the table."""

import json
import math

import numpy as np
import pytest

import frcnn_voc
from frcnn_core.structures import GroundTruth, ImageDetections

NAMES = ("bird", "car", "dog")
BOX, OTHER, AWAY = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


def scored(images, metric=None, *, names=NAMES, ious=(0.5,), score_threshold=0.0):
    metric = metric or frcnn_voc.Voc12()
    accumulator = metric.start(names, iou_thresholds=ious, score_threshold=score_threshold)
    for truth, detections in images:
        accumulator.update(truth, detections)
    return accumulator.result()


def image(truths=(), found=(), proposals=None):
    """Truths are (box, class[, difficult]), found are (box, class, score)."""
    return (
        GroundTruth(
            "",
            np.array([truth[0] for truth in truths], np.float32).reshape(-1, 4),
            np.array([truth[1] for truth in truths], np.int32),
            np.array([len(truth) > 2 and truth[2] for truth in truths], bool),
        ),
        ImageDetections(
            np.array([row[0] for row in found], np.float32).reshape(-1, 4),
            np.array([row[2] for row in found], np.float32),
            np.array([row[1] for row in found], np.int32),
            None if proposals is None else np.array(proposals, np.float32).reshape(-1, 4),
        ),
    )


def row(result, name="bird", table=0):
    return result.values["tables"][table]["classes"][name]


def golden_image():
    """Labels 1, 0, 1, 1, 0, 1 by descending score, and five objects."""
    truths = [([20 * i, 0, 20 * i + 10, 10], 0) for i in range(5)]
    boxes = [truths[0][0], AWAY, truths[1][0], truths[2][0], AWAY, truths[3][0]]
    boxes = [box if box is not AWAY else [0, 50, 10, 60] for box in boxes]
    return image(truths, [(box, 0, 0.9 - 0.1 * i) for i, box in enumerate(boxes)])


@pytest.mark.parametrize(
    "metric, expected", [(frcnn_voc.Voc07(), 0.6590909), (frcnn_voc.Voc12(), 0.6333333)]
)
def test_the_golden_example_has_its_published_ap(metric, expected):
    assert scored([golden_image()], metric).primary == pytest.approx(expected, abs=1e-7)


def test_a_recall_of_three_tenths_misses_the_point_at_three_tenths_as_in_the_original():
    """3 * 0.1 is 0.30000000000000004 in floats, above 3 / 10: so everybody's numbers have it."""
    truths = [([20 * i, 0, 20 * i + 10, 10], 0) for i in range(10)]
    found = [(box, 0, 0.9) for box, _ in truths[:3]]
    assert scored([image(truths, found)], frcnn_voc.Voc07()).primary == pytest.approx(3 / 11)


def devkit_ap(images, index, minimum, eleven_points):
    """VOCevaldet and VOCap in plain loops, for one class."""
    found = [
        (float(score), number, box)
        for number, (_, detections) in enumerate(images)
        for box, score, label in zip(
            detections.boxes, detections.scores, detections.classes, strict=True
        )
        if label == index
    ]
    found.sort(key=lambda detection: -detection[0])
    positives, taken, true, false = 0, set(), [], []
    for truth, _ in images:
        positives += sum(
            label == index and not difficult
            for label, difficult in zip(truth.classes, truth.difficult, strict=True)
        )
    if not positives:
        return None
    for _, number, box in found:
        truth = images[number][0]
        best, best_overlap = None, -1.0
        for candidate in range(len(truth.boxes)):
            if truth.classes[candidate] == index:
                overlap = plain_iou(box, truth.boxes[candidate])
                if overlap > best_overlap:
                    best, best_overlap = candidate, overlap
        hit = best is not None and best_overlap >= minimum
        if hit and truth.difficult[best]:
            continue
        new = hit and (number, best) not in taken
        taken.add((number, best) if new else None)
        true.append(int(new))
        false.append(int(not new))
    recall, precision, tp = [], [], 0
    for rank, value in enumerate(true, start=1):
        tp += value
        recall.append(tp / positives)
        precision.append(tp / rank)
    if eleven_points:
        best = [
            max((p for p, r in zip(precision, recall, strict=True) if r >= t * 0.1), default=0.0)
            for t in range(11)
        ]
        return sum(best) / 11
    recall, precision = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for position in range(len(precision) - 2, -1, -1):
        precision[position] = max(precision[position], precision[position + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def plain_iou(first, second):
    first, second = [float(side) for side in first], [float(side) for side in second]
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return height * width / (sum(areas) - height * width)


def scenes(seed, num_images=15):
    random = np.random.default_rng(seed)
    images = []
    for _ in range(num_images):
        count = int(random.choice([0, 1, 5]))
        corners = random.uniform(0, 40, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(5, 40, (count, 2))], axis=1)
        truths = [(box, int(random.integers(0, 2)), random.random() < 0.2) for box in boxes]
        found = [
            (box + random.normal(0, 2, 4), label, random.random()) for box, label, _ in truths * 2
        ]
        noise = random.uniform(0, 40, (int(random.integers(0, 6)), 2))
        found += [
            ([y, x, y + 20, x + 20], int(random.integers(0, 3)), random.random()) for y, x in noise
        ]
        images.append(image(truths, found))
    return images


@pytest.mark.slow
@pytest.mark.parametrize("metric", [frcnn_voc.Voc07(), frcnn_voc.Voc12()], ids=lambda m: m.name)
@pytest.mark.parametrize("seed", range(8))
def test_ap_equals_the_devkits_definition_in_plain_loops(metric, seed):
    images = scenes(seed)
    result = scored(images, metric, ious=(0.3, 0.5, 0.7))
    for table, minimum in enumerate((0.3, 0.5, 0.7)):
        expected = [devkit_ap(images, i, minimum, metric.name == "voc07") for i in range(3)]
        ours = [row(result, name, table)["AP"] for name in NAMES]
        assert ours == pytest.approx(expected, abs=1e-12)
        defined = [ap for ap in expected if ap is not None]
        assert result.values["tables"][table]["mAP"] == pytest.approx(sum(defined) / len(defined))


def test_a_class_without_ground_truth_has_no_ap_and_takes_no_part_in_the_map():
    result = scored([image([(BOX, 0)], [(BOX, 0, 0.9), (AWAY, 2, 0.8)])])
    assert result.primary == 1.0
    assert row(result, "dog")["AP"] is None
    assert row(result, "dog")["detections"] == 1
    assert "dog                 -                   0.0000              -" in result.text


def test_without_any_ground_truth_the_map_is_undefined_and_not_zero():
    result = scored([image([], [(BOX, 0, 0.9)])])
    assert math.isnan(result.primary)
    assert result.values["mAP"] is None
    assert result.text.splitlines()[-1] == "mAP@0.5 = -"


def test_no_images_at_all_is_not_an_error():
    assert scored([]).values["mAP"] is None


def test_precision_and_recall_are_those_of_detections_above_the_score_threshold():
    found = [(BOX, 0, 0.9), (AWAY, 0, 0.8), (OTHER, 0, 0.3)]
    result = scored([image([(BOX, 0), (OTHER, 0)], found)], score_threshold=0.5)
    assert row(result)["precision"] == 0.5
    assert row(result)["recall"] == 0.5
    assert row(result)["AP"] == pytest.approx((1 + 2 / 3) / 2)


def test_difficult_objects_count_for_the_rpn_only():
    truths = [(BOX, 0, True), (OTHER, 0)]
    result = scored([image(truths, [(BOX, 0, 0.9), (OTHER, 0, 0.8)], proposals=[OTHER])])
    assert row(result)["AP"] == 1.0
    assert (row(result)["ground_truths"], row(result)["difficult"]) == (1, 1)
    assert row(result)["RPN_recall"] == 0.5


def test_rpn_recall_is_undefined_where_a_runtime_tells_no_proposals():
    assert row(scored([image([(BOX, 0)], [(BOX, 0, 0.9)])]))["RPN_recall"] is None


def test_a_detection_finds_nothing_in_another_image():
    result = scored([image([(BOX, 0)]), image([], [(BOX, 0, 0.9)])])
    assert result.primary == 0.0


def test_the_map_over_a_range_is_the_mean_over_its_thresholds():
    shifted = [0, 0, 10, 8]  # IoU 0.8 with BOX
    result = scored([image([(BOX, 0)], [(shifted, 0, 0.9)])], ious=(0.5, 0.75, 0.9, 0.95))
    assert [table["mAP"] for table in result.values["tables"]] == [1, 1, 0, 0]
    assert result.primary == 0.5
    assert result.by_class == {"bird": 0.5, "car": None, "dog": None}
    assert result.text.splitlines()[-1] == "mAP@[0.5:0.95] = 0.5000"


def test_the_table_is_the_originals():
    result = scored([image([(BOX, 1)], [(BOX, 1, 0.9)], proposals=[BOX])], names=NAMES[:2])
    assert result.text.splitlines() == [
        "=" * 90,
        "Class               AP                  precision           recall"
        + " " * 14
        + "RPN_recall",
        "-" * 90,
        "bird                -                   -                   -                   -",
        "-" * 90,
        "car                 1.0000              1.0000              1.0000              1.0000",
        "-" * 90,
        "mAP@0.5 = 1.0000",
    ]


def test_a_name_wider_than_its_column_stays_apart_from_its_ap():
    name = "a" * 25
    assert f"{name} 1.0000" in scored([image([(BOX, 0)], [(BOX, 0, 0.9)])], names=(name,)).text


@pytest.mark.slow
def test_the_values_are_json():
    result = scored([golden_image()])
    assert json.loads(json.dumps(result.values, allow_nan=False)) == result.values
