import pytest

from frcnn_core.data import label_files
from frcnn_core.data.labels import LabelledImage
from frcnn_core.errors import DataError, FrcnnError


def image(file):
    return LabelledImage(file, (4, 6), ())


def write(output, *images, **options):
    return label_files.write(map(image, images), output, ".lbl", lambda one: one.file, **options)


def test_files_are_found_below_the_folder_by_their_path_without_ending(tmp_path):
    for name in ("b.lbl", "a/c.d.LBL", "a/.hidden.lbl", ".git/x.lbl", "notes.lbl", "a/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = label_files.find(tmp_path, ".lbl", others=("notes.lbl",))
    assert found == {"a/c.d": tmp_path / "a/c.d.LBL", "b": tmp_path / "b.lbl"}


def test_two_files_of_one_name_are_an_error(tmp_path):
    (tmp_path / "a.lbl").touch()
    (tmp_path / "a.LBL").touch()
    with pytest.raises(DataError, match=r"there is a\.\w+ too; remove one"):
        label_files.find(tmp_path, ".lbl")


def test_a_folder_without_labels_is_an_error_that_says_what_is_there(tmp_path):
    for name in ("a.xml", "b.xml", "c.png"):
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        label_files.find(tmp_path, ".lbl")
    assert str(caught.value) == (
        f"{tmp_path}: no label file ends in .lbl. Files there: 2 .xml, 1 .png."
    )
    with pytest.raises(DataError, match="there is no such folder"):
        label_files.find(tmp_path / "a.xml", ".lbl")


def test_a_sample_passes_over_blank_files_and_ends_after_a_few(tmp_path):
    for number in range(50):
        (tmp_path / f"{number:02}.lbl").write_text("" if number < 5 else f"{number}")
    assert list(label_files.sample(tmp_path, ".lbl")) == [str(n) for n in range(5, 20)]
    assert list(label_files.sample(tmp_path / "00.lbl", ".lbl")) == []


def test_a_file_is_written_for_each_image_and_the_others_last(tmp_path):
    files = write(tmp_path / "new", "day/a.b.png", "c.jpg", others={"names.txt": "x"})
    assert files == [tmp_path / "new" / name for name in ("day/a.b.lbl", "c.lbl", "names.txt")]
    assert [path.read_text() for path in files] == ["day/a.b.png", "c.jpg", "x"]


@pytest.mark.parametrize(
    "files, problem",
    [
        (["a.png", "a.jpg"], "a.jpg: a.lbl is taken by a.png; rename the image."),
        (["../a.png"], "../a.png: is not in the image folder."),
        (["/etc/a.png"], "/etc/a.png: is not in the image folder."),
        (["names.png"], "names.png: names.lbl is taken by a file of the format's own"),
    ],
)
def test_where_one_image_cannot_be_written_none_is(tmp_path, files, problem):
    with pytest.raises(DataError) as caught:
        write(tmp_path / "new", "first.png", *files, others={"names.lbl": ""})
    assert str(caught.value).startswith(problem)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(FrcnnError, match="new exists"):
        write(tmp_path / "new", "a.png")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "value, text",
    [
        (3.0, "3"),
        (3, "3"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (-2.5, "-2.5"),
        (1e-7, "1e-07"),
    ],
)
def test_a_number_is_as_short_as_can_be_without_changing(value, text):
    assert label_files.number(value) == text
    assert float(text) == value
