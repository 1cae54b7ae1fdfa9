"""What frcnn 0.1 wrote, and what was written for it, goes on working.

``written_before_rooms/`` has its files, and the script that made them.
"""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from written_before_rooms.columns import Columns

from frcnn_core.data import evaluation_batches, index, inspect
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sources import Source
from frcnn_core.detector import DetectionSettings
from frcnn_core.model_files import Model, archive, restore_optimizer
from frcnn_core.testing import LabelFormatContract
from frcnn_core.weights import read_origin, read_weights

FOLDER = Path(__file__).parent / "written_before_rooms"
SETTINGS = DetectionSettings(rpn_pre_nms_top_n=12, rpn_nms_max_boxes=6, classifier_nms_max_boxes=6)


@pytest.mark.parametrize(
    "file, key, expected",
    [
        ("model.tlt", "", "model"),
        ("model_with_key.tlt", "nvidia_tlt", "model"),
        ("checkpoint.tlt", "", "checkpoint"),
        ("quantized.tlt", "", "quantized"),
    ],
)
def test_its_models_detect_what_they_detected(file, key, expected):
    model = Model.from_archive(archive.read(FOLDER / file, key))
    then = np.load(FOLDER / "detections.npz")
    now = model.detector.detect(
        tf.constant(then["pixels"]), tf.constant([[32.0, 48.0], [24.0, 40.0]]), SETTINGS
    )
    np.testing.assert_array_equal(now.classes, then[f"{expected}_classes"])
    np.testing.assert_allclose(now.boxes, then[f"{expected}_boxes"], atol=1e-3)
    np.testing.assert_allclose(now.scores, then[f"{expected}_scores"], atol=1e-5)
    assert (then[f"{expected}_classes"] >= 0).sum() > 6  # there is something to compare
    assert model.class_names == ("car", "person")
    assert model.provenance[0]["version"] == "0.1.0"


def test_a_training_goes_on_from_its_checkpoints():
    content = archive.read(FOLDER / "checkpoint.tlt")
    model = Model.from_archive(content)
    optimizer = keras.optimizers.Adam(0.001)
    restore_optimizer(optimizer, model.detector.trainable_variables, content.optimizer)
    assert model.progress["step"] == 2
    assert int(optimizer.iterations) == 1
    momentum = [v for v in optimizer.variables if "momentum" in v.path]
    # Adam's first moment after one gradient of ones.
    assert momentum and all(np.allclose(v, 0.1) for v in momentum)


def test_its_records_are_read_with_their_index_and_without(tmp_path):
    for name in ("with", "without"):
        shutil.copytree(FOLDER, tmp_path / name)
    (kept,) = tmp_path.glob("with/.frcnn-index/*.json")
    written = kept.read_bytes()
    # An index is for records of one date, which Git does not keep.
    date = json.loads(written)["mtime_ns"]
    os.utime(tmp_path / "with" / "street", ns=(date, date))
    shutil.rmtree(tmp_path / "without" / ".frcnn-index")
    for name in ("with", "without"):
        (tmp_path / name / "images").mkdir()
        for number in range(3):
            path = tmp_path / name / "images" / f"{number}.png"
            path.write_bytes(tf.io.encode_png(np.zeros((32, 48, 3), np.uint8)).numpy())
        source = Source((tmp_path / name / "street",), tmp_path / name, "png")
        summary = inspect([source], ClassMap({"car": "car"}))
        assert (summary.count, summary.num_empty) == (3, 1)
        batches = evaluation_batches(
            [source], ClassMap({"car": "car"}), Preprocessing(32, 48), batch_size=3
        )
        (batch,) = batches
        assert (batch.classes.numpy() >= 0).sum(axis=1).tolist() == [0, 1, 2]
        np.testing.assert_allclose(batch.boxes[2], [[3, 2, 17.5, 20], [3, 3, 17.5, 21]])
    assert kept.read_bytes() == written
    assert len(index.offsets(tmp_path / "without" / "street")) == 3


def test_its_weights_are_read_with_what_they_need():
    weights = read_weights(FOLDER / "weights.h5")
    kernel = np.arange(12, dtype="float32").reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(weights["conv1"]["kernel"], kernel)
    origin = read_origin(FOLDER / "weights.h5")
    assert (origin.arch, origin.scale, dict(origin.model_config)) == (
        "resnet:10",
        4.0,
        {"use_bias": True},
    )


@pytest.mark.filterwarnings("ignore:frcnn_core:DeprecationWarning")
class TestALabelFormatThatImportsModulesByTheirOldNames(LabelFormatContract):
    label_format = Columns()


def test_the_script_that_made_them_says_what_is_there():
    listed = {path.name for path in FOLDER.iterdir() if path.suffix != ".py"}
    script = (FOLDER / "make.py").read_text()
    stems = {Path(name).stem for name in listed} - {".frcnn-index", "__pycache__"}
    assert all(stem in script for stem in stems)
    assert json.loads((FOLDER / ".frcnn-index" / "street.json").read_text())
