import pytest

from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.errors import DataError
from frcnn_yolo_labels import YoloLabels

SIZE = (100, 200)
"""Height and width: 0.1 is 10 pixels down and 20 across."""


@pytest.fixture
def read(tmp_path):
    (tmp_path / "classes.txt").write_text("Car\nTraffic  Light\n")

    def read(text, size=SIZE):
        (tmp_path / "a.txt").write_text(text)
        return YoloLabels().open(tmp_path, YoloLabels.Options()).read("a", size)

    return read


def write(folder, *objects, size=SIZE, **options):
    image = LabelledImage("a.png", size, objects)
    YoloLabels().write([image], folder, YoloLabels.Options(**options))
    return (folder / "a.txt").read_text()


def test_fractions_become_pixels_and_numbers_names(read, tmp_path):
    labels = read("0 0.5 0.5 0.2 0.4\n\n1 0.1 0.1 0.2 0.2\n")
    assert labels.objects == (
        Object("car", 80, 30, 120, 70),
        Object("traffic light", 0, 0, 40, 20),
    )
    assert labels.places == (f"{tmp_path}/a.txt:1", f"{tmp_path}/a.txt:3")


def test_a_sixth_number_is_a_score(read):
    (item,) = read("0 0.5 0.5 0.2 0.4 0.75").objects
    assert item.score == 0.75


def test_a_polygon_is_read_as_the_box_around_it(read):
    (item,) = read("0 0.1 0.2 0.3 0.1 0.2 0.5").objects
    assert (item.x1, item.y1, item.x2, item.y2) == (20, 10, 60, 50)


def test_an_image_without_a_file_has_no_objects(read, tmp_path):
    read("")
    labels = YoloLabels().open(tmp_path, YoloLabels.Options())
    assert labels.read("b", SIZE).objects == ()
    assert list(labels.names) == ["a"]


@pytest.mark.parametrize(
    "line, problem",
    [
        ("0 0.5 0.5 0.2", "4 fields, but a YOLO label has 5"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "8 fields, but a YOLO label has 5"),
        ("2 0.5 0.5 0.2 0.2", "class 2 has no name; those that have are 0 to 1."),
        ("-1 0.5 0.5 0.2 0.2", "class -1 has no name"),
        ("0.5 0.5 0.5 0.2 0.2", "class is '0.5', but must be a whole number."),
        ("car 0.5 0.5 0.2 0.2", "class is 'car', but must be a whole number."),
        ("0 nan 0.5 0.2 0.2", "nan is no fraction of the image, from 0 to 1."),
        ("0 0.5 inf 0.2 0.2", "inf is no fraction"),
        ("0 0.5 0.5 0.2 1.01", "1.01 is no fraction"),
        ("0 -0.1 0.5 0.2 0.2", "-0.1 is no fraction"),
        ("0 0.5 x 0.2 0.2", "x is no fraction"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(read, tmp_path, line, problem):
    with pytest.raises(DataError) as caught:
        read(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/a.txt:2: {problem}")


def test_what_rounding_puts_outside_is_no_mistake(read):
    (item,) = read("0 0.5 0.5 1.0005 1").objects
    assert item.x1 == pytest.approx(-0.05)


def test_boxes_cannot_be_read_without_the_size_of_the_image(read):
    with pytest.raises(DataError, match=r"a.txt: the size of the image is needed"):
        read("0 0.5 0.5 0.2 0.2", None)


def test_classes_are_numbered_in_alphabetical_order_or_as_given(tmp_path):
    objects = Object("person", 80, 30, 120, 70), Object("car", 80, 30, 120, 70)
    lines = write(tmp_path / "one", *objects).splitlines()
    assert lines == [
        "1 0.500000 0.500000 0.200000 0.400000",
        "0 0.500000 0.500000 0.200000 0.400000",
    ]
    assert (tmp_path / "one" / "classes.txt").read_text() == "car\nperson\n"
    lines = write(tmp_path / "two", *objects, classes="Person, Dog, Car").splitlines()
    assert [line[0] for line in lines] == ["0", "2"]
    with pytest.raises(DataError, match="lacks 'car', which the labels have"):
        write(tmp_path / "three", *objects, classes="person")


def test_as_many_digits_are_written_as_the_box_needs(tmp_path):
    text = write(tmp_path / "new", Object("car", 1 / 3, 0, 2 / 3, 7), size=(7, 9))
    (item,) = YoloLabels().open(tmp_path / "new", YoloLabels.Options()).read("a", (7, 9)).objects
    assert (item.x1, item.x2) == (1 / 3, 2 / 3)
    assert text.split()[3].startswith("0.0370370370370370")


@pytest.mark.parametrize(
    "box", [(-30, 10, 10, 20), (30, 10, 20, 20), (-1, 10, 210, 20), (10, 90, 20, 115)]
)
def test_a_box_that_is_no_fraction_of_its_image_is_refused(tmp_path, box):
    with pytest.raises(DataError, match=r"^a.png: car at \(.*YOLO labels cannot hold it"):
        write(tmp_path / "new", Object("car", *box))
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_an_image_may_not_be_called_as_the_file_of_names(tmp_path):
    image = LabelledImage("classes.png", SIZE, ())
    with pytest.raises(DataError, match=r"classes.png: classes.txt is taken"):
        YoloLabels().write([image], tmp_path / "new", YoloLabels.Options())
