import pytest

from frcnn_core.data.labels import Object
from frcnn_core.survey.duplicates import SeenImages

CAR = Object("car", 1, 2, 3, 4)
BUS = Object("bus", 1, 2, 3, 4)


def codes(seen, *image) -> list[str]:
    return [finding.code for finding in seen.add(*image)]


def test_an_image_is_new_once():
    seen = SeenImages()
    assert codes(seen, b"1", "a.png", "training", [CAR]) == []
    assert codes(seen, b"2", "b.png", "training", [CAR]) == []
    assert codes(seen, b"1", "c.png", "training", [CAR]) == ["duplicate-image"]


def test_the_other_split_weighs_more_than_the_own():
    seen = SeenImages()
    codes(seen, b"1", "a.png", "training", [CAR])
    codes(seen, b"1", "b.png", "validation", [CAR])
    (finding,) = seen.add(b"1", "c.png", "validation", [CAR])
    assert (finding.code, finding.reason) == (
        "duplicate-across-splits",
        "is in training too as a.png.",
    )


@pytest.mark.slow
def test_the_order_of_objects_does_not_matter_and_their_class_does():
    seen = SeenImages()
    codes(seen, b"1", "a.png", "training", [CAR, BUS])
    (same,) = seen.add(b"1", "b.png", "training", [BUS, CAR])
    (other,) = seen.add(b"1", "c.png", "training", [CAR, CAR])
    assert same.reason == "has the same pixels as a.png."
    assert other.reason == "has the same pixels as a.png; its labels say something else."
