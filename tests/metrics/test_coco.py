"""The coco metric against pycocotools, to the ninth decimal."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import frcnn_coco
from frcnn_core.structures import GroundTruth, ImageDetections

NAMES = ("bird", "car", "dog", "never seen")


def start(names=NAMES):
    return frcnn_coco.Coco().start(names, iou_thresholds=[0.5], score_threshold=0.5)


def scored(images, names=NAMES):
    accumulator = start(names)
    for truth, detections in images:
        accumulator.update(truth, detections)
    return accumulator.result()


def image(boxes=(), classes=(), difficult=None, found=(), scores=(), found_classes=()):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    difficult = np.zeros(len(boxes), bool) if difficult is None else np.array(difficult, bool)
    return (
        GroundTruth("", boxes, np.array(classes, np.int32), difficult),
        ImageDetections(
            np.array(found, np.float32).reshape(-1, 4),
            np.array(scores, np.float32),
            np.array(found_classes, np.int32),
            None,
        ),
    )


def scenes(seed, num_images=20):
    """Images with objects of all sizes, imprecise and doubled detections, noise, and nothing."""
    random = np.random.default_rng(seed)
    for _ in range(num_images):
        count = int(random.choice([0, 1, 3, 12]))
        corners = random.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(4, 180, (count, 2))], axis=1)
        classes = random.integers(0, 3, count)
        again = random.integers(0, count, count * 2) if count else np.zeros(0, int)
        noise = random.uniform(0, 300, (int(random.choice([0, 4, 150])), 2))
        found = np.concatenate(
            [
                boxes[again] + random.normal(0, 4, (len(again), 4)),
                np.concatenate([noise, noise + random.uniform(1, 120, noise.shape)], axis=1),
            ]
        )
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        of_noise = random.integers(0, 4 if seed % 2 else 3, len(noise))
        yield image(
            boxes,
            classes,
            random.random(count) < 0.25,
            found,
            random.random(len(found)).round(1 + seed % 3),  # many ties when rounded to tenths
            np.concatenate([classes[again], of_noise]),
        )


class IgnoringCOCOeval(COCOeval):
    """pycocotools overwrites an annotation's ``ignore`` by its ``iscrowd``; here it is kept."""

    def _prepare(self):
        super()._prepare()
        for truths in self._gts.values():
            for truth in truths:
                truth["ignore"] = truth["difficult"]


def pycocotools_statistics(images, names=NAMES):
    truths, found = [], []
    for image_id, (truth, detections) in enumerate(images, start=1):
        for box, index, difficult in zip(truth.boxes, truth.classes, truth.difficult, strict=True):
            truths.append({**_annotation(box, index, image_id), "difficult": int(difficult)})
        for box, score, index in zip(
            detections.boxes, detections.scores, detections.classes, strict=True
        ):
            found.append({**_annotation(box, index, image_id), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = IgnoringCOCOeval(
            _coco(truths, len(images), names), _coco(found, len(images), names), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def _annotation(box, index, image_id):
    y1, x1, y2, x2 = (float(side) for side in box)
    size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
    return {"image_id": image_id, "category_id": int(index) + 1, "iscrowd": 0, **size}


def _coco(annotations, num_images, names):
    coco = COCO()
    coco.dataset = {
        "images": [{"id": index + 1} for index in range(num_images)],
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(names)],
        "annotations": [{**note, "id": index + 1} for index, note in enumerate(annotations)],
    }
    coco.createIndex()
    return coco


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_the_twelve_numbers_equal_those_of_pycocotools(seed):
    from frcnn_coco.summary import STATISTICS

    images = list(scenes(seed))
    values = scored(images).values
    ours = [-1 if values[name] is None else values[name] for name in STATISTICS]
    assert ours == pytest.approx(pycocotools_statistics(images), abs=1e-9)


def test_objects_without_any_detection_give_zero_as_in_pycocotools():
    images = [image([[0, 0, 50, 50]], [1])]
    result = scored(images)
    assert (result.primary, result.values["APm"], result.values["AR100"]) == (0, 0, 0)
    assert result.values["APs"] is None
    assert pycocotools_statistics(images)[[0, 3, 4]].tolist() == [0, -1, 0]


def test_exact_detections_of_every_object_score_one():
    boxes = [[0, 0, 20, 20], [50, 50, 150, 150]]
    result = scored([image(boxes, [0, 1], None, boxes, [0.9, 0.8], [0, 1])])
    assert result.primary == pytest.approx(1.0)
    assert result.values["APs"] == result.values["APl"] == pytest.approx(1.0)
    assert result.values["APm"] is None
    assert result.by_class == pytest.approx(
        {"bird": 1.0, "car": 1.0, "dog": None, "never seen": None}
    )


def test_without_any_ground_truth_nothing_is_defined():
    result = scored([image(found=[[0, 0, 9, 9]], scores=[0.9], found_classes=[0])])
    assert math.isnan(result.primary)
    assert result.values["AP"] is None and result.values["AR100"] is None
    assert "= -\n" in result.text and "0.000" not in result.text


def test_no_images_at_all_is_not_an_error():
    assert scored([]).values["AP"] is None


def test_difficult_objects_are_neither_found_nor_missed():
    box = [0, 0, 50, 50]
    difficult = image([box], [0], [True], [box], [0.9], [0])
    plain = image([box], [0], [False], [box], [0.8], [0])
    assert scored([difficult, plain]).primary == pytest.approx(1.0)
    assert scored([difficult]).values["AP"] is None


@pytest.mark.slow
def test_the_table_has_the_lines_of_pycocotools_and_a_line_for_each_class():
    box = [[0, 0, 50, 50]]
    lines = scored([image(box, [1], None, box, [0.9], [1])]).text.splitlines()
    assert (
        lines[0]
        == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    )
    assert (
        lines[2]
        == " Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 1.000"
    )
    assert lines[3].endswith("area= small | maxDets=100 ] = -")
    assert lines[6].startswith(" Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=")
    assert lines[13] == " car         AP 1.000  AP50 1.000"
    assert lines[14] == " dog         AP -  AP50 -"
