import pytest
import tensorflow as tf

from frcnn_core.data.classes import ClassMap
from frcnn_core.errors import SpecError


def test_classes_are_in_alphabetical_order_each_once():
    class_map = ClassMap.of({"van": "vehicle", "cyclist": "bike", "car": "vehicle"})
    assert class_map.names == ("bike", "vehicle")


def test_upper_and_lower_case_do_not_matter():
    class_map = ClassMap.of({"RBC": "Cell"})
    assert class_map.names == ("cell",)
    assert class_map.ids(["rbc", "RBC", "Rbc"]).numpy().tolist() == [0, 0, 0]


def test_a_label_that_is_not_mapped_gets_minus_one():
    class_map = ClassMap.of({"car": "car", "person": "person"})
    assert class_map.ids(["person", "dontcare", "car"]).numpy().tolist() == [1, -1, 0]


def test_no_labels_give_no_ids():

    assert ClassMap.of({"car": "car"}).ids(tf.zeros(0, tf.string)).shape == (0,)


def test_one_label_cannot_become_two_classes():
    with pytest.raises(SpecError, match="'car' is mapped to both 'vehicle' and 'automobile'"):
        ClassMap.of({"car": "vehicle", "Car": "automobile"})


def test_an_empty_mapping_is_an_error_that_says_what_to_write():
    with pytest.raises(SpecError, match=r'target_class_mapping \{ key: "car" value: "car" \}'):
        ClassMap.of({})


def test_blanks_and_underscores_do_not_matter_where_no_key_is_exactly_the_label():
    class_map = ClassMap.of({"trafficlight": "light", "parking_meter": "meter"})
    labels = ["traffic light", "Traffic_Light", "parking meter", "parking-meter", "park"]
    assert class_map.ids(tf.constant(labels)).numpy().tolist() == [0, 0, 1, 1, -1]
    assert [class_map.target(label) for label in labels] == [
        "light",
        "light",
        "meter",
        "meter",
        None,
    ]


@pytest.mark.slow
def test_keys_that_differ_by_an_underscore_stay_apart():
    class_map = ClassMap.of({"a_b": "first", "ab": "second"})
    labels = ["a_b", "ab", "a b"]  # of the last nobody knows which is meant
    assert class_map.ids(tf.constant(labels)).numpy().tolist() == [0, 1, -1]
    assert [class_map.target(label) for label in labels] == ["first", "second", None]
