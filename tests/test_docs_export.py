"""docs/export.md: its programs run as they are printed, and it knows every format."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.plugin.discovery import installed
from frcnn_core.testing.exporter import small_model

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text()
PLAIN, EMBEDDED = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200,
    rpn_nms_max_boxes=20,
    classifier_nms_max_boxes=10,
    object_confidence_thres=0.01,
)


def test_the_table_has_every_format_that_comes_with_frcnn():
    table = PAGE.split("| Format |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    ours = [e.component.name for e in installed().exporters if e.distribution.startswith("frcnn ")]
    assert sorted(listed) == sorted(ours)


@pytest.fixture(scope="module")
def model():
    """A detector whose images are stretched, with means and a scale, in the order of the spec."""
    from dataclasses import replace

    small = small_model()
    pixels = replace(
        small.preprocessing,
        resize=True,
        channel_order="bgr",
        means=(120.0, 110.0, 100.0),
        scale=50.0,
    )
    return replace(small, preprocessing=pixels)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """What the programs find in the current folder: the model in ONNX, and an image."""
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    onnx = installed().exporters.get("onnx")
    path = tmp_path_factory.mktemp("export")
    for name, given in (
        ("detector.onnx", {}),
        ("embedded.onnx", {"embed_preprocessing": True, "outputs": "named"}),
    ):
        onnx.export(model, path / name, settings=SETTINGS, options=onnx.Options(**given))
    # Twice the size of the network's input, in squares of four pixels: there is nothing to round
    # between four equal ones, and a program that samples elsewhere would see other ones.
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(noise.repeat(2, axis=0).repeat(2, axis=1)).save(path / "image.png")
    return path


@pytest.fixture
def expected(model, folder):
    """Classes, scores and boxes (x1, y1, x2, y2) in pixels of the image."""
    pixels = model.preprocessing.decode(tf.io.read_file(str(folder / "image.png")))
    fitted = model.preprocessing.fit(pixels)
    found = model.detector.detect(
        model.preprocessing.normalize(fitted.image)[None], fitted.size[None], SETTINGS
    )
    count = int(found.counts[0])
    assert count > 0, "a test in which nothing is found shows nothing"
    boxes = found.boxes[0, :count] / np.tile(fitted.scale, 2)
    return found.classes.numpy()[0, :count], found.scores.numpy()[0, :count], boxes.numpy()


@pytest.mark.slow
def test_the_program_prints_what_the_model_detects(model, folder, expected, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(compile(PLAIN, "docs/export.md", "exec"), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    classes, scores, boxes = expected
    assert [line[0] for line in lines] == [model.class_names[index] for index in classes]
    np.testing.assert_allclose([float(line[1]) for line in lines], scores, atol=1e-3)
    printed = np.array([line[2:] for line in lines], float)
    np.testing.assert_allclose(printed, boxes[:, [1, 0, 3, 2]], atol=0.1)


@pytest.mark.slow
def test_with_embedded_preprocessing_boxes_are_in_pixels_of_the_image(
    folder, expected, monkeypatch
):
    monkeypatch.chdir(folder)
    found = {}
    exec(compile(EMBEDDED, "docs/export.md", "exec"), found)
    classes, scores, boxes = expected
    count = found["counts"][0]
    np.testing.assert_array_equal(found["classes"][0, :count], classes)
    np.testing.assert_allclose(found["scores"][0, :count], scores, atol=1e-4)
    np.testing.assert_allclose(found["boxes"][0, :count], boxes, atol=0.01)


@pytest.mark.slow
def test_the_keys_of_the_metadata_are_those_in_the_file(folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "detector.onnx"))
    table = PAGE.split("### Metadata")[1].split("\n### ")[0]
    listed = re.findall(r"`(frcnn\.\w+)`", table)
    assert set(listed) == set(session.get_modelmeta().custom_metadata_map)
