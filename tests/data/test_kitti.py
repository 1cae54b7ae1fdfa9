import pytest

from frcnn_core.data import kitti
from frcnn_core.data.labels import Object
from frcnn_core.errors import DataError

LINE = "Car 0.88 3 -0.69 0.00 192.37 402.31 374.00 1.60 1.57 3.23 -2.70 1.74 3.68 -1.29"


def test_the_fields_of_a_line_of_the_benchmark_are_read_in_order():
    assert kitti.parse(LINE, "a.txt") == [
        Object(
            class_name="car",
            truncation=0.88,
            occlusion=3,
            observation_angle=-0.69,
            x1=0.0,
            y1=192.37,
            x2=402.31,
            y2=374.0,
            height=1.6,
            width=1.57,
            length=3.23,
            x=-2.7,
            y=1.74,
            z=3.68,
            rotation_y=-1.29,
        )
    ]


def test_a_sixteenth_field_is_the_score():
    assert kitti.parse(LINE + " 0.75", "a.txt")[0].score == 0.75


def test_a_detection_is_written_with_zeros_for_what_is_not_known():
    line = kitti.format_line(Object("person", x1=1.5, y1=2.0, x2=3.25, y2=4.0, score=0.5))
    assert [float(field) for field in line.split()[1:]] == (
        [0.0, 0.0, 0.0, 1.5, 2.0, 3.25, 4.0] + [0.0] * 7 + [0.5]
    )


def test_objects_come_back_from_their_text():
    objects = [
        Object("person", x1=1.5, y1=-2.0, x2=3.125, y2=4.0, score=0.25),
        *kitti.parse(LINE, "a.txt"),
    ]
    assert kitti.parse(kitti.format_text(objects), "a.txt") == objects


def test_a_blank_in_a_class_name_does_not_shift_the_fields():
    text = kitti.format_line(Object("traffic light", x1=1, y1=2, x2=3, y2=4))
    assert kitti.parse(text, "a.txt")[0].class_name == "traffic_light"


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n"])
def test_an_empty_label_file_is_an_image_without_objects(text):
    assert kitti.parse(text, "a.txt") == []


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{LINE}\r\n\r\n{LINE}\r\n".encode())
    assert [item.class_name for item in kitti.read(path)] == ["car", "car"]


def test_every_wrong_line_is_reported_with_its_number():
    text = "\n".join([LINE, "Car 0 0 0 1 2 3 4", LINE.replace("192.37", "top"), LINE])
    with pytest.raises(DataError) as caught:
        kitti.parse(text, "label_2/a.txt")
    first, second = str(caught.value).splitlines()
    assert first.startswith("label_2/a.txt:2: 8 fields, but a KITTI label has 15")
    assert second == "label_2/a.txt:3: top is 'top', but must be a number."


@pytest.mark.parametrize("value", ["nan", "inf", "1,5"])
def test_a_coordinate_that_is_no_finite_number_is_an_error(value):
    with pytest.raises(DataError, match=f"right is '{value}'"):
        kitti.parse(LINE.replace("402.31", value), "a.txt")


def test_occlusion_must_be_whole():
    with pytest.raises(DataError, match=r"occluded is '0\.5'"):
        kitti.parse(LINE.replace(" 3 ", " 0.5 "), "a.txt")


def test_a_missing_label_file_says_how_to_label_an_image_without_objects(tmp_path):
    with pytest.raises(DataError, match="make an empty one"):
        kitti.read(tmp_path / "none.txt")


def test_a_binary_label_file_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        kitti.read(tmp_path / "a.txt")


def test_an_object_knows_its_line():
    assert kitti.labels(f"\n{LINE}\n\n{LINE}\n", "a.txt").places == ("a.txt:2", "a.txt:4")


def test_exact_numbers_have_the_digits_they_need_and_others_as_many_as_kittis():
    item = Object("car", x1=1 / 3, y1=2, x2=3, y2=4, score=0.1234567)
    line = kitti.format_line(item, exact=True)
    assert line.split()[4:6] == ["0.3333333333333333", "2.000"]
    assert kitti.parse(line, "a.txt") == [item]
    assert kitti.format_line(item).split()[4] == "0.333"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, is_kitti",
    [
        (LINE, True),
        (f"\n{LINE} 0.75", True),
        (LINE.rpartition(" ")[0], False),
        ("0 0.5 0.5 0.1 0.1", False),
        ("0" + " 0.5 0.25" * 7, False),
        ("a word or two", False),
        ("", False),
    ],
)
def test_kitti_labels_are_told_from_their_first_line(text, is_kitti):
    assert kitti.looks_like(text) == is_kitti
