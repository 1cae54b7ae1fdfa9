import pytest
from click.testing import CliRunner
from PIL import Image

from frcnn_core.cli import main

CAR = "Car 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "ab":
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text(CAR)
    return tmp_path


def run(folder, *arguments, labels="labels", output="new"):
    words = ["dataset", "labels", folder / "images", folder / labels, *arguments]
    return CliRunner().invoke(main, [*map(str, words), "-o", str(folder / output)])


def test_labels_are_converted_from_the_format_they_are_in(folder):
    result = run(folder, "--to", "yolo")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == (
        f"kitti to yolo: 2 images with 2 objects (2 car), 3 file(s) written to {folder}/new."
    )
    result = run(folder, "--to", "kitti", labels="new", output="back")
    assert result.exit_code == 0, result.output
    assert (folder / "back" / "b.txt").read_text().startswith("car 0.00 0 0.00 1.000 2.000 3.000 ")


def test_options_go_to_the_format_that_is_read_and_to_the_one_that_is_written(folder):
    result = run(folder, "--to", "yolo", "--to-option", "classes=dog,car")
    assert result.exit_code == 0, result.output
    (folder / "new" / "classes.txt").unlink()
    result = run(folder, "--to", "voc", labels="new", output="voc")
    assert result.exit_code == 2
    assert "set the option classes" in result.output
    words = ("--to", "voc", "--from", "yolo", "--from-option", "classes=dog,cat")
    result = run(folder, *words, labels="new", output="voc")
    assert result.exit_code == 0, result.output
    assert "(2 cat)" in result.output


@pytest.mark.parametrize(
    "words, problem",
    [
        (("--to", "vok"), "--to: no label format is called 'vok'"),
        (("--to", "voc", "--from", "kity"), "--from: no label format is called 'kity'"),
        (("--to", "voc", "--to-option", "one_base=1"), "--to-option.one_base: unknown option"),
        (("--to", "voc", "--to-option", "one_based"), "write NAME=VALUE"),
        (("--to", "voc", "--from", "coco"), "no file ends in .json"),
    ],
)
def test_what_is_typed_wrong_is_told_and_nothing_written(folder, words, problem):
    result = run(folder, *words)
    assert result.exit_code == 2
    assert problem in result.output
    assert not (folder / "new").exists()


def test_bad_labels_are_told_with_their_lines(folder):
    (folder / "labels" / "b.txt").write_text(CAR + "Car 0\n")
    result = run(folder, "--to", "coco")
    assert result.exit_code == 2
    assert f"{folder}/labels/b.txt:2: 2 fields" in result.output


def test_what_exists_is_left_alone(folder):
    (folder / "new").write_text("mine")
    result = run(folder, "--to", "coco")
    assert result.exit_code == 2
    assert "new exists" in result.output
    assert (folder / "new").read_text() == "mine"


@pytest.mark.slow
def test_what_is_left_out_is_counted(folder):
    assert run(folder, "--to", "coco").exit_code == 0
    Image.new("RGB", (8, 6)).save(folder / "images" / "c.png")
    result = run(folder, "--to", "yolo", labels="new", output="yolo")
    assert "Left out: 1 image(s) that the labels do not list." in result.output
