import json
import logging
import os

import numpy as np
import pytest
import tensorflow as tf
from record_sets import labelled

from frcnn_core.data import index, records
from frcnn_core.data.index import Kind
from frcnn_core.data.labels import Object
from frcnn_core.errors import DataError

CAR = labelled("car", 0, 0, 9, 9)
HIDDEN_CAR = labelled("car", 0, 0, 9, 9, occlusion=2)
CROWD = Object("person", 0, 0, 9, 9, crowd=True)


def write(path, *found):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in found:
            writer.write(records.to_example(record))


@pytest.fixture
def file(tmp_path):
    """Four records: two with the same objects, one with a crowd, one without anything."""
    path = tmp_path / "set" / "kitti-fold-000-of-002"
    path.parent.mkdir()
    write(
        path,
        records.Record("image_2/a", 20, 30, (CAR, CAR, HIDDEN_CAR)),
        records.Record("image_2/b", 20, 30, (HIDDEN_CAR, CAR, CAR)),
        records.Record("image_2/c", 40, 30, (CROWD,), extension=".PNG"),
        records.Record("image_2/d", 20, 30),
    )
    return path


def test_it_counts_images_sizes_and_objects_by_image(file):
    found = index.of(file)
    assert found.count == 4
    assert found.frame_ids == {"": ["image_2/a", "image_2/b", "image_2/d"], ".PNG": ["image_2/c"]}
    assert found.image_sizes == {(20, 30): 3, (40, 30): 1}
    assert found.num_objects == [3, 3, 1, 0]
    plain, hidden, crowd = Kind("car", 0, False), Kind("car", 2, False), Kind("person", 0, True)
    assert [found.kinds[number] for number in found.objects] == [
        *(plain, plain, hidden),
        *(hidden, plain, plain),
        crowd,
    ]


def test_what_is_kept_is_what_was_read(file):
    first = index.of(file)
    kept = index.location(file).read_bytes()
    assert index.of(file) == first
    assert index.location(file).read_bytes() == kept


def test_the_second_time_records_are_not_read(file):
    first = index.of(file)
    state = file.stat()
    # Nothing but zeros, of the same size and time.
    file.write_bytes(bytes(state.st_size))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert index.of(file) == first


def test_a_record_begins_at_every_offset(file):
    data = file.read_bytes()
    offsets = index.offsets(file).tolist()
    assert len(offsets) == 4
    for offset, name in zip(offsets, "abcd", strict=True):
        # Source: the TFRecord format: length, its checksum, data, its checksum.
        length = int.from_bytes(data[offset : offset + 8], "little")
        record = records.from_example(data[offset + 12 : offset + 12 + length])
        assert record.frame_id == f"image_2/{name}"


@pytest.mark.slow
def test_a_file_that_changed_gets_a_new_index(file):
    index.of(file)
    write(file, records.Record("image_2/z", 5, 6))
    assert index.of(file).frame_ids == {"": ["image_2/z"]}
    assert index.offsets(file).tolist() == [0]


@pytest.mark.slow
def test_a_file_that_only_got_a_new_date_is_read_again(file):
    first = index.of(file)
    os.utime(file, ns=(1, 1))
    assert index.of(file) == first
    assert json.loads(index.location(file).read_text())["mtime_ns"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"[]",
        lambda text: text.replace(b'"version":1', b'"version":0'),
        lambda text: text.replace(b'"lengths":[', b'"lengths":[7,'),
        lambda text: text.replace(b'"image_2/a",', b""),
        lambda text: text.replace(b'["car",0,false]', b'["car"]'),
        lambda text: text.replace(b'"objects":[0,', b'"objects":[7,'),
        lambda text: text.replace(b'"num_objects":[3,', b'"num_objects":[2,'),
    ],
)
def test_a_damaged_index_is_made_anew(file, damage):
    first = index.of(file)
    kept = index.location(file).read_bytes()
    broken = damage(kept)
    assert broken != kept
    index.location(file).write_bytes(broken)
    assert index.of(file) == first
    assert index.location(file).read_bytes() == kept


def test_patterns_for_record_files_do_not_match_it(file):
    from frcnn_core.spec import paths

    index.of(file)
    for pattern in ("kitti*", "*", "**", "kitti-fold-000-of-002*"):
        assert paths.matching(str(file.parent / pattern)) == (file,)
        # tf.io.gfile lets a star match a leading dot, but a folder is no file.
        matched = tf.io.gfile.glob(str(file.parent / pattern))
        assert [name for name in matched if not tf.io.gfile.isdir(name)] == [str(file)]


@pytest.mark.slow
def test_where_nothing_can_be_written_it_works_without(file, caplog):
    (file.parent / index.FOLDER).write_text("a file where the folder would be")
    with caplog.at_level(logging.INFO):
        assert index.of(file).count == 4
        assert len(index.offsets(file)) == 4
    assert "No index is kept of" in caplog.text


def test_a_record_that_dataset_convert_did_not_write_is_named_and_leaves_no_index(file):
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(records.to_example(records.Record("a", 2, 3)))
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(DataError, match="record 1: a record without frame/id"):
        index.of(file)
    assert not index.location(file).exists()


@pytest.mark.slow
@pytest.mark.parametrize("missing", [3, 30])
def test_a_file_that_is_cut_short_is_named(file, missing):
    file.write_bytes(file.read_bytes()[:-missing])
    with pytest.raises(DataError, match="kitti-fold-000-of-002: no TFRecord file, or a damaged"):
        index.of(file)


def test_a_few_bytes_after_the_last_record_are_an_error(file):
    """They may be the beginning of another, and TensorFlow reads over them."""
    file.write_bytes(file.read_bytes() + bytes(7))
    with pytest.raises(DataError, match=r"kitti-fold-000-of-002: .* cut short: 7 bytes follow"):
        index.of(file)


@pytest.mark.slow
def test_damaged_says_nothing_of_good_files_and_names_a_bad_one(file, tmp_path):
    bad = tmp_path / "bad"
    bad.write_bytes(b"not records")
    assert index.damaged([file]) is None
    assert str(bad) in str(index.damaged([file, bad]))


@pytest.mark.slow
def test_an_empty_file_has_an_empty_index(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert index.of(path).count == 0
    np.testing.assert_array_equal(index.offsets(path), [])
