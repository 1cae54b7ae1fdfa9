import pytest

from frcnn_core.data.classes import ClassMap
from frcnn_core.survey.class_checks import ClassCounts, check_classes


def counts(**numbers: int) -> ClassCounts:
    """That many objects of each class in ``training``; double underscores are blanks."""
    made = ClassCounts()
    for name, number in numbers.items():
        for index in range(number):
            made.add("training", name.replace("__", " "), f"{name}.txt:{index + 1}")
    return made


def found(made, class_map=None, splits=("training",)) -> list[tuple[str, str]]:
    mapping = ClassMap.of(class_map) if class_map else None
    return [(one.code, one.place) for one in check_classes(made, splits, mapping)]


def test_classes_that_are_known_and_frequent_are_sound():
    assert found(counts(car=10, Bus=10), {"car": "vehicle", "bus": "bus"}) == []


def test_a_class_that_is_not_mapped_is_told_once_with_its_first_place():
    made = counts(truck=10, trcuk=3)
    (finding,) = check_classes(made, ["training"], ClassMap.of({"truck": "truck"}))
    assert (finding.code, finding.class_name) == ("unknown-class", "trcuk")
    assert finding.reason == "3 objects left out, the first at trcuk.txt:1. Is it 'truck'?"


def test_the_most_frequent_unknown_class_comes_first():
    made = counts(car=10, sky=3, dontcare=5)
    assert [place for _, place in found(made, {"car": "car"})] == ["dontcare", "sky"]


def test_names_that_only_blanks_or_dashes_tell_apart_are_similar():
    assert found(counts(traffic__light=10, traffic_light=10, TrafficLight=10)) == [
        ("similar-classes", "TrafficLight")
    ]


def test_upper_and_lower_case_are_the_same_and_no_reason_to_tell():
    assert ("similar-classes", "Car") not in found(counts(Car=10, car=10))


def test_similar_names_that_are_mapped_to_one_class_are_sound():
    mapping = {"traffic_light": "light", "traffic light": "light"}
    assert found(counts(traffic_light=10, traffic__light=10), mapping) == []


def test_objects_of_all_labels_of_a_class_are_counted_together():
    assert found(counts(car=5, van=5), {"car": "vehicle", "van": "vehicle"}) == []
    assert found(counts(car=5, van=4), {"car": "vehicle", "van": "vehicle"}) == [
        ("rare-class", "vehicle")
    ]


@pytest.mark.slow
def test_a_class_without_objects_is_told_for_each_split():
    made = counts(car=10)
    findings = list(check_classes(made, ["training", "validation"], ClassMap.of({"car": "car"})))
    assert [(one.code, one.split, one.reason) for one in findings] == [
        ("absent-class", "validation", "no objects in validation.")
    ]
