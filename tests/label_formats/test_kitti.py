import pytest

from frcnn_core.builtin.label_formats import Kitti
from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.errors import DataError
from frcnn_core.plugin.components import NoOptions

CAR = "Car 0.25 1 -1.5 10 20 30 40 1.5 1.6 3.9 1 2 30 0.1"


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "a.txt").write_text(f"{CAR}\n\n{CAR}\n")
    (tmp_path / "day" / "b.TXT").write_text("")
    return Kitti().open(tmp_path, NoOptions())


def test_files_are_found_at_any_depth_and_in_any_case(labels):
    assert list(labels.names) == ["a", "day/b"]
    assert labels.read("day/b", None).objects == ()


def test_an_object_knows_its_line(labels, tmp_path):
    assert labels.read("a", None).places == (f"{tmp_path}/a.txt:1", f"{tmp_path}/a.txt:3")


def test_all_fields_are_kept_in_writing(labels, tmp_path):
    objects = (
        *labels.read("a", None).objects,
        Object("car", 1 / 3, 2, 3, 4, rotation_y=0.123456, score=1 / 7),
    )
    Kitti().write([LabelledImage("c/d.png", (1, 1), objects)], tmp_path / "new", NoOptions())
    assert Kitti().open(tmp_path / "new", NoOptions()).read("c/d", None).objects == objects


def test_a_missing_file_is_an_error_that_says_where_it_should_be(labels, tmp_path):
    with pytest.raises(DataError) as caught:
        labels.read("night/x", None)
    assert str(caught.value) == (
        f"{tmp_path}/night/x.txt: there is no such label file; make an empty one if the image has"
        " no objects."
    )


def test_a_crowd_is_refused_with_its_image(tmp_path):
    image = LabelledImage("a.png", (9, 9), (Object("car", 1, 2, 3, 4, crowd=True),) * 2)
    with pytest.raises(DataError, match=r"^a.png: 2 crowd box\(es\), which KITTI labels cannot"):
        Kitti().write([image], tmp_path / "new", NoOptions())
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_several_words_of_a_class_are_joined_since_fields_are_separated_by_blanks(tmp_path):
    image = LabelledImage("a.png", (9, 9), (Object("traffic light", 1, 2, 3, 4),))
    Kitti().write([image], tmp_path / "new", NoOptions())
    assert (tmp_path / "new" / "a.txt").read_text().startswith("traffic_light 0.00 0 ")
