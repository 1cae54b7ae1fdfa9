import pytest

from frcnn_core.errors import DataError
from frcnn_yolo_labels import YoloLabels, classes

TWO = {0: "car", 1: "traffic light"}


@pytest.mark.parametrize(
    "text",
    [
        "names: [car, traffic light]\n",
        "nc: 2\nnames: ['car', \"Traffic Light\"]  # two\n",
        "names: ['car',\n  'traffic light',\n]\nnc: 2\n",
        "names:\n- car\n- traffic light\n",
        "names:\n  - car  # four wheels\n\n  # a comment\n  - 'traffic light'\nroboflow:\n  x: 1\n",
        "names:\n  0: car\n  1: traffic light\ndownload: |\n  names\n",
        "names: {0: car, 1: 'traffic light'}\n",
        "names: {\n  '0': car,\n  '1': traffic light\n}\n",
        "names :\n  1: traffic light\n  0: car\n",
    ],
)
def test_the_forms_of_names_that_data_sets_use_are_read(text):
    assert classes.yaml_names(text, "data.yaml") == TWO


def test_commas_colons_and_hashes_in_quotes_belong_to_the_name():
    text = "names: ['a, b', 'it''s', \"c: d\", 'e #5']"
    assert classes.yaml_names(text, "data.yaml") == {0: "a, b", 1: "it's", 2: "c: d", 3: "e #5"}


def test_numbers_may_leave_some_out():
    assert classes.yaml_names("names:\n  3: car\n", "data.yaml") == {3: "car"}


@pytest.mark.parametrize(
    "text",
    [
        "names: *anchor\n",
        "names: [car\n",
        "names:\n",
        "names: []\n",
        "names:\n  car: 0\n",
        "names:\n  0: car\n  0: dog\n",
        "names: [car, , dog]\n",
    ],
)
def test_other_forms_are_refused_with_a_way_out(text):
    with pytest.raises(DataError, match=r"data.yaml:1: names: must be a list.*classes.txt"):
        classes.yaml_names(text, "data.yaml")


def test_names_that_belong_to_another_key_are_not_taken():
    with pytest.raises(DataError, match="has no names:"):
        classes.yaml_names("train:\n  names: [car]\n", "data.yaml")


@pytest.mark.parametrize("where", [".", "labels", "labels/train"])
@pytest.mark.parametrize(
    "name, text",
    [
        ("classes.txt", "car\nTraffic Light\n\n"),
        ("obj.names", "car\r\ntraffic light\r\n"),
        ("data.yaml", "names: [car, traffic light]"),
    ],
)
def test_names_are_found_beside_the_labels_and_up_to_two_folders_above(tmp_path, where, name, text):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / where / name).write_text(text)
    assert classes.beside(tmp_path / "labels" / "train") == TWO


def test_the_nearest_file_counts_and_two_in_one_folder_must_agree(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("dog\n")
    (tmp_path / "labels" / "classes.txt").write_text("car\ntraffic light\n")
    assert classes.beside(tmp_path / "labels") == TWO
    (tmp_path / "labels" / "data.yaml").write_text("names: [traffic light, car]\n")
    with pytest.raises(DataError, match=r"data.yaml beside it name different classes"):
        classes.beside(tmp_path / "labels")


def test_labels_whose_classes_nothing_names_are_refused(tmp_path):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match="set the option classes"):
        YoloLabels().open(tmp_path / "labels" / "train", YoloLabels.Options())


def test_names_may_be_given_as_words_or_as_a_file(tmp_path):
    assert classes.given("Car, Traffic Light") == TWO
    (tmp_path / "my.names").write_text("car\ntraffic light\n")
    assert classes.given(str(tmp_path / "my.names")) == TWO
    with pytest.raises(DataError, match="has an empty name"):
        classes.given("car,,dog")
    with pytest.raises(DataError, match=r"none.txt: cannot be read"):
        classes.given(str(tmp_path / "none.txt"))


@pytest.mark.slow
def test_an_empty_line_between_names_is_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("car\n\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt:2: is empty, which would shift"):
        classes.read(tmp_path / "classes.txt")
