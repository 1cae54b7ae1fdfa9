"""The doctor looks at the very images that conversion and training take."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.assemble import conversion_plan, survey
from frcnn_core.data import records
from frcnn_core.data.conversion import convert
from frcnn_core.errors import DataError, SpecError
from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.load import loads, loads_dataset_spec
from frcnn_core.survey.objects import gather

from .broken_set import BrokenSet, cars, line, png


@pytest.fixture
def made(tmp_path):
    """Ten images, of which image n has n cars."""
    made = BrokenSet(tmp_path / "set")
    for name in ("train_0", "train_1", "val_0"):
        made.remove(f"images/{name}.png")
        made.remove(f"labels/{name}.txt")
    for number in range(10):
        made.write(f"images/{number}.png", png(number))
        made.write(f"labels/{number}.txt", cars(number))
    return made


def dataset_spec(made, more=""):
    return loads_dataset_spec(
        f'source {{ format: "kitti" root_directory_path: "{made.folder}" images: "images" '
        f'labels: "labels" num_shards: 1 {more} }}'
    )


def experiment(made, source, split="validation_fold: 0"):
    text = made.spec
    start, end = text.index("data_sources"), text.index("target_class_mapping")
    return loads(f"{text[:start]}{source} {split} {text[end:]}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shuffled", "random"])
def test_partitions_are_those_that_dataset_convert_writes(made, tmp_path, mode):
    spec = dataset_spec(made, f'partition_mode: "{mode}" val_split: 30')
    data = survey.of_dataset_spec(spec, installed())
    convert(conversion_plan(spec.message, installed(), tmp_path / "set-records"))
    assert [split.name for split in data.splits] == ["fold 0", "fold 1"]
    for fold, split in enumerate(data.splits):
        files = sorted(tmp_path.glob(f"set-records-fold-{fold:03d}*"))
        written = [
            records.from_example(record.numpy()).frame_id
            for record in tf.data.TFRecordDataset(list(map(str, files)))
        ]
        found = [f"images/{file.image.stem}" for file in split.files]
        assert sorted(found) == sorted(written)
        assert split.count == len(found) == (3, 7)[fold]


@pytest.mark.slow
def test_a_folder_and_its_records_are_the_same_data(made, tmp_path):
    convert(conversion_plan(dataset_spec(made).message, installed(), tmp_path / "set-records"))
    direct = experiment(
        made,
        f"""data_sources {{ image_directory_path: "{made.folder}/images"
        labels {{ path: "{made.folder}/labels" format: "kitti" }} }} """,
    )
    converted = experiment(
        made,
        f"""data_sources {{ tfrecords_path: "{tmp_path}/set-records*"
        image_directory_path: "{made.folder}" }} """,
    )
    tables = []
    for spec in (direct, converted):
        data = survey.of_experiment(spec, installed())
        assert [split.name for split in data.splits] == ["training", "validation"]
        assert [split.count for split in data.splits] == [8, 2]
        assert [split.trains for split in data.splits] == [True, False]
        tables.append(gather(data.splits, data.view))
    folder, record = tables
    assert (
        folder.counts["training"].objects_per_image == record.counts["training"].objects_per_image
    )
    assert folder.objects(1).tolist() == record.objects(1).tolist()
    for split in (0, 1):
        boxes = [np.sort(one.boxes[one.splits == split], axis=0) for one in tables]
        np.testing.assert_array_equal(*boxes)


def test_without_a_validation_split_all_images_are_trained_on(made):
    source = f"""data_sources {{ image_directory_path: "{made.folder}/images"
        labels {{ path: "{made.folder}/labels" format: "kitti" }} }} """
    (training,) = survey.of_experiment(experiment(made, source, ""), installed()).splits
    assert (training.name, training.count) == ("training", 10)


def test_each_annotation_file_of_coco_is_a_partition(made):
    for fold in (0, 1):
        names = [f"{number}.png" for number in range(fold, 10, 2)]
        content = {
            "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
            "annotations": [],
            "categories": [{"id": 1, "name": "car"}],
        }
        made.write(f"{fold}.json", json.dumps(content))
    spec = loads_dataset_spec(
        f"""coco_config {{ root_directory_path: "{made.folder}"
        img_dir_names: ["images", "images"] annotation_files: ["0.json", "1.json"] }}"""
    )
    data = survey.of_dataset_spec(spec, installed())
    names = [sorted(file.image.stem for file in split.files) for split in data.splits]
    assert names == [["0", "2", "4", "6", "8"], ["1", "3", "5", "7", "9"]]
    # Each file lists half of the folder; the other half is a note, told once a file.
    codes = Counter(one.code for split in data.splits for one in split.findings)
    assert codes == {"unlisted-image": 10}


def test_a_fold_without_images_cannot_be_validated_on(made):
    source = f"""data_sources {{ image_directory_path: "{made.folder}/images"
        labels {{ path: "{made.folder}/labels" format: "kitti" }} }} """
    for number in range(4, 10):  # a fifth of four is none
        made.remove(f"images/{number}.png")
    spec = experiment(made, source)
    with pytest.raises(DataError, match="validation: there is no image in fold 0"):
        survey.of_experiment(spec, installed()).require_sources()


def test_all_sources_that_cannot_be_opened_are_told(made, tmp_path):
    (tmp_path / "empty").mkdir()
    source = f"""
        data_sources {{ tfrecords_path: "gone*" image_directory_path: "." }}
        data_sources {{ image_directory_path: "{tmp_path}/empty"
          labels {{ path: "{made.folder}/labels" format: "kitti" }} }}
        data_sources {{ image_directory_path: "{made.folder}/images"
          labels {{ path: "{tmp_path}/empty" format: "kitti" }} }} """
    data = survey.of_experiment(experiment(made, source), installed())
    with pytest.raises(DataError) as caught:
        data.require_sources()
    told = {line.split(". ")[0] for line in str(caught.value).splitlines()}
    assert told == {
        f"gone*: no file matches {Path('gone*').absolute()}.",
        f"{tmp_path}/empty: no label file ends in .txt",
        f"{tmp_path}/empty: no file ends in .jpg or .jpeg or .png",
    }


def test_a_spec_is_refused_for_what_it_says_of_data_but_not_of_the_optimizer(made):
    made.write("labels/1.txt", line(8, 9, 30, 30))
    text = f"""data_sources {{ image_directory_path: "{made.folder}/images"
        labels {{ path: "{made.folder}/labels" format: "kitti" }} }} """
    spec = experiment(made, text)
    spec.message.training_config.num_epochs = 0
    survey.of_experiment(spec, installed())
    spec.message.dataset_config.target_class_mapping.clear()
    with pytest.raises(SpecError, match="target_class_mapping"):
        survey.of_experiment(spec, installed())


@pytest.mark.slow
def test_anchors_threshold_and_zoom_are_those_of_the_spec(made):
    text = made.spec.replace(
        "training_config {", "training_config { enable_augmentation: True rpn_max_overlap: 0.6"
    ).replace(
        "preprocessing {", "spatial_augmentation { zoom_min: 0.9 zoom_max: 1.1 } preprocessing {"
    )
    settings = survey.anchor_settings(loads(text), installed())
    assert settings.anchors.scales == (16, 32)
    assert (settings.threshold, settings.zoom) == (0.6, (0.9, 1.1))
    off = survey.anchor_settings(loads(made.spec), installed())
    assert off.zoom == (1, 1)
