from dataclasses import replace

import pytest
from PIL import Image

from frcnn_core.data import folders
from frcnn_core.data.folders import LabelledFolder
from frcnn_core.data.labels import Labels, LabelSet, Object
from frcnn_core.errors import DataError

BUS = Object("bus", x1=1, y1=2, x2=3, y2=4)


class Given(LabelSet):
    """Labels from a dictionary: image name -> what is said of it, or the error to raise."""

    def __init__(self, labels, *, lists_images=False):
        self._labels = labels
        self.lists_images = lists_images

    @property
    def names(self):
        return self._labels.keys()

    def read(self, name, size):
        if isinstance(self._labels[name], str):
            raise DataError(self._labels[name])
        return self._labels[name]

    def place(self, name):
        return f"labels/{name}.xml"


@pytest.fixture
def folder(tmp_path) -> LabelledFolder:
    """Images a, b and below/c of 8 x 6 pixels (width x height), each with a bus."""
    (tmp_path / "images" / "below").mkdir(parents=True)
    names = ("a", "b", "below/c")
    for name in names:
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.png")
    return LabelledFolder(tmp_path, "images", Given(dict.fromkeys(names, Labels((BUS,), ("?",)))))


@pytest.mark.parametrize(
    ("images", "frame_id"),
    [("images", "images/a"), ("sub/images/", "sub/images/a"), ("", "a")],
)
def test_a_frame_id_is_the_path_below_the_root(folder, images, frame_id):
    assert replace(folder, images=images).frame_id("a") == frame_id


def test_images_are_found_with_their_labels(folder):
    images, problems = folder.find()
    assert list(images) == ["a", "b", "below/c"]
    assert problems == []
    record = folder.read("below/c", images["below/c"])
    assert (record.frame_id, record.height, record.width) == ("images/below/c", 6, 8)
    assert record.objects == (BUS,)


def test_a_label_file_without_image_is_a_warning(folder, caplog):
    labels = Given({"a": Labels(), "lost": Labels()})
    images, problems = replace(folder, labels=labels).find()
    assert (len(images), problems) == (3, [])
    assert "1 of 2 label files have no image in" in caplog.text
    assert "labels/lost.xml" in caplog.text


def test_labels_that_list_their_images_say_which_count(folder):
    labels = Given({"b": Labels(), "lost": Labels()}, lists_images=True)
    images, problems = replace(folder, labels=labels).find()
    assert list(images) == ["b"]
    assert problems == [f"labels/lost.xml: there is no such image in {folder.folder}."]


def test_a_list_of_images_takes_some_and_names_those_that_are_not_there(folder, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("below/c.png\nlost\n")
    images, problems = replace(folder, image_list=path).find()
    assert list(images) == ["below/c"]
    assert problems == [f"{path}:2: 'lost' has no image in {folder.folder}."]


def test_labels_of_another_folder_are_one_error(folder):
    labels = Given({f"frame{number}": Labels() for number in range(9)})
    with pytest.raises(DataError) as caught:
        replace(folder, labels=labels).find()
    assert str(caught.value) == (
        f"{folder.folder}: not one of the 3 images has a label file. For a it would be"
        " labels/a.xml."
    )


def test_a_list_in_the_labels_for_another_folder_is_one_error(folder):
    labels = Given({f"frame{number}": Labels() for number in range(9)}, lists_images=True)
    with pytest.raises(DataError, match="not one of the 9 images that are listed is in"):
        replace(folder, labels=labels).find()


def test_labels_that_list_nothing_are_an_error(folder):
    with pytest.raises(DataError, match="its labels list no images"):
        replace(folder, labels=Given({}, lists_images=True)).find()


def test_everything_that_is_wrong_with_an_image_is_told(folder):
    (folder.folder / "a.png").write_bytes(b"no image")
    labels = Given({"a": "labels/a.xml:3: no box.\nlabels/a.xml:7: no name."})
    with pytest.raises(DataError) as caught:
        replace(folder, labels=labels).read("a", folder.folder / "a.png")
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{folder.folder}/a.png",
        "labels/a.xml:3",
        "labels/a.xml:7",
    ]


def test_a_size_that_the_labels_state_is_compared(folder):
    path = folder.folder / "a.png"
    good = replace(folder, labels=Given({"a": Labels(size=(6, 8))}))
    assert good.read("a", path).height == 6
    bad = replace(folder, labels=Given({"a": Labels(size=(8, 6))}))
    with pytest.raises(DataError, match=r"labels/a\.xml: says .* 8 x 6 .*/a\.png is 6 x 8"):
        bad.read("a", path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "ending"),
    [(("a.png", "b.png"), ".png"), (("a.png", "b.PNG"), ""), (("a.png", "b.jpg"), "")],
)
def test_an_ending_is_common_if_it_is_the_same_in_case_too(tmp_path, names, ending):
    assert folders.common_extension(tmp_path / name for name in names) == ending
