import pytest

from frcnn_core.errors import DataError
from frcnn_core.plugin.components import LabelFormat
from frcnn_core.plugin.discovery import installed
from frcnn_core.plugin.label_formats import recognise
from frcnn_core.plugin.registry import Registered, Registry

FORMATS = installed().label_formats
KITTI = "car 0 0 0 1 2 30 40 0 0 0 0 0 0 0\n"


@pytest.mark.parametrize(
    "file, content, name",
    [
        ("a.txt", KITTI, "kitti"),
        ("day/a.txt", KITTI.replace("car", "0"), "kitti"),
        ("a.txt", "0 0.5 0.5 0.2 0.2\n", "yolo"),
        ("a.txt", "0 0.5 0.5 0.2 0.2 0.75\n", "yolo"),
        ("a.txt", "1" + " 0.5 0.25" * 7, "yolo"),
        ("a.xml", '<?xml version="1.0"?>\n<annotation></annotation>', "voc"),
        ("instances.json", '\ufeff{"info": {}, "images": []}', "coco"),
    ],
)
def test_a_format_is_told_from_a_file(tmp_path, file, content, name):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    assert recognise(tmp_path, FORMATS).name == name


def test_files_of_objects_are_found_among_empty_ones_and_beside_names_and_images(tmp_path):
    (tmp_path / "classes.txt").write_text("car\n")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert recognise(tmp_path, FORMATS).name == "yolo"


def test_a_file_for_all_images_is_recognised_by_itself(tmp_path):
    path = tmp_path / "labels"
    path.write_text('{"categories": []}')
    assert recognise(path, FORMATS).name == "coco"


@pytest.mark.parametrize("content", ["hello\n", "1 2 3\n", "", '{"a": 1}'])
def test_labels_of_no_format_are_an_error_that_lists_the_formats(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="labels of no known format") as caught:
        recognise(tmp_path, FORMATS)
    names = [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert names == ["coco", "kitti", "voc", "yolo"]


def test_labels_of_two_formats_are_an_error_that_names_both(tmp_path):
    (tmp_path / "a.txt").write_text(KITTI)
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="may be kitti and voc; say which"):
        recognise(tmp_path, FORMATS)


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there is no such folder or file"):
        recognise(tmp_path / "labels", FORMATS)


@pytest.mark.slow
def test_a_format_whose_modules_are_missing_is_not_asked(tmp_path):
    class Needy(LabelFormat):
        name, summary, requires = "needy", "for tests", ("a_module_that_is_not_there",)

        def open(self, labels, options):
            raise NotImplementedError

        def write(self, images, output, options):
            raise NotImplementedError

        def recognises(self, labels):
            raise ImportError

    formats = Registry("label format", [])
    formats.add(Registered(Needy(), "needy", "needy 1.0"))
    with pytest.raises(DataError, match="labels of no known format"):
        recognise(tmp_path, formats)
