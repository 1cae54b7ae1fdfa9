import logging

import pytest

from frcnn_core.data.bad_images import BadImages
from frcnn_core.errors import DataError


def test_each_file_counts_and_is_warned_of_once(caplog):
    bad = BadImages(limit=2)
    with caplog.at_level(logging.WARNING):
        bad.add({"a.png": "is damaged."})
        bad.add({"a.png": "is damaged.", "b.png": "is gone."})
    assert [record.getMessage() for record in caplog.records] == [
        "a.png: is damaged. The image is skipped.",
        "b.png: is gone. The image is skipped.",
    ]
    assert bad.reasons == {"a.png": "is damaged.", "b.png": "is gone."}


def test_more_than_the_limit_is_an_error_that_lists_all_of_them():
    bad = BadImages(limit=1)
    bad.add({"a.png": "is damaged."})
    with pytest.raises(DataError) as error:
        bad.add({"b.png": "is gone."})
    message = str(error.value)
    assert message.startswith("2 images cannot be used, and --max-bad allows 1:")
    assert "\n  a.png: is damaged." in message
    assert "\n  b.png: is gone." in message


def test_none_are_allowed_unless_asked_for():
    with pytest.raises(DataError, match="1 image cannot be used"):
        BadImages().add({"a.png": "is damaged."})


def test_the_summary_is_a_line_or_nothing():
    bad = BadImages(limit=3)
    assert bad.summary() == ""
    bad.add({"a.png": "is damaged.", "b.png": "is gone."})
    assert bad.summary() == "2 images could not be used: skipped, see above."


@pytest.mark.slow
def test_what_several_processes_found_counts_together_and_is_the_same_in_all():
    first, second = BadImages(limit=2), BadImages(limit=2)
    first.add({"a.png": "is damaged."})
    second.add({"b.png": "is gone."})
    found = [dict(first.reasons), dict(second.reasons)]
    for bad in (first, second):
        bad.merge(found)
        assert list(bad.reasons) == ["a.png", "b.png"]
    with pytest.raises(DataError, match="3 images cannot be used"):
        first.merge([first.reasons, {"c.png": "is gone."}])
