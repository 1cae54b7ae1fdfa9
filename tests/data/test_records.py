import pytest
import tensorflow as tf

from frcnn_core.data import records
from frcnn_core.data.labels import Object
from frcnn_core.data.records import Record
from frcnn_core.errors import DataError

CAR = Object("car", x1=10.25, y1=20.5, x2=30.75, y2=40.0, truncation=0.5, occlusion=2)
PERSON = Object("person", x1=-3.0, y1=0.0, x2=5.0, y2=9.0, rotation_y=0.25, z=8.0)


def tlt_example(**changes) -> bytes:
    """An Example with the features that TLT's converter writes, for two objects."""
    features = {
        "frame/id": [b"image_2/000007"],
        "frame/height": [375],
        "frame/width": [1242],
        "target/object_class": [b"car", b"dontcare"],
        "target/truncation": [0.5, -1.0],
        "target/occlusion": [1, -1],
        "target/observation_angle": [1.5, -10.0],
        "target/coordinates_x1": [599.5, 1.0],
        "target/coordinates_y1": [156.25, 2.0],
        "target/coordinates_x2": [629.75, 3.0],
        "target/coordinates_y2": [189.25, 4.0],
        "target/world_bbox_h": [2.5, -1.0],
        "target/world_bbox_w": [1.5, -1.0],
        "target/world_bbox_l": [4.5, -1.0],
        "target/world_bbox_x": [0.5, -1000.0],
        "target/world_bbox_y": [1.25, -1000.0],
        "target/world_bbox_z": [69.5, -1000.0],
        "target/world_bbox_rot_y": [-1.5, -10.0],
        "point_cloud/id": [b"velodyne/000007"],
        "point_cloud/num_input_channels": [4],
        "calibration/T_lidar_to_camera": [0.0] * 16,
        "calibration/P_lidar_to_image": [0.0] * 12,
    } | changes
    example = tf.train.Example()
    for key, values in features.items():
        feature = example.features.feature[key]
        if values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        elif values:
            feature.float_list.value.extend(values)
    return example.SerializeToString()


@pytest.mark.parametrize("objects", [(), (CAR,), (CAR, PERSON)])
def test_a_record_comes_back_from_its_bytes(objects):
    record = Record("image_2/a", height=48, width=64, objects=objects)
    assert records.from_example(records.to_example(record)) == record


def test_the_same_record_always_has_the_same_bytes():
    record = Record("image_2/a", 48, 64, (CAR, PERSON))
    assert records.to_example(record) == records.to_example(record)


def test_parsing_in_a_graph_puts_y_before_x():
    parsed = records.parse(tf.constant(records.to_example(Record("a", 48, 64, (CAR,)))))
    assert parsed.boxes.numpy().tolist() == [[20.5, 10.25, 40.0, 30.75]]
    assert parsed.size.numpy().tolist() == [48, 64]
    assert parsed.class_names.numpy().tolist() == [b"car"]
    assert parsed.occlusion.numpy().tolist() == [2]


def test_an_image_without_objects_parses_to_no_boxes():
    parsed = records.parse(tf.constant(records.to_example(Record("a", 48, 64))))
    assert parsed.boxes.shape == (0, 4)


def test_a_record_written_by_tlt_is_read():
    record = records.from_example(tlt_example())
    assert (record.frame_id, record.height, record.width) == ("image_2/000007", 375, 1242)
    car, dontcare = record.objects
    assert (car.class_name, car.x1, car.y2, car.occlusion) == ("car", 599.5, 189.25, 1)
    assert (car.height, car.width, car.length, car.z) == (2.5, 1.5, 4.5, 69.5)
    assert (dontcare.class_name, dontcare.occlusion) == ("dontcare", -1)
    parsed = records.parse(tf.constant(tlt_example()))
    assert parsed.boxes.numpy()[0].tolist() == [156.25, 599.5, 189.25, 629.75]


def test_a_record_of_tlt_with_empty_lists_of_no_kind_is_an_image_without_objects():
    empty = {key: [] for key in records._FLOATS} | {records.CLASS: [], records.OCCLUSION: []}
    assert records.from_example(tlt_example(**empty)).objects == ()
    assert records.parse(tf.constant(tlt_example(**empty))).boxes.shape == (0, 4)


def test_our_records_have_the_features_and_kinds_of_tlt():
    def kinds(serialized):
        features = tf.train.Example.FromString(serialized).features.feature
        return {key: features[key].WhichOneof("kind") for key in features}

    optional = {key for key in kinds(tlt_example()) if not key.startswith(("frame", "target"))}
    expected = {key: kind for key, kind in kinds(tlt_example()).items() if key not in optional}
    assert kinds(records.to_example(Record("a", 1, 1, (CAR,)))) == expected
    assert kinds(records.to_example(Record("a", 1, 1))) == expected


def test_objects_without_occlusion_are_fully_visible():
    serialized = tlt_example(**{records.OCCLUSION: []})
    assert [item.occlusion for item in records.from_example(serialized).objects] == [0, 0]
    assert records.parse(tf.constant(serialized)).occlusion.numpy().tolist() == [0, 0]


def test_a_record_with_fewer_boxes_than_classes_is_an_error_that_names_it():
    with pytest.raises(DataError, match=r"image_2/000007: 2 classes, but 1 values in .*x1"):
        records.from_example(tlt_example(**{"target/coordinates_x1": [1.0]}))


@pytest.mark.slow
def test_bytes_that_are_no_example_are_an_error():
    with pytest.raises(DataError, match=r"not a serialised"):
        records.from_example(b"\xff\xff\xff")
