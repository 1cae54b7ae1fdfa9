import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from frcnn_core.data.classes import ClassMap
from frcnn_core.data.labels import Labels
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.anchors import Anchors
from frcnn_core.survey.labelled_files import LabelledFile
from frcnn_core.survey.objects import gather
from frcnn_core.survey.page import page
from frcnn_core.survey.view import NetworkView

from .test_objects import item, split

WILD = 'a<b>&"c'
"""A class name that would break a page that does not escape it."""


@pytest.fixture
def files(tmp_path):
    """Three images of 300 x 900 pixels, each with a box that is red inside and the rest gray."""
    made = []
    for number in range(3):
        pixels = np.full((300, 900, 3), 128, np.uint8)
        pixels[60:120, 90:270] = (255, 0, 0)
        path = tmp_path / f"image <{number}>.png"
        Image.fromarray(pixels).save(path)
        labels = Labels((item(WILD, 90, 60, 270, 120),), (f"{number}:1",))
        made.append(LabelledFile(path, str(number), lambda size, labels=labels: labels))
    return made


def parsed(text: str) -> ElementTree.Element:
    """The page read as XML, which is stricter than HTML."""
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_the_page_is_well_formed_whatever_names_are(files):
    table = gather([split("<training>", *files)], num_samples=3)
    found = parsed(page(table, "spec & <co>.txt"))
    assert found.find("body/h1").text == "spec & <co>.txt"
    cells = [cell.text for cell in found.iter("td")]
    assert WILD in cells


def test_the_page_needs_no_other_file(files):
    text = page(gather([split("training", *files)], num_samples=3), "spec.txt")
    assert not re.search(r"<(script|link|iframe)|url\(|@import", text)
    sources = re.findall(r'(?:src|href)="([^"]{0,23})', text)
    assert sources == ["data:image/jpeg;base64,"] * 3


def test_boxes_are_drawn_where_the_objects_are(files):
    found = parsed(page(gather([split("training", *files)], num_samples=1), "spec.txt"))
    (sample,) = [svg for svg in found.iter("svg") if svg.find("image") is not None]
    _, _, width, height = map(float, sample.get("viewBox").split())
    (box,) = sample.findall("rect")
    data = base64.b64decode(sample.find("image").get("href").partition(",")[2])
    picture = Image.open(io.BytesIO(data))
    assert max(picture.size) == 360
    scale = picture.size[0] / width
    assert picture.size[1] / height == pytest.approx(scale, rel=0.01)
    x, y, w, h = (float(box.get(key)) * scale for key in ("x", "y", "width", "height"))
    pixels = np.asarray(picture).astype(int)
    red = (pixels[..., 0] - pixels[..., 1]) > 128
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1] + 1) == pytest.approx((y, y + h), abs=1.5)
    assert (columns[0], columns[-1] + 1) == pytest.approx((x, x + w), abs=1.5)


def test_every_plot_has_a_title(files):
    text = page(gather([split("training", *files)], num_samples=3), "spec.txt")
    plots = [svg for svg in parsed(text).iter("svg")]
    assert len(plots) == 6 + 3
    assert all(svg.find("title").text and svg.get("role") == "img" for svg in plots)


def test_anchors_are_marked_and_the_view_is_told(files):
    view = NetworkView(Preprocessing(150, 450), ClassMap.of({WILD: "car"}))
    table = gather([split("training", *files)], view)
    text = page(table, "spec.txt", view, Anchors((16.0, 32.0), (1.0, 2.0)))
    titles = [title.text for title in parsed(text).iter("title")]
    assert {"anchor scale 16", "anchor ratio 2", "anchor 32 x 32"} <= set(titles)
    assert "stretched to 150x450" in text


def test_nothing_at_all_is_a_page_too():
    parsed(page(gather([split("training"), split("validation")]), "spec.txt"))


@pytest.mark.slow
def test_many_classes_and_boxes_are_a_page_of_bounded_size():
    names = [f"class {i}" for i in range(200)]
    rng = np.random.default_rng(0)
    table = gather([split("training")])
    boxes = np.sort(rng.uniform(1, 900, (50_000, 2, 2)), axis=1).reshape(-1, 4)
    table = type(table)(
        tuple(names),
        table.counts,
        boxes.astype(np.float32),
        np.full((50_000, 2), 900, np.float32),
        rng.integers(0, 200, 50_000).astype(np.int32),
        np.zeros(50_000, np.int32),
    )
    text = page(table, "spec.txt")
    assert len(text) < 400_000
    parsed(text)
