"""Dataset specs of every kind, as plans and as records."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from frcnn_core import assemble
from frcnn_core.data import image_files
from frcnn_core.data.conversion import convert
from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.plugin.discovery import installed
from frcnn_core.spec.load import loads_dataset_spec

BCCD = Path(os.environ.get("FRCNN_BCCD", Path(__file__).parents[3] / "shared/data/bccd"))

BUS = Object("big bus", x1=1, y1=2, x2=3.5, y2=4)
CROWD = Object("person", x1=0, y1=0, x2=8, y2=6, crowd=True)


def plan(text, output=Path("records")):
    return assemble.conversion_plan(loads_dataset_spec(text).message, installed(), output)


def write(labels, form, images):
    component = installed().label_formats.get(form)
    component.write(images, labels, component.Options())


@pytest.fixture
def root(tmp_path):
    """Folders train and val of two images each, with COCO labels; train has a crowd."""
    for name, objects in (("train", (BUS, CROWD)), ("val", (BUS,))):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (8, 6)).save(tmp_path / name / f"{number}.jpg")
        images = [LabelledImage(f"{number}.jpg", (6, 8), objects) for number in range(2)]
        write(tmp_path / f"{name}.json", "coco", images)
    return tmp_path


def coco(root, more=""):
    return (
        f'coco_config {{ root_directory_path: "{root}" '
        'img_dir_names: ["val", "train"] annotation_files: ["val.json", "train.json"] '
        f"{more} }}"
    )


def test_coco_files_are_partitions_in_the_order_of_the_spec(root):
    report = convert(plan(coco(root), root / "out" / "set"))
    assert report.num_images == {0: 2, 1: 2}
    assert report.objects == {0: {"big bus": 2}, 1: {"big bus": 2, "person": 2}}


def test_coco_names_are_compacted_if_that_is_asked_for(root):
    report = convert(plan(coco(root, "compact_names: True"), root / "out" / "set"))
    assert report.objects[0] == {"bigbus": 2}


@pytest.mark.parametrize(
    ("given", "expected"), [("", (10,)), ("num_shards: 0", (0,)), ("num_shards: [1, 4]", (1, 4))]
)
def test_coco_partitions_share_a_number_of_files_or_have_one_each(root, given, expected):
    assert plan(coco(root, given)).num_shards == expected


def test_coco_categories_that_only_one_file_has_are_named(root, caplog):
    plan(coco(root))
    assert "val.json has no category 'person', which train.json has." in caplog.text
    assert "train.json has no category" not in caplog.text


def test_coco_ids_may_differ_between_files(root, caplog):
    content = json.loads((root / "val.json").read_text())
    content["categories"] = [{"id": 9, "name": "Big Bus"}, {"id": 4, "name": "person"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 9
    (root / "val.json").write_text(json.dumps(content))
    report = convert(plan(coco(root), root / "out" / "set"))
    assert report.objects[0] == {"big bus": 2}
    assert "category" not in caplog.text


def test_a_source_without_root_names_frames_by_its_image_folder(root, monkeypatch):
    monkeypatch.chdir(root)
    (folder,) = plan('source { images: "train" labels: "train.json" }').folders
    assert (folder.root, folder.frame_id("0")) == (root, "train/0")


def test_a_source_without_image_folder_is_its_root(root):
    text = f'source {{ root_directory_path: "{root}/train" labels: "../train.json" }}'
    (folder,) = plan(text).folders
    assert (folder.folder, folder.frame_id("0")) == (root / "train", "0")


def test_image_lists_make_partitions_without_a_word_about_the_mode(root):
    text = f'source {{ root_directory_path: "{root}" images: "train" labels: "train.json" %s }}'
    lists = plan(text % 'image_lists: ["a.txt", "b.txt"]')
    assert (lists.mode, lists.lists) == ("lists", (root / "a.txt", root / "b.txt"))
    shuffled = plan(text % "")
    assert (shuffled.mode, shuffled.val_fraction, shuffled.seed) == ("shuffled", 0.2, 42)


# --- real data


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Format -> labels of the blood cells; COCO's and YOLO's are made from the KITTI text."""
    if not BCCD.is_dir():
        pytest.skip(f"no blood-cell set at {BCCD}; set FRCNN_BCCD")
    folder = tmp_path_factory.mktemp("cells")
    kitti = installed().label_formats.get("kitti")
    labels = kitti.open(BCCD / "label_2", kitti.Options())
    images = []
    for name, path in image_files.find(BCCD / "image_2").items():
        size = image_files.size(path)
        images.append(LabelledImage(path.name, size, labels.read(name, size).objects))
    write(folder / "coco.json", "coco", images)
    write(folder / "yolo", "yolo", images)
    return {
        "kitti": BCCD / "label_2",
        "voc": BCCD / "annotations_voc",
        "coco": folder / "coco.json",
        "yolo": folder / "yolo",
    }


def digests(files):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_the_blood_cells_give_the_same_bytes_from_every_format(cells, tmp_path):
    found = {}
    for name, labels in cells.items():
        text = (
            f'source {{ root_directory_path: "{BCCD}" images: "image_2" labels: "{labels}" '
            f'format: "{name}" image_lists: ["test.txt", "trainval.txt"] }}'
        )
        report = convert(plan(text, tmp_path / name / "cells"))
        assert report.num_images == {0: 72, 1: 292}
        found[name] = digests(report.records)
    assert len(found["kitti"]) == 20
    assert found["voc"] == found["coco"] == found["yolo"] == found["kitti"]


@pytest.mark.slow
def test_a_source_of_kitti_text_gives_the_bytes_of_a_kitti_config(cells, tmp_path):
    names = f'root_directory_path: "{BCCD}" %s: "image_2" %s: "label_2" image_extension: ".jpg"'
    found = [
        digests(convert(plan(text, tmp_path / str(number) / "cells")).records)
        for number, text in enumerate(
            (
                f"kitti_config {{ {names % ('image_dir_name', 'label_dir_name')} }}",
                f"source {{ {names % ('images', 'labels')} }}",
            )
        )
    ]
    assert found[0] == found[1]
