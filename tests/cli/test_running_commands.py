"""``frcnn evaluate`` and ``frcnn inference`` as typed, with a model that knows the answer."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from frcnn_core import assemble
from frcnn_core.cli import main
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.plugin.components import Runtime
from frcnn_core.structures import Batch, Detections

NAMES = ("car", "dog")
CAR, DOG = [4, 4, 28, 28], [0, 40, 16, 64]

SPEC = """
dataset_config {{
  data_sources {{
    tfrecords_path: "{0}/records-fold-000-of-002"
    image_directory_path: "{0}/images"
  }}
  image_extension: "png"
  target_class_mapping {{ key: "car" value: "car" }}
  target_class_mapping {{ key: "dog" value: "dog" }}
  validation_fold: 0
}}
inference_config {{
  images_dir: "{0}/images"
  model: "{0}/model.tlt"
  batch_size: 2
  bbox_visualize_threshold: 0.6
  bbox_caption_on: True
  detection_image_output_dir: "{0}/pictures"
  labels_dump_dir: "{0}/labels"
}}
evaluation_config {{ model: "{0}/model.tlt" batch_size: 2 }}
"""


def detect(images, sizes):
    """A sure car and a doubtful dog in every image of 32 x 64."""
    count = len(images)
    return Detections(
        np.tile(np.float32([CAR, DOG]), (count, 1, 1)),
        np.tile(np.float32([0.9, 0.3]), (count, 1)),
        np.tile([0, 1], (count, 1)),
        np.full(count, 2),
        np.tile(np.float32([CAR]), (count, 1, 1)),
    )


def batches(preprocessing, batch_size, bad_images):
    """Three images; each has a car and a difficult dog."""
    for count in (2, 1):
        yield Batch(
            images=np.zeros((count, 32, 64, 3), np.float32),
            sizes=np.tile(np.float32([32, 64]), (count, 1)),
            scales=np.ones((count, 2), np.float32),
            boxes=np.tile(np.float32([CAR, DOG]), (count, 1, 1)),
            classes=np.tile([0, 1], (count, 1)),
            difficult=np.tile([False, True], (count, 1)),
            names=np.array([b"a.png"] * count, object),
        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images, records and a model file that need only exist, and the spec that names them."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 32), 90).save(tmp_path / "images" / name)
    (tmp_path / "records-fold-000-of-002").write_bytes(b"")
    (tmp_path / "model.tlt").write_bytes(b"")
    (tmp_path / "spec.txt").write_text(SPEC.format(tmp_path))
    runtime = Runtime(detect, NAMES, Preprocessing(height=32, width=64))
    data = SimpleNamespace(
        class_map=SimpleNamespace(names=NAMES),
        summary=SimpleNamespace(count=3, num_difficult=3),
        batches=batches,
    )
    monkeypatch.setattr(assemble, "open_runtime", lambda path, key, plugins, settings: runtime)
    monkeypatch.setattr(assemble, "evaluation_set", lambda spec, *_, **__: data)
    return tmp_path


def run(command, folder, *arguments, spec="spec.txt"):
    return CliRunner().invoke(main, [command, "-e", str(folder / spec), *map(str, arguments)])


def test_evaluate_prints_the_table_and_what_was_left_out(folder):
    result = run("evaluate", folder)
    assert result.exit_code == 0, result.output
    assert f"on the 3 validation images of {folder}/spec.txt; 3 difficult objects" in result.output
    assert "car                 1.0000              1.0000              1.0000" in result.output
    assert "dog                 -                   -                   -" in result.output
    assert "mAP@0.5 = 1.0000" in result.output
    assert "Next to nothing" not in result.output


def test_evaluate_skips_as_many_bad_images_as_it_may_and_says_so(folder, monkeypatch):
    def with_a_bad_one(preprocessing, batch_size, bad_images):
        for batch in batches(preprocessing, batch_size, bad_images):
            if len(batch.images) == 1:
                batch = batch._replace(sizes=np.zeros((1, 2), np.float32))
                bad_images.add({"a.png": "is damaged."})
            yield batch

    monkeypatch.setattr(assemble.evaluation_set(None), "batches", with_a_bad_one)
    result = run("evaluate", folder, "--max-bad", "1", "--json", folder / "found.json")
    assert result.exit_code == 0, result.output
    assert "1 image could not be used: skipped" in result.output
    assert "\n2 images in" in result.output
    found = json.loads((folder / "found.json").read_text())
    assert (found["num_images"], found["num_skipped"]) == (2, 1)

    refused = run("evaluate", folder)
    assert refused.exit_code == 2
    assert "a.png: is damaged." in refused.output


def test_evaluate_computes_the_metrics_named_on_the_command_line(folder):
    result = run("evaluate", folder, "--metric", "coco", "--metric", "voc07")
    assert result.exit_code == 0, result.output
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in result.output
    assert result.output.index("\ncoco\n") < result.output.index("\nvoc07\n")
    assert "\nvoc12\n" not in result.output


def test_evaluate_writes_json_into_the_results_folder_but_replaces_nothing_unasked(folder):
    result = run("evaluate", folder, "-r", folder / "out")
    assert result.exit_code == 0, result.output
    written = json.loads((folder / "out" / "evaluation.json").read_text())
    assert written["metrics"]["voc12"]["mAP"] == 1.0
    assert written["model"] == f"{folder}/model.tlt"
    again = run("evaluate", folder, "-r", folder / "out")
    assert again.exit_code == 2
    assert "evaluation.json exists. Give another name, or --overwrite" in again.output
    assert run("evaluate", folder, "-r", folder / "out", "--overwrite").exit_code == 0


def test_evaluate_refuses_a_model_of_other_classes(folder):
    assemble.evaluation_set(None).class_map.names = ("car", "tree")
    result = run("evaluate", folder)
    assert result.exit_code == 2
    assert "the spec's classes are car, tree, but the model's car, dog" in result.output


def test_evaluate_says_where_a_spec_is_wrong_before_a_model_is_opened(folder):
    (folder / "spec.txt").write_text("evaluation_config { object_confidence_thres: 3 }")
    result = run("evaluate", folder, "-m", folder / "nowhere.tlt")
    assert result.exit_code == 2
    assert "spec.txt:1:21: evaluation_config.object_confidence_thres: 3 is not" in result.output
    assert "nowhere.tlt" in result.output


def test_evaluate_takes_the_hidden_flags_of_tao(folder):
    result = run("evaluate", folder, "-i", "x", "-l", "y", "-b", "1", "--gpu_index", "0")
    assert result.exit_code == 0, result.output


def test_inference_writes_pictures_and_labels_where_the_spec_says(folder):
    (folder / "images" / "notes.txt").write_text("?")
    result = run("inference", folder)
    assert result.exit_code == 0, result.output
    assert "Skipped notes.txt: its name is no image's: .jpg, .jpeg, .png." in result.output
    assert f"Pictures are in {folder}/pictures" in result.output
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["a.png", "b.png"]
    assert (folder / "labels" / "a.txt").read_text() == (
        "car 0 0 0 4.00 4.00 28.00 28.00 0 0 0 0 0 0 0 0.9000000\n"
    )


def test_inference_writes_into_the_results_folder_and_replaces_nothing_unasked(folder):
    assert run("inference", folder, "-r", folder / "out").exit_code == 0
    assert (folder / "out" / "images_annotated" / "a.png").exists()
    assert (folder / "out" / "labels" / "b.txt").exists()
    assert not (folder / "pictures").exists()
    again = run("inference", folder, "-r", folder / "out")
    assert again.exit_code == 2
    assert "These files exist: " in again.output
    assert run("inference", folder, "-r", folder / "out", "--overwrite").exit_code == 0


def test_inference_writes_all_detections_to_labels_for_a_threshold_of_zero(folder):
    assert run("inference", folder, "--label_threshold", "0").exit_code == 0
    assert len((folder / "labels" / "a.txt").read_text().splitlines()) == 2


def test_inference_takes_another_folder_of_images(folder):
    (folder / "more").mkdir()
    Image.new("L", (64, 32), 90).save(folder / "more" / "c.jpg")
    assert run("inference", folder, "-i", folder / "more").exit_code == 0
    assert [path.name for path in (folder / "pictures").iterdir()] == ["c.jpg"]


def test_inference_with_nowhere_to_write_says_what_to_type(folder):
    text = SPEC.format(folder)
    kept = [line for line in text.splitlines() if "output_dir" not in line and "dump" not in line]
    (folder / "spec.txt").write_text("\n".join(kept))
    result = run("inference", folder)
    assert result.exit_code == 2
    assert "Set one, or give -r DIR." in result.output


def test_inference_over_damaged_images_only_is_an_error(folder):
    for path in (folder / "images").iterdir():
        path.write_text("?")
    result = run("inference", folder)
    assert result.exit_code == 2
    assert "none of the 2 images could be used" in result.output


def exported(monkeypatch, **given):
    """What ``open_runtime`` gives from now on: a runtime that tells no proposals."""

    def without_proposals(images, sizes):
        return detect(images, sizes)._replace(proposals=None)

    opened = []
    runtime = Runtime(without_proposals, NAMES, Preprocessing(height=32, width=64), **given)
    monkeypatch.setattr(
        assemble, "open_runtime", lambda path, *_: opened.append(path.name) or runtime
    )
    return opened


def test_a_runtime_that_tells_no_proposals_is_scored_without_rpn_recall(folder, monkeypatch):
    exported(monkeypatch)
    result = run("evaluate", folder, "--metric", "voc12", "--metric", "coco", "-r", folder / "out")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.output.splitlines() if line.startswith("car")]
    assert row.split() == ["car", "1.0000", "1.0000", "1.0000", "-"]
    assert "mAP@0.5 = 1.0000" in result.output
    assert "RPN_recall" in (folder / "out" / "evaluation.json").read_text()


def test_why_nothing_was_found_is_told_without_the_proposals_too(folder, monkeypatch):
    exported(monkeypatch)
    monkeypatch.setattr("frcnn_core.evaluation.report.NEARLY_ZERO", 1.0)
    result = run("evaluate", folder)
    assert result.exit_code == 0, result.output
    assert "Next to nothing was found" in result.output
    assert "have a proposal" not in result.output


@pytest.mark.parametrize(
    ("command", "block"), [("evaluate", "trt_evaluation"), ("inference", "trt_inference")]
)
def test_an_engine_that_the_spec_names_is_run_in_place_of_the_model(
    folder, monkeypatch, command, block
):
    (folder / "model.engine").write_bytes(b"")
    section = {"evaluate": "evaluation_config", "inference": "inference_config"}[command]
    text = (
        SPEC.format(folder) + f"{section} {{ {block} {{ trt_engine: '{folder}/model.engine' }} }}"
    )
    (folder / "spec.txt").write_text(text)
    opened = exported(monkeypatch)
    result = run(command, folder)
    assert result.exit_code == 0, result.output
    assert "is deprecated: name the engine in model instead" in result.output
    again = run(command, folder, "-m", folder / "model.tlt", "--overwrite")
    assert again.exit_code == 0, again.output
    assert opened == ["model.engine", "model.tlt"], "-m counts more"


@pytest.mark.slow
def test_settings_that_are_fixed_in_an_exported_file_are_told_where_the_spec_has_others(
    folder, monkeypatch
):
    own = DetectionSettings(object_confidence_thres=0.5)
    exported(monkeypatch, settings=own)
    result = run("evaluate", folder)
    assert "object_confidence_thres 0.5 instead of 0.0001. Export it again" in result.output
    assert "rpn_nms_max_boxes" not in result.output
    exported(monkeypatch, settings=DetectionSettings())
    assert "Export it again" not in run("evaluate", folder).output
