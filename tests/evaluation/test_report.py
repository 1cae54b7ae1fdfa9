"""Evaluation with detectors that know the answer, or parts of it."""

import json

import numpy as np
import pytest

import frcnn_voc
from frcnn_core.evaluation.original_pixels import detections_per_image, truth_per_image
from frcnn_core.evaluation.report import evaluate
from frcnn_core.plugin.components import Accumulator, MetricResult
from frcnn_core.processes.distributed import Workers
from frcnn_core.structures import Batch, Detections

NAMES = ("car", "dog")
BOX, OTHER = [0, 0, 20, 10], [40, 40, 60, 60]


class Recorder(Accumulator):
    """Keeps what it is shown, and claims a given score."""

    def __init__(self, primary=1.0):
        self.seen = []
        self.primary = primary

    def update(self, truth, detections):
        self.seen.append((truth, detections))

    def result(self):
        return MetricResult(self.primary, {}, "")


def batch(*images, scale=(2.0, 1.0), capacity=4):
    """Each image is a list of (box in network pixels, class[, difficult])."""
    boxes = np.zeros((len(images), capacity, 4), np.float32)
    classes = np.full((len(images), capacity), -1, np.int32)
    difficult = np.zeros((len(images), capacity), bool)
    for image, truths in enumerate(images):
        for row, truth in enumerate(truths):
            boxes[image, row], classes[image, row] = truth[:2]
            difficult[image, row] = len(truth) > 2 and truth[2]
    return Batch(
        images=np.zeros((len(images), 100, 100, 3), np.float32),
        sizes=np.full((len(images), 2), 100, np.float32),
        scales=np.tile(np.float32(scale), (len(images), 1)),
        boxes=boxes,
        classes=classes,
        difficult=difficult,
        names=np.array([f"{i}.png".encode() for i in range(len(images))], object),
    )


def oracle(batches, *, wrong_class=False, proposals=True, moved=0.0):
    """A detector that returns the ground truth of one batch after the other."""
    answers = iter(batches)

    def detect(images, sizes):
        truth = next(answers)
        real = truth.classes >= 0
        classes = np.where(real & wrong_class, 1 - truth.classes, truth.classes)
        boxes = np.where(real[..., None], truth.boxes + np.float32(moved), 0)
        scores = np.where(real, np.float32(0.9), 0)
        return Detections(boxes, scores, classes, real.sum(axis=1), boxes if proposals else None)

    return detect


def voc(ious=(0.5,)):
    return {"voc12": frcnn_voc.Voc12().start(NAMES, iou_thresholds=ious, score_threshold=0.5)}


def test_a_detector_that_returns_the_ground_truth_has_a_map_of_one():
    batches = [batch([(BOX, 0)], [(OTHER, 1), (BOX, 0)]), batch([])]
    report = evaluate(oracle(batches), batches, voc(), class_names=NAMES)
    assert report.results["voc12"].primary == 1.0
    assert (report.num_images, report.num_ground_truths) == (3, 3)
    assert report.triage == ()


def test_absent_images_count_nowhere_but_as_skipped():
    whole = batch([(BOX, 0)], [(OTHER, 1)], [])
    sizes = whole.sizes.copy()
    sizes[1] = 0
    recorder, done = Recorder(), []
    batches = [whole._replace(sizes=sizes)]
    report = evaluate(oracle(batches), batches, {"seen": recorder}, progress=done.append)
    assert [truth.name for truth, _ in recorder.seen] == ["0.png", "2.png"]
    assert (report.num_images, report.num_skipped, report.num_ground_truths) == (2, 1, 1)
    assert report.as_dict()["num_skipped"] == 1
    assert done == [3]


def test_boxes_reach_the_metric_in_pixels_of_the_original_image():
    batches = [batch([(BOX, 0)], scale=(2.0, 0.5))]
    recorder = Recorder()
    evaluate(oracle(batches), batches, {"recorder": recorder})
    truth, detections = recorder.seen[0]
    assert truth.boxes.tolist() == detections.boxes.tolist() == [[0, 0, 10, 20]]
    assert truth.name == "0.png"


def test_padding_rows_never_reach_a_metric():
    batches = [batch([(BOX, 0)], [])]
    recorder = Recorder()
    evaluate(oracle(batches), batches, {"recorder": recorder})
    assert [len(truth.boxes) for truth, _ in recorder.seen] == [1, 0]
    assert [len(found.boxes) for _, found in recorder.seen] == [1, 0]
    assert [len(found.proposals) for _, found in recorder.seen] == [1, 0]


def test_detections_are_clipped_to_the_image():
    found = Detections(
        np.float32([[[-5, -5, 120, 50]]]), np.ones((1, 1)), np.zeros((1, 1), int), [1], None
    )
    image = next(detections_per_image(found, [[100.0, 40.0]], [[2.0, 2.0]]))
    assert image.boxes.tolist() == [[0, 0, 50, 20]]
    assert image.proposals is None


def test_difficult_objects_are_counted_apart():
    batches = [batch([(BOX, 0), (OTHER, 1, True)])]
    report = evaluate(oracle(batches), batches, voc())
    assert (report.num_ground_truths, report.num_difficult) == (1, 1)
    assert next(truth_per_image(batches[0])).difficult.tolist() == [False, True]


def test_progress_tells_the_number_of_images_of_each_batch():
    batches = [batch([], []), batch([])]
    told = []
    evaluate(oracle(batches), batches, {}, progress=told.append)
    assert told == [2, 1]


