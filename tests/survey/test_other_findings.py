"""Findings that need other formats than KITTI, or records."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.assemble import survey
from frcnn_core.data import records
from frcnn_core.data.labels import Object
from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.load import loads, loads_dataset_spec
from frcnn_core.survey.validation import validate

from .broken_set import BrokenSet, cars, jpeg, line, png, told

BOXES = [(i, i, i + 20, i + 20) for i in range(10)]


def voc(height, width, name="car") -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>\n"
        for x1, y1, x2, y2 in BOXES
    )
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{size}\n{objects}</annotation>"


def of_source(folder: Path, more: str = ""):
    """What is wrong with the data of a dataset spec for ``images`` and ``labels`` in a folder."""
    spec = f'source {{ root_directory_path: "{folder}" images: "images" {more} }}'
    data = survey.of_dataset_spec(loads_dataset_spec(spec), installed())
    return validate(data.splits, data.view)


def write(folder: Path, files: dict) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("stated", "orientation", "expected"),
    [
        ((40, 60), 1, []),
        ((60, 40), 1, [("size-mismatch", "b.xml")]),
        # Stored 40 x 60 and to be turned by a quarter: upright it is 60 x 40.
        ((60, 40), 6, [("turned-image", "b.jpg")]),
        ((40, 60), 6, [("labels-turned", "b.xml"), ("turned-image", "b.jpg")]),
        ((41, 60), 6, [("size-mismatch", "b.xml"), ("turned-image", "b.jpg")]),
    ],
)
def test_labels_say_another_size_than_the_image_has(stated, orientation, expected, tmp_path):
    write(
        tmp_path,
        {
            "images/a.png": png(1),
            "labels/a.xml": voc(40, 60),
            "images/b.jpg": jpeg(2, orientation=orientation),
            "labels/b.xml": voc(*stated),
        },
    )
    report = of_source(tmp_path, 'labels: "labels" val_split: 50')
    assert told(report) == expected


def test_an_image_that_coco_does_not_list_and_one_that_is_not_there(tmp_path):
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for i, (x1, y1, x2, y2) in enumerate(BOXES)
    ]
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 40, "width": 60},
            {"id": 2, "file_name": "gone.png"},
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "car"}],
    }
    write(
        tmp_path,
        {"images/a.png": png(1), "images/b.png": png(2), "instances.json": json.dumps(content)},
    )
    report = of_source(tmp_path, 'labels: "instances.json" val_split: 0')
    assert told(report) == [
        ("absent-class", "car"),  # of the empty fold 0
        ("missing-image", "instances.json: image gone.png"),
        ("unlisted-image", "b.png"),
    ]


def test_class_names_that_only_a_dash_tells_apart(tmp_path):
    made = {f"images/{name}.png": png(i) for i, name in enumerate("ab")}
    labels = cars().replace("car", "e-bike") + cars().replace("car", "ebike")
    other = cars().replace("car", "E-Bike") + cars().replace("car", "ebike")
    # Boxes are there twice on purpose, as another class.
    write(tmp_path, {**made, "labels/a.txt": labels, "labels/b.txt": other})
    report = of_source(tmp_path, 'labels: "labels" format: "kitti" val_split: 50')
    assert report.counts == {"similar-classes": 1, "duplicate-box": 20}
    (finding,) = report.findings["similar-classes"]
    assert finding.reason == "'e-bike' (20 objects), 'ebike' (20 objects): are they one class?"


def test_labels_that_are_none_are_an_unusable_source(tmp_path):
    write(tmp_path, {"images/a.png": png(1), "labels/readme.md": "nothing here"})
    report = of_source(tmp_path, 'labels: "labels" format: "kitti"')
    assert list(report.counts) == ["unusable-source"]
    (finding,) = report.findings["unusable-source"]
    assert finding.place == str(tmp_path / "labels")
    assert "no label file ends in .txt" in finding.reason


# Records -----------------------------------------------------------------------------------------


def car(x1, y1, x2, y2, name="car") -> Object:
    return Object(name, x1=x1, y1=y1, x2=x2, y2=y2)


TEN = tuple(car(*box) for box in BOXES)


@pytest.fixture
def of_records(tmp_path):
    """Writes images and records, and gives what is wrong with them.

    Takes the records of fold 0 and of fold 1.
    """

    def find(*folds, images=("a", "b"), also=""):
        for number, name in enumerate(images):
            write(tmp_path, {f"images/{name}.png": png(number)})
        for fold, samples in enumerate(folds):
            path = tmp_path / f"set-fold-{fold:03d}-of-002"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for sample in samples:
                    writer.write(records.to_example(sample))
        spec = BrokenSet(tmp_path).spec
        start, end = spec.index("data_sources"), spec.index("target_class_mapping")
        source = f"""data_sources {{ tfrecords_path: "{tmp_path}/set-*"
          image_directory_path: "{tmp_path}" }} validation_fold: 0 {also} """
        data = survey.of_experiment(loads(spec[:start] + source + spec[end:]), installed())
        return validate(data.splits, data.view)

    return find


def record(name, objects=TEN, size=(40, 60)) -> records.Record:
    return records.Record(f"images/{name}", *size, tuple(objects))


@pytest.mark.slow
def test_records_of_a_sound_set_are_sound(of_records):
    report = of_records([record("a")], [record("b")])
    assert told(report) == []
    assert (report.images, report.objects) == (
        {"training": 1, "validation": 1},
        {"training": 10, "validation": 10},
    )


@pytest.mark.slow
def test_a_box_is_told_by_file_record_and_object(of_records):
    objects = (*TEN, car(5, 5, np.nan, 30), car(30, 9, 8, 30))
    report = of_records([record("a")], [record("b", objects)])
    assert told(report) == [
        ("inside-out", "b), object 11"),
        ("not-a-number", "b), object 10"),
    ]
    (finding,) = report.findings["inside-out"]
    assert finding.place.endswith("set-fold-001-of-002: record 0 (images/b), object 11")
    assert finding.box == (30, 9, 8, 30)


@pytest.mark.slow
def test_an_image_of_a_record_is_missing(of_records):
    report = of_records([record("a")], [record("b"), record("gone")])
    assert told(report) == [("missing-image", "gone)")]


@pytest.mark.slow
def test_a_record_states_another_size_than_its_image_has(of_records):
    report = of_records([record("a")], [record("b", size=(40, 61))])
    assert told(report) == [("size-mismatch", "b)")]


@pytest.mark.slow
def test_a_record_that_is_repeated_is_a_note_and_in_both_splits_an_error(of_records):
    report = of_records([record("a"), record("b")], [record("b"), record("b")])
    assert told(report) == [
        ("duplicate-across-splits", "b.png"),
        ("repeated-image", "b.png"),
    ]
    (finding,) = report.findings["duplicate-across-splits"]
    assert (finding.split, finding.reason) == ("validation", "is in training too.")


@pytest.mark.slow
def test_different_labels_of_the_same_image_are_told(of_records):
    report = of_records([record("a")], [record("b"), record("b", TEN[:-1])])
    (finding,) = report.findings["repeated-image"]
    assert finding.reason == "is in training more than once; its labels say something else."


@pytest.mark.slow
def test_a_damaged_record_file_is_told_and_the_others_are_looked_at(of_records, tmp_path):
    objects = (*TEN, car(30, 9, 8, 30))
    of_records([record("a")], [record("b")])  # leaves an index of a sound file
    path = tmp_path / "set-fold-001-of-002"
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    spec_report = of_records([record("a", objects)], images=("a", "b"))
    assert told(spec_report) == [
        ("absent-class", "car"),
        ("inside-out", "a), object 10"),
        ("unusable-source", "set-fold-001-of-002"),
    ]


@pytest.mark.slow
def test_without_a_record_to_train_on_every_class_is_absent(of_records):
    report = of_records([record("a")])
    assert told(report) == [("absent-class", "car")]
    assert (report.findings["absent-class"][0].split, report.images) == (
        "training",
        {"validation": 1},
    )


@pytest.mark.slow
def test_records_that_are_not_there_are_an_unusable_source(of_records, tmp_path):
    gone = f'data_sources {{ tfrecords_path: "{tmp_path}/gone*" image_directory_path: "x" }}'
    report = of_records([record("a")], [record("b")], also=gone)
    assert told(report) == [("unusable-source", "gone*")]


@pytest.mark.slow
def test_evaluation_keeps_what_training_drops(tmp_path):
    made = BrokenSet(tmp_path)
    made.preprocessing = "min_bbox_height: 5"
    made.write("labels/val_0.txt", cars(13) + line(20, 9, 40, 13))
    assert told(made.validate()) == []
