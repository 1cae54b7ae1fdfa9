import json

import pytest
from PIL import Image

from frcnn_core.builtin.label_formats import Kitti
from frcnn_core.data.label_conversion import convert_labels
from frcnn_core.errors import DataError
from frcnn_core.plugin.components import NoOptions
from frcnn_core.plugin.discovery import installed

CAR = "Car 0 0 0 1 2 3.5 4 0 0 0 0 0 0 0\n"


@pytest.fixture
def folder(tmp_path):
    """Images a.png and day/b.jpg of 6 x 8 pixels, and KITTI labels of a car in a."""
    (tmp_path / "images" / "day").mkdir(parents=True)
    (tmp_path / "labels" / "day").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "day" / "b.jpg")
    (tmp_path / "labels" / "a.txt").write_text(CAR)
    (tmp_path / "labels" / "day" / "b.txt").write_text("")
    return tmp_path


def convert(folder, target="coco", *, source=None, **options):
    form = installed().label_formats.get(target)
    labels = source or Kitti().open(folder / "labels", NoOptions())

    def write(images, output):
        return form.write(images, output, form.Options())

    return convert_labels(folder / "images", labels, write, folder / "new", **options)


def coco(folder, content):
    path = folder / "instances.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "car"}]} | content))
    form = installed().label_formats.get("coco")
    return form.open(path, form.Options())


def test_sizes_come_from_the_image_files_and_names_from_their_places(folder):
    report = convert(folder)
    written = json.loads((folder / "new").read_text())
    assert [(one["file_name"], one["height"], one["width"]) for one in written["images"]] == [
        ("a.png", 6, 8),
        ("day/b.jpg", 6, 8),
    ]
    assert [one["bbox"] for one in written["annotations"]] == [[1, 2, 2.5, 2]]
    assert (report.num_images, report.objects, report.files) == (2, {"car": 1}, (folder / "new",))


def test_every_problem_is_told_and_nothing_written(folder):
    (folder / "labels" / "a.txt").write_text("Car 0\n" + CAR + "Car 1\n")
    (folder / "labels" / "day" / "b.txt").unlink()
    (folder / "images" / "c.png").write_bytes(b"no picture")
    (folder / "labels" / "c.txt").write_text("")
    with pytest.raises(DataError) as caught:
        convert(folder)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{folder}/").partition(": ")[0] for line in lines[:-1]] == [
        "labels/a.txt:1",
        "labels/a.txt:3",
        "images/c.png",
        "labels/day/b.txt",
    ]
    assert lines[-1] == "4 problem(s); nothing was written."
    assert not (folder / "new").exists()


def test_a_size_that_is_not_the_images_is_a_problem(folder):
    images = [{"id": 1, "file_name": "a.png", "height": 8, "width": 6}]
    source = coco(folder, {"images": images, "annotations": []})
    with pytest.raises(DataError, match=r"a.png: says that the image is 8 x 6 pixels .* is 6 x 8"):
        convert(folder, "kitti", source=source)


def test_images_that_a_list_lacks_are_left_out_and_those_it_has_too_many_of_are_problems(folder):
    images = [{"id": 1, "file_name": "a.png"}]
    report = convert(folder, "kitti", source=coco(folder, {"images": images, "annotations": []}))
    assert (report.num_images, report.num_not_listed) == (1, 1)
    assert not (folder / "new" / "day").exists()
    images.append({"id": 2, "file_name": "x.png"})
    with pytest.raises(DataError, match=r"instances.json: image x.png: there is no such image"):
        convert(folder, "kitti", source=coco(folder, {"images": images, "annotations": []}))


def test_labels_of_other_images_are_told_once(folder):
    for name in ("a.txt", "day/b.txt"):
        (folder / "labels" / name).rename(folder / "labels" / f"{name}x.txt")
    with pytest.raises(DataError, match="not one of the 2 images has a label file"):
        convert(folder)


@pytest.mark.slow
def test_crowds_are_left_out_if_asked_for(folder):
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": i}
        for i in (0, 1)
    ]
    images = [{"id": 1, "file_name": "a.png"}]
    source = coco(folder, {"images": images, "annotations": annotations})
    with pytest.raises(DataError, match=r"a.png: 1 crowd box"):
        convert(folder, "kitti", source=source)
    report = convert(folder, "kitti", source=source, skip_crowds=True)
    assert (report.num_crowds, report.objects.total()) == (1, 1)