def test_the_rate_leaves_out_the_first_batch():
    one, two = [batch([])], [batch([]), batch([])]
    assert evaluate(oracle(one), one, {}).images_per_second is None
    assert evaluate(oracle(two), two, {}).images_per_second > 0


class Both(Workers):
    """One of two processes; the other one's values are known."""

    def __init__(self, rank, others):
        super().__init__(rank=rank, size=2)
        self.__dict__["others"] = iter(others)

    def gather(self, value):
        other = next(self.others, None)
        return [value, other] if self.rank == 0 else [other, value]


def test_the_first_process_shows_all_images_to_the_metrics_in_their_order():
    """The other process's are found by running it with nobody to hear from."""
    batches = [batch([(BOX, 0)], []), batch([(OTHER, 1)], []), batch([(BOX, 1)])]
    names = [["0", "1"], ["2", "3"], ["4"]]
    batches = [b._replace(names=np.array(n, object)) for b, n in zip(batches, names, strict=True)]
    told = []

    class Teller(Both):
        def gather(self, value):
            told.append(value)
            return [None, value]

    nobody = evaluate(oracle(batches[1::2]), batches[1::2], {}, workers=Teller(1, []))
    recorder, done = Recorder(), []
    report = evaluate(
        oracle(batches[::2]),
        batches[::2],
        {"seen": recorder},
        progress=done.append,
        workers=Both(0, told),
    )
    assert [truth.name for truth, _ in recorder.seen] == ["0", "1", "2", "3", "4"]
    assert [found.classes.tolist() for _, found in recorder.seen] == [[0], [], [1], [], [1]]
    assert (report.num_images, report.num_ground_truths, done) == (5, 3, [2, 2, 1])
    assert nobody.num_images == 2


def test_the_report_is_json_even_where_nothing_is_defined():
    batches = [batch([])]
    report = evaluate(oracle(batches), batches, voc(), class_names=NAMES)
    written = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert written["metrics"]["voc12"]["mAP"] is None
    assert written["triage"]


def causes(report):
    return [line for line in report.triage if line.startswith("=>")]


def test_triage_names_a_class_mapping_that_differs():
    batches = [batch([(BOX, 0), (OTHER, 1)])]
    report = evaluate(oracle(batches, wrong_class=True), batches, voc(), class_names=NAMES)
    assert report.results["voc12"].primary == 0
    assert "images 1, ground truths 2 (and 0 difficult" in report.triage[0]
    assert "scores from 0.9000 to 0.9000; per tenth of [0, 1]: 0 0 0 0 0 0 0 0 0 2" in report.triage
    assert "RPN: 100.0% of the ground truths have a proposal of IoU >= 0.5" in report.triage
    assert "car: 1 ground truths, 1 detections, best IoU 0.00" in report.triage
    assert causes(report) == [
        "=> 2 objects are located, but only 0 as what they are: was the model trained with the"
        " same target_class_mapping?"
    ]


def test_triage_blames_the_rpn_when_no_proposal_fits():
    batches = [batch([(OTHER, 1)])]
    report = evaluate(oracle(batches, moved=15), batches, voc(), class_names=NAMES)
    assert "RPN: 0.0% of the ground truths have a proposal of IoU >= 0.5" in report.triage
    assert "dog: 1 ground truths, 1 detections, best IoU 0.03" in report.triage
    assert causes(report)[0].startswith("=> The RPN misses most objects")


def test_triage_says_that_nothing_was_detected():
    def detect(images, sizes):
        nothing = np.zeros((1, 0))
        return Detections(np.zeros((1, 0, 4)), nothing, nothing, [0], None)

    report = evaluate(detect, [batch([(BOX, 0)])], voc(), class_names=NAMES)
    assert causes(report)[0].startswith("=> Nothing was detected")
    assert not any(line.startswith("RPN") for line in report.triage)


def test_triage_says_that_the_second_stage_spoils_good_proposals():
    def detect(images, sizes):
        boxes, away = np.float32([[OTHER]]), np.float32([[[80, 0, 90, 10]]])
        return Detections(away, np.ones((1, 1)), np.ones((1, 1), int), [1], boxes)

    report = evaluate(detect, [batch([(OTHER, 1)])], voc(), class_names=NAMES)
    assert causes(report)[0].startswith("=> Proposals fit but detections do not")


def test_triage_says_that_false_boxes_score_as_high():
    report = evaluate(oracle([batch([(BOX, 0)])]), [batch([(BOX, 0)])], {"low": Recorder(0.005)})
    assert causes(report)[0].startswith("=> Some boxes fit, but false ones score as high")


@pytest.mark.parametrize(
    "images, cause",
    [
        ([], "=> No image was evaluated"),
        ([[]], "=> No object: check that the keys of target_class_mapping"),
        ([[(BOX, 0, True)]], "=> All objects are difficult"),
    ],
)
def test_triage_says_when_there_was_nothing_to_find(images, cause):
    batches = [batch(*images)] if images else []
    report = evaluate(oracle(batches), batches, voc(), class_names=NAMES)
    assert causes(report)[0].startswith(cause)
    assert len(causes(report)) == 1


@pytest.mark.slow
def test_no_triage_once_any_metric_is_above_one_percent():
    batches = [batch([(BOX, 0)])]
    metrics = {"a": Recorder(0.0), "b": Recorder(float("nan")), "c": Recorder(0.02)}
    assert evaluate(oracle(batches), batches, metrics).triage == ()
