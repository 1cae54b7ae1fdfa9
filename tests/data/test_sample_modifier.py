import pytest

from frcnn_core.data.labels import Object
from frcnn_core.data.records import Record
from frcnn_core.data.sample_modifier import SampleModifier

MAPPING = {"automobile": "car", "dog": "canine"}


def image(*class_names: str) -> Record:
    return Record("a", 9, 9, tuple(Object(name, x1=0, y1=0, x2=1, y2=1) for name in class_names))


@pytest.mark.parametrize(
    ("class_names", "kept"),
    [
        (["automobile", "car"], 0),
        (["automobile", "dog"], 1),
        (["dog"], 1),
        ([], 1),
    ],
)
def test_images_of_nothing_but_a_filtered_class_are_left_out(class_names, kept):
    modifier = SampleModifier(
        filter_samples_containing_only=frozenset({"car"}), source_to_target_class_mapping=MAPPING
    )
    assert len(modifier.modify([image(*class_names)], num_partitions=1)) == kept


@pytest.mark.parametrize(
    ("class_names", "imbalance", "count"),
    [
        (["automobile", "dog", "dog"], {}, 3),
        (["automobile", "dog"], {}, 1),
        (["automobile", "dog"], {"canine": 0.5}, 3),
        (["automobile", "automobile", "automobile", "dog"], {"canine": 0.5}, 1),
        (["automobile", "automobile"], {}, 1),
    ],
)
def test_an_image_with_many_of_a_rare_class_gets_copies(class_names, imbalance, count):
    modifier = SampleModifier(
        dominant_target_classes=frozenset({"car"}),
        minimum_target_class_imbalance=imbalance,
        num_duplicates=2,
        source_to_target_class_mapping=MAPPING,
    )
    assert len(modifier.modify([image(*class_names)], num_partitions=1)) == count


def test_the_largest_number_of_images_is_shared_by_the_training_partitions():
    samples = [image("car")] * 10
    modifier = SampleModifier(max_training_samples=9)
    assert len(modifier.modify(samples, num_partitions=1)) == 9
    assert len(modifier.modify(samples, num_partitions=2)) == 4


@pytest.mark.slow
def test_a_modifier_that_is_told_nothing_changes_nothing():
    samples = [image("car"), image(), image("dog", "dog")]
    assert SampleModifier().modify(samples, num_partitions=1) == samples
