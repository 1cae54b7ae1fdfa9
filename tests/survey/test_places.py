import pytest

from frcnn_core.survey.places import place_and_reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "place", "reason"),
    [
        ("label_2/a.txt:3: occluded is 'x': bad.", "label_2/a.txt:3", "occluded is 'x': bad."),
        (
            "all.json:3:17: not JSON: Expecting value.",
            "all.json:3:17",
            "not JSON: Expecting value.",
        ),
        ("all.json: annotation 17: is there twice.", "all.json: annotation 17", "is there twice."),
        ("all.json: image a.png: is not here.", "all.json: image a.png", "is not here."),
        ("labels: there is no such folder.", "labels", "there is no such folder."),
        ("nothing but a reason.", "a.txt", "nothing but a reason."),
    ],
)
def test_a_line_is_taken_apart(line, place, reason):
    assert place_and_reason(line, "a.txt") == (place, reason)
