"""Labels go from format to format and come back as they were."""

import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_core.data.labels import LabelledImage, Object
from frcnn_core.plugin.discovery import installed
from frcnn_core.plugin.label_formats import recognise

BCCD = Path(os.environ.get("FRCNN_BCCD", Path(__file__).parents[3] / "shared/data/bccd"))
FORMATS = installed().label_formats
ROUND = ("coco", "voc", "yolo", "kitti")

needs_bccd = pytest.mark.skipif(
    not BCCD.is_dir(), reason=f"no blood-cell set at {BCCD}; set FRCNN_BCCD"
)


def opened(name, labels):
    form = FORMATS.get(name)
    return form.open(labels, form.Options())


def rewritten(name, images, output):
    """Images as read from what a format wrote of them."""
    form = FORMATS.get(name)
    form.write(iter(images), output, form.Options())
    labels = opened(name, output)
    return [
        LabelledImage(image.file, image.size, labels.read(image.name, image.size).objects)
        for image in images
    ]


def edges(side, digits):
    """Pixels from 0 to ``side`` with so many digits after the point; None is as a double has."""
    if digits is None:
        return st.just(0.0) | st.floats(1e-12, side)
    return st.integers(0, side * 10**digits).map(lambda number: number / 10**digits)


@st.composite
def images(draw, digits):
    height, width = draw(st.integers(1, 9000)), draw(st.integers(1, 9000))
    objects = []
    for _ in range(draw(st.integers(0, 4))):
        x1, x2 = sorted(draw(st.tuples(edges(width, digits), edges(width, digits))))
        y1, y2 = sorted(draw(st.tuples(edges(height, digits), edges(height, digits))))
        objects.append(Object(draw(st.sampled_from(["car", "person", "größe"])), x1, y1, x2, y2))
    folder = draw(st.sampled_from(["", "day/", "night/rain/"]))
    return LabelledImage(f"{folder}a.png", (height, width), tuple(objects))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10).flatmap(images))
def test_from_kitti_by_way_of_every_format_to_kitti_nothing_of_a_box_is_lost(image):
    with tempfile.TemporaryDirectory() as folder:
        (now,) = rewritten("kitti", [image], Path(folder, "first"))
        assert now == image
        for name in ROUND:
            (now,) = rewritten(name, [now], Path(folder, name))
            assert now == image, name


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(images(None))
def test_even_the_last_bit_is_kept_and_by_cocos_widths_all_but_that(image):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("kitti", "voc", "yolo"):
            assert rewritten(name, [image], Path(folder, name)) == [image], name
        (coco,) = rewritten("coco", [image], Path(folder, "coco"))
        for read, written in zip(coco.objects, image.objects, strict=True):
            assert (read.x1, read.y1) == (written.x1, written.y1)
            assert abs(read.x2 - written.x2) <= 2 * math.ulp(written.x2)
            assert abs(read.y2 - written.y2) <= 2 * math.ulp(written.y2)


@pytest.mark.slow
@needs_bccd
def test_the_blood_cells_have_identical_objects_in_voc_and_kitti():
    kitti, voc = opened("kitti", BCCD / "label_2"), opened("voc", BCCD / "annotations_voc")
    assert set(kitti.names) == set(voc.names)
    assert len(kitti.names) == 364
    for name in kitti.names:
        labels = voc.read(name, None)
        assert labels.objects == kitti.read(name, None).objects, name
        assert labels.size == (480, 640)


@pytest.mark.slow
@needs_bccd
def test_the_blood_cells_come_back_from_every_format_with_the_boxes_without_area(tmp_path):
    labels = opened("kitti", BCCD / "label_2")
    before = [
        LabelledImage(f"{name}.jpg", (480, 640), labels.read(name, None).objects)
        for name in labels.names
    ]
    now = before
    for name in ROUND:
        now = rewritten(name, now, tmp_path / name)
        assert now == before, name
    flat = [image.name for image in now for item in image.objects if not item.has_area]
    assert flat == ["BloodImage_00338", "BloodImage_00343"]


@pytest.mark.slow
@needs_bccd
@pytest.mark.parametrize("folder, name", [("label_2", "kitti"), ("annotations_voc", "voc")])
def test_the_blood_cells_formats_are_recognised(folder, name):
    assert recognise(BCCD / folder, FORMATS).name == name
