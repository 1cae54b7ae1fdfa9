import logging
from pathlib import Path

import pytest
from record_sets import labelled

from frcnn_core.data import records
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.labels import Object
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sources import (
    RecordSummary,
    Source,
    inspect,
    split_by_fold,
    warn_of_losses,
)
from frcnn_core.errors import DataError

CARS = ClassMap.of({"car": "vehicle", "van": "vehicle"})


@pytest.mark.slow
def test_a_summary_counts_images_labels_and_objects(make_source):
    car, hidden_van = labelled("car", 0, 0, 9, 9), labelled("van", 0, 0, 9, 9, occlusion=1)
    tree = labelled("tree", 0, 0, 9, 9, occlusion=3)
    first = make_source({"a": (20, 30, [car, tree, hidden_van]), "b": (20, 30, [])}, "first")
    second = make_source({"c": (50, 10, [car])}, "second")

    summary = inspect([first, second], CARS)

    assert summary.count == 3
    assert summary.labels == {"car": 2, "van": 1, "tree": 1}
    assert summary.objects == {"vehicle": 3}
    assert summary.num_difficult == 1
    assert summary.num_empty == 1
    assert summary.max_objects == 2
    assert summary.image_sizes == {(20, 30): 2, (50, 10): 1}
    assert summary.largest_size == (50, 30)


def test_a_mapping_that_matches_nothing_lists_the_names_found(make_source):
    tree, house = labelled("tree", 0, 0, 9, 9), labelled("house", 0, 0, 9, 9)
    source = make_source({"a": (20, 30, [tree, house, tree])})
    with pytest.raises(DataError) as error:
        inspect([source], CARS)
    assert "Keys: car, van" in str(error.value)
    assert "tree (2), house (1)" in str(error.value)


def test_a_missing_image_is_named_before_work_begins(plain_source):
    missing = plain_source.images / "image_2" / "3.png"
    missing.unlink()
    with pytest.raises(DataError, match="1 of 7 images are missing, the first is") as error:
        inspect([plain_source], CARS)
    assert str(missing) in str(error.value)


def test_a_wrong_extension_is_answered_with_what_is_there(plain_source):
    source = Source(plain_source.records, plain_source.images, "jpg")
    with pytest.raises(DataError, match=r"There is 0\.png: set image_extension"):
        inspect([source], CARS)


@pytest.mark.slow
def test_a_wrong_image_folder_is_named(plain_source):
    source = Source(plain_source.records, Path("nowhere"), "png")
    with pytest.raises(DataError, match=r"There is no folder nowhere/image_2"):
        inspect([source], CARS)


@pytest.mark.slow
def test_a_file_that_is_no_record_file_is_named(plain_source, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("these are not the records you are looking for")
    with pytest.raises(DataError, match=r"notes\.txt: no TFRecord file"):
        inspect([Source((*plain_source.records, bad), plain_source.images, "png")], CARS)


def test_a_record_of_something_else_is_named_with_its_number(plain_source, tmp_path):
    import tensorflow as tf

    bad = tmp_path / "other.tfrecord"
    with tf.io.TFRecordWriter(str(bad)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(DataError, match=r"other\.tfrecord: record 0: .*frame/id"):
        inspect([Source((bad,), plain_source.images, "png")], CARS)


def test_a_record_file_that_does_not_exist_is_named():
    with pytest.raises(DataError, match=r"gone\.tfrecord: there is no such file"):
        inspect([Source((Path("gone.tfrecord"),), Path("."), "png")], CARS)


def test_no_records_at_all_is_an_error(make_source):
    with pytest.raises(DataError, match="There are no records in"):
        inspect([make_source({})], CARS)


def test_the_fold_of_a_name_says_which_files_are_for_validation():
    names = ["b-fold-000-of-002", "b-fold-001-of-002-shard-00000-of-00010", "extra"]
    training, validation = split_by_fold([Path("dir") / name for name in names], 0)
    assert [path.name for path in training] == [names[1], "extra"]
    assert [path.name for path in validation] == [names[0]]


def test_without_a_validation_fold_every_file_is_for_training():
    paths = [Path("a-fold-000-of-002"), Path("a-fold-001-of-002")]
    assert split_by_fold(paths, None) == (tuple(paths), ())


def test_images_that_will_be_cut_are_counted_in_a_warning(caplog):
    summary = RecordSummary(count=5)
    summary.image_sizes.update({(20, 30): 2, (40, 30): 3})
    with caplog.at_level(logging.WARNING):
        warn_of_losses(summary, Preprocessing(20, 30, resize=False), max_objects=10)
        warn_of_losses(summary, Preprocessing(20, 30), max_objects=10)
    (record,) = caplog.records
    assert "3 of 5 images are larger than the network input (20 x 30" in record.getMessage()


def test_more_objects_than_the_maximum_are_told_with_the_number_to_type(caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_losses(RecordSummary(max_objects=30), Preprocessing(9, 9), max_objects=20)
        warn_of_losses(RecordSummary(max_objects=20), Preprocessing(9, 9), max_objects=20)
    (record,) = caplog.records
    assert "To use all, set it to 30" in record.getMessage()


@pytest.mark.slow
def test_crowds_are_difficult_and_nothing_to_learn(make_source):
    crowd = Object("car", 0, 0, 9, 9, crowd=True)
    images = {"a": (20, 30, [crowd, labelled("car", 0, 0, 9, 9)]), "b": (20, 30, [crowd])}
    summary = inspect([make_source(images)], CARS)
    assert summary.objects == {"vehicle": 1}
    assert (summary.num_crowds, summary.num_difficult) == (2, 2)
    assert (summary.max_objects, summary.num_empty) == (1, 1)


@pytest.mark.slow
def test_the_same_records_count_differently_under_another_class_map(plain_source):
    assert inspect([plain_source], CARS).objects == {"vehicle": 7}
    assert inspect([plain_source], ClassMap.of({"CAR": "thing"})).objects == {"thing": 7}
    with pytest.raises(DataError, match="none of its keys"):
        inspect([plain_source], ClassMap.of({"van": "vehicle"}))


def test_as_many_images_may_be_missing_as_allowed(plain_source):
    for stem in "34":
        (plain_source.images / "image_2" / f"{stem}.png").unlink()
    summary = inspect([plain_source], CARS, max_missing=2)
    assert summary.count == 7
    folder = plain_source.images / "image_2"
    assert summary.missing == [str(folder / "3.png"), str(folder / "4.png")]
    with pytest.raises(DataError, match="2 of 7 images are missing"):
        inspect([plain_source], CARS, max_missing=1)


def test_an_image_is_looked_for_by_the_extension_its_record_states(plain_source):
    import tensorflow as tf

    image = plain_source.images / "image_2" / "0.png"
    image.rename(image.with_suffix(".PNG"))
    record = records.Record("image_2/0", 20, 30, (labelled("car", 0, 0, 9, 9),), extension=".PNG")
    (file,) = plain_source.records
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(records.to_example(record))
    assert inspect([plain_source], CARS).count == 1


@pytest.mark.slow
def test_all_unreadable_record_files_are_told_at_once(plain_source, tmp_path):
    (tmp_path / "notes").write_text("these are not the records you are looking for")
    files = (tmp_path / "notes", *plain_source.records, tmp_path / "gone")
    with pytest.raises(DataError) as error:
        inspect([Source(files, plain_source.images, "png")], CARS)
    assert "notes: no TFRecord file" in str(error.value)
    assert "gone: there is no such file" in str(error.value)
